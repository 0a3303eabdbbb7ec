import assert from "node:assert/strict";
import { test } from "node:test";
import { grubPath, renderGrubConfig } from "../../../../src/protocol/grub/config.ts";

test("a URL becomes the path that GRUB knows it by", () => {
  assert.equal(grubPath("http://10.0.0.1:8081/ramdisk/kernel"), "(http,10.0.0.1:8081)/ramdisk/kernel");
  assert.equal(grubPath("tftp://10.0.0.1/ramdisk/kernel"), "(tftp,10.0.0.1)/ramdisk/kernel");
  assert.equal(grubPath("/vmlinuz"), "/vmlinuz");
});

test("what UEFI starts from a disk is named for the processor that GRUB runs on", () => {
  const lines = renderGrubConfig([{ kind: "chain-from-disk" }]).split("\n");
  assert.equal(lines[0], "loader=/EFI/BOOT/BOOTX64.EFI");
  assert.equal(lines[1], 'if [ "$grub_cpu" = arm64 ]; then loader=/EFI/BOOT/BOOTAA64.EFI; fi');
  assert.match(lines[2] ?? "", /^if search .*--file \$loader; then chainloader \$loader; boot; fi$/);
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
