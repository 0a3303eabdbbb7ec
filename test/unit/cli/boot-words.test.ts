import assert from "node:assert/strict";
import { test } from "node:test";
import { bootStepLine } from "../../../src/cli/boot-words.ts";

const base = { seq: 1, time: "2026-11-21T10:00:00.123Z", machine: "52:54:00:00:00:01", node: null };

test("each step of a boot is one line that says why", () => {
  const line = (event: string, fields: Record<string, string | number>): string =>
    bootStepLine({ ...base, event, fields });
  assert.equal(
    line("dhcp.answered", {
      type: "discover",
      answer: "offer",
      address: "10.0.0.7",
      boot: "none",
      boot_reason: "port unknown and discovery off",
      reason: "free",
    }),
    "2026-11-21 10:00:00.123  52:54:00:00:00:01  dhcp discover → offer of 10.0.0.7 (free), no boot file (port unknown and discovery off)",
  );
  const took = {
    type: "request",
    answer: "ack",
    address: "10.0.0.7",
    reason: "took the offer",
    firmware: "pxe x64 UEFI",
  };
  assert.match(
    line("dhcp.answered", { ...took, boot: "snponly.efi", boot_reason: "x64 UEFI gets snponly.efi" }),
    /→ ack of 10\.0\.0\.7 \(took the offer\) to pxe x64 UEFI, boot snponly\.efi \(x64 UEFI gets snponly\.efi\)$/,
  );
  assert.match(
    line("dhcp.answered", { type: "request", answer: "nak", reason: "it is of another link" }),
    /dhcp request → nak \(it is of another link\)$/,
  );
  assert.match(line("dhcp.silent", { type: "request", reason: "no subnet" }), /dhcp request, no answer: no subnet$/);
  assert.match(
    line("tftp.done", { file: "snponly.efi", bytes: 181_248, elapsed_ms: 420, blksize: 1468, windowsize: 1 }),
    /tftp snponly\.efi: 181 kB in 0\.42 s \(blocks of 1468, window 1\)$/,
  );
  const refused = (file: string): string => line("tftp.refused", { file, code: 1, reason: "no such file" });
  assert.match(refused("x"), /error 1: no such file$/);
  for (const file of ["/grub/x86_64-efi/fs.lst", "revocations_sbat.efi", "boot.scr.uimg", "dtb/", "dtb/x.dtb"])
    assert.match(refused(file), /error 1: no such file; who asks goes on without it$/);
  assert.match(
    line("http.served", { method: "GET", path: "/ramdisk/kernel", status: 200, bytes: 8_000_000, elapsed_ms: 70 }),
    /http GET \/ramdisk\/kernel: 200, 8\.0 MB in 0\.07 s$/,
  );
  assert.match(line("moon.landed", { crew: 3 }), /moon\.landed \{"crew":3\}$/);
});

test("what a machine says cannot move the cursor", () => {
  assert.doesNotMatch(
    bootStepLine({ ...base, event: "tftp.refused", fields: { file: "[2J\r\n", code: 1 } }),
    /\p{Cc}/u,
  );
});
