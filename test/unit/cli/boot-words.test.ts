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
    "2026-11-21 10:00:00.123  52:54:00:00:00:01  dhcp discover → offer of 10.0.0.7, no boot file (port unknown and discovery off): free",
  );
  assert.match(line("dhcp.silent", { type: "request", reason: "no subnet" }), /dhcp request, no answer: no subnet$/);
  assert.match(
    line("tftp.done", { file: "snponly.efi", bytes: 181_248, elapsed_ms: 420, blksize: 1468, windowsize: 1 }),
    /tftp snponly\.efi: 181 kB in 0\.42 s \(blocks of 1468, window 1\)$/,
  );
  assert.match(line("tftp.refused", { file: "x", code: 1, reason: "no such file" }), /error 1: no such file$/);
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
