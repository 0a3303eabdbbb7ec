import assert from "node:assert/strict";
import { test } from "node:test";
import { grubPath, renderGrubConfig } from "../../../../src/protocol/grub/config.ts";

test("a URL becomes the path that GRUB knows it by", () => {
  assert.equal(grubPath("http://10.0.0.1:8081/ramdisk/kernel"), "(http,10.0.0.1:8081)/ramdisk/kernel");
  assert.equal(grubPath("tftp://10.0.0.1/ramdisk/kernel"), "(tftp,10.0.0.1)/ramdisk/kernel");
  assert.equal(grubPath("/vmlinuz"), "/vmlinuz");
});

test("every word is quoted, so that nothing in it is GRUB's", () => {
  const text = renderGrubConfig([
    { kind: "comment", text: "a\nexit" },
    { kind: "linux", url: "tftp://10.0.0.1/k", arguments: ["a=b", "x;y", "it's", "${root}", "c d"] },
    { kind: "initrd", url: "tftp://10.0.0.1/i" },
    { kind: "boot" },
  ]);
  assert.equal(
    text,
    "# a exit\nlinux '(tftp,10.0.0.1)/k' 'a=b' 'x;y' 'it'\\''s' '${root}' 'c d'\ninitrd '(tftp,10.0.0.1)/i'\nboot\n",
  );
});
