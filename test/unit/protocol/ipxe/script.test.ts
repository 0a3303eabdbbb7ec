import assert from "node:assert/strict";
import { test } from "node:test";
import type { IscsiVolume } from "../../../../src/domain/volume.ts";
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

function volume(lun: number, chap: IscsiVolume["chap"] = null): IscsiVolume {
  return { host: "10.0.0.9", port: 3260, iqn: "iqn.2026-01.org.example:san", lun, chap };
}

test("volumes are logged in to in turn, each as its own user, the one that is booted last — RFC 4173 §5", () => {
  const chap = { username: "r1", password: "s3cret", reverse: { username: "san", password: "its-own" } };
  const text = bootScriptText(
    {
      kind: "volumes",
      initiator: "iqn.2026-01.org.example:r1",
      boot: volume(1, chap),
      others: [volume(26), volume(300)],
    },
    "note",
  );
  assert.deepEqual(text.split("\n").slice(3), [
    "set initiator-iqn iqn.2026-01.org.example:r1",
    ":load",
    "clear username ||",
    "clear password ||",
    "clear reverse-username ||",
    "clear reverse-password ||",
    "sanhook --drive 0x81 iscsi:10.0.0.9::3260:1a:iqn.2026-01.org.example:san || goto again",
    "clear username ||",
    "clear password ||",
    "clear reverse-username ||",
    "clear reverse-password ||",
    "sanhook --drive 0x82 iscsi:10.0.0.9::3260:412c:iqn.2026-01.org.example:san || goto again",
    "set username r1",
    "set password s3cret",
    "set reverse-username san",
    "set reverse-password its-own",
    "sanboot --drive 0x80 iscsi:10.0.0.9::3260:1:iqn.2026-01.org.example:san || goto again",
    ":again",
    "echo ironrack: the volume did not load; trying again in 5 s",
    "sanunhook --drive 0x81 ||",
    "sanunhook --drive 0x82 ||",
    "sleep 5",
    "goto load",
    "",
  ]);
});

test("every label that a script goes to is there, once", () => {
  const scripts = [
    bootScriptText({ kind: "local-disk" }, "note"),
    bootScriptText({ kind: "linux", of: "ramdisk", kernel: "http://x/k", initrd: "http://x/i", arguments: [] }, "note"),
    bootScriptText({ kind: "linux", of: "instance", kernel: "http://x/k", initrd: null, arguments: [] }, "note"),
    bootScriptText({ kind: "iso", url: "http://x/a.iso" }, "note"),
    bootScriptText({ kind: "memory-test", bios: "http://x/b", efi: "http://x/e", arguments: [] }, "note"),
    bootScriptText({ kind: "volumes", initiator: null, boot: volume(1), others: [volume(2)] }, "note"),
    entryScriptText("http://10.0.0.1:8081"),
  ];
  for (const script of scripts) {
    const labels = [...script.matchAll(/^:(\S+)$/gm)].map((found) => found[1]);
    assert.equal(new Set(labels).size, labels.length);
    for (const [, target] of script.matchAll(/goto (\S+)/g))
      assert.ok(labels.includes(target), `${target} in\n${script}`);
  }
});
