import assert from "node:assert/strict";
import { test } from "node:test";
import { formatByName } from "../../../src/domain/image-format.ts";

test("an image is taken for what its name ends with; what lies under the compression is never guessed", () => {
  for (const [source, format] of [
    ["/srv/images/debian.qcow2", "qcow2"],
    ["https://host/debian.QCOW2?token=a.raw", "qcow2"],
    ["/srv/images/debian.raw", "raw"],
    ["/srv/images/debian.img", "raw"],
    ["/srv/images/debian.raw.gz", "gzip"],
    ["/srv/images/debian.qcow2.gz", "gzip"],
    ["/srv/images/debian.img.zst", "zstd"],
    ["/srv/images/debian.xz", "xz"],
    ["/srv/images/debian.bz2", "bzip2"],
    ["/srv/images/debian", undefined],
    ["/srv/images.gz/debian", undefined],
  ] as const) {
    assert.equal(formatByName(source), format, source);
  }
});
