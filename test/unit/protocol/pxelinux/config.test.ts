import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIpv4Address } from "../../../../src/core/brand.ts";
import { renderPxelinuxConfig } from "../../../../src/protocol/pxelinux/config.ts";
import { pxelinuxScriptText } from "../../../../src/service/pxelinux-script.ts";

const services = {
  address: parseIpv4Address("10.0.0.1"),
  http: "http://10.0.0.1:8080",
  https: null,
  apiUrl: "http://10.0.0.1:6385",
};

test("text from outside does not end its line", () => {
  assert.equal(
    renderPxelinuxConfig(
      [
        { kind: "say", text: "node\nLOCALBOOT 0" },
        { kind: "linux", file: "k\nx", initrd: null, arguments: ["a\r\nb"] },
      ],
      null,
    ),
    "DEFAULT ironrack\nPROMPT 0\nSAY node LOCALBOOT 0\nLABEL ironrack\nLINUX ::k x\nAPPEND a  b\n",
  );
});

test("what is ours comes by TFTP, what is not by its URL; the serial console is the kernel's", () => {
  assert.equal(
    pxelinuxScriptText(
      {
        kind: "linux",
        of: "ramdisk",
        kernel: "http://10.0.0.1:8080/ramdisk/kernel",
        initrd: "http://10.9.9.9/initrd",
        arguments: ["console=ttyS1,57600n8", "a=b"],
      },
      "n1: deploying",
      services,
    ),
    [
      "SERIAL 1 57600",
      "DEFAULT ironrack",
      "PROMPT 0",
      "# ironrack: n1: deploying",
      "SAY ironrack: n1: deploying",
      "LABEL ironrack",
      "LINUX ::ramdisk/kernel",
      "INITRD http://10.9.9.9/initrd",
      "APPEND console=ttyS1,57600n8 a=b",
      "",
    ].join("\n"),
  );
});

test("its own disk is left to the BIOS, and an ISO to iPXE", () => {
  assert.match(pxelinuxScriptText({ kind: "local-disk" }, "n1", services), /\nLOCALBOOT -1\n$/);
  assert.match(pxelinuxScriptText({ kind: "iso", url: "http://x/a.iso" }, "n1", services), /\nPXE ::undionly\.kpxe\n$/);
});
