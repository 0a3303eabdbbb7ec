import assert from "node:assert/strict";
import { test } from "node:test";
import { renderIpxeScript } from "../../../../src/protocol/ipxe/script.ts";
import { bootScriptText, entryScriptText } from "../../../../src/service/boot-script.ts";

test("a script begins with the line that makes it one, and each command is a line", () => {
  const text = renderIpxeScript([
    { kind: "label", name: "load" },
    { kind: "kernel", url: "http://10.0.0.1/k", arguments: ["initrd=initrd", "a=b"], orGo: "again" },
    { kind: "initrd", url: "http://10.0.0.1/i", name: "initrd", orGo: "again" },
    { kind: "boot", orGo: "again" },
    { kind: "exit", status: 1 },
  ]);
  assert.equal(
    text,
    "#!ipxe\n:load\nkernel http://10.0.0.1/k initrd=initrd a=b || goto again\ninitrd --name initrd http://10.0.0.1/i || goto again\nboot || goto again\nexit 1\n",
  );
});

test("text from outside neither ends its line nor is expanded", () => {
  const text = renderIpxeScript([
    { kind: "comment", text: "node\nexit 0" },
    { kind: "kernel", url: "http://x/${net0/mac}", arguments: ["a\r\nreboot"], orGo: "again" },
  ]);
  assert.equal(text, "#!ipxe\n# node exit 0\nkernel http://x/$ {net0/mac} a  reboot || goto again\n");
});

test("every label that a script goes to is there, once", () => {
  const scripts = [
    bootScriptText({ kind: "local-disk" }, "note"),
    bootScriptText({ kind: "linux", of: "ramdisk", kernel: "http://x/k", initrd: "http://x/i", arguments: [] }, "note"),
    bootScriptText({ kind: "linux", of: "instance", kernel: "http://x/k", initrd: null, arguments: [] }, "note"),
    bootScriptText({ kind: "iso", url: "http://x/a.iso" }, "note"),
    bootScriptText({ kind: "memory-test", bios: "http://x/b", efi: "http://x/e", arguments: [] }, "note"),
    entryScriptText("http://10.0.0.1:8081"),
  ];
  for (const script of scripts) {
    const labels = [...script.matchAll(/^:(\S+)$/gm)].map((found) => found[1]);
    assert.equal(new Set(labels).size, labels.length);
    for (const [, target] of script.matchAll(/goto (\S+)/g))
      assert.ok(labels.includes(target), `${target} in\n${script}`);
  }
});
