import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { parseIpv4Address } from "../../../src/core/brand.ts";
import { loadBootTemplates, readBootTemplates } from "../../../src/config/boot-templates.ts";
import { problemLine } from "../../../src/config/load.ts";
import { systemFirmware } from "../../../src/domain/boot-firmware.ts";
import { noTemplates, type TemplateFormat } from "../../../src/domain/boot-template.ts";
import type { Node } from "../../../src/domain/node.ts";
import { planFor } from "../../../src/service/boot-lookup.ts";
import { bootText } from "../../../src/service/boot-text.ts";
import { bootSettings } from "../../boot-settings.ts";
import { aMac, aNode, aPort } from "../../conformance/store-contract.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironrack-templates-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function write(name: string, text: string): void {
  writeFileSync(join(directory, name), text);
}

function problems(): readonly string[] {
  return readBootTemplates(directory).problems.map(problemLine);
}

function text(format: TemplateFormat, node: Partial<Node>): string {
  const templates = loadBootTemplates(directory);
  const settings = bootSettings({ policy: { kernelArguments: "console=ttyS0" }, templates, secrets: () => "s3cret" });
  const services = {
    address: parseIpv4Address("10.0.0.1"),
    http: "http://10.0.0.1:8080",
    https: null,
    apiUrl: "http://10.0.0.1:6385",
  };
  const mac = aMac(7);
  const full = aNode(7, node);
  const known = { node: full, port: aPort(7, full.uuid), volume: { kind: "none" as const } };
  const plan = planFor(known, settings, { mac, firmware: systemFirmware, services });
  return bootText(format, { mac, known, plan, services }, templates);
}

test("without a directory there are no templates", () => {
  assert.deepEqual(readBootTemplates(join(directory, "none")), { templates: noTemplates, problems: [] });
});

test("every mistake is named with its file, line and column", () => {
  write("ramdisk.ipxe", "#!ipxe\nkernel {{kernal}}\n  initrd {{ initrd }} {{oops\n");
  write("disk.ipxe", "sanboot {{kernel}}\n");
  write("ramdsik.grub", "");
  write("README", "{{whatever}}");
  mkdirSync(join(directory, "disk.grub"));
  const file = (name: string): string => join(directory, name);
  const found = problems();
  assert.match(found[0] ?? "", new RegExp(`^${file("disk.grub")}:1:1: cannot be read: EISDIR`));
  assert.match(found[1] ?? "", new RegExp(`^${file("disk.ipxe")}:1:1: must begin with the line "#!ipxe"`));
  assert.match(found[2] ?? "", new RegExp(`^${file("disk.ipxe")}:1:9: {{kernel}} means nothing in a disk template`));
  assert.match(found[3] ?? "", new RegExp(`^${file("ramdisk.ipxe")}:2:8: {{kernal}} is unknown; there are kernel, `));
  assert.match(found[4] ?? "", new RegExp(`^${file("ramdisk.ipxe")}:3:23: {{ has no }} on its line`));
  assert.match(found[5] ?? "", new RegExp(`^${file("ramdsik.grub")}:1:1: is no template's name`));
  assert.equal(found.length, 6);
  assert.throws(() => loadBootTemplates(directory), /ramdisk\.ipxe:2:8: /);
});

test("a directory that cannot be read is a problem", { skip: process.getuid?.() === 0 && "root reads it" }, () => {
  chmodSync(directory, 0);
  assert.match(problems()[0] ?? "", /cannot be read: EACCES/);
  chmodSync(directory, 0o700);
});

test("a template stands for the script of its kind and loader, and for no other", () => {
  write("ramdisk.ipxe", "#!ipxe\nkernel {{kernel}} initrd=i {{arguments}}\ninitrd --name i {{initrd}}\nboot\n");
  const ours = text("ipxe", { bootTarget: "ramdisk" });
  assert.match(
    ours,
    /^#!ipxe\nkernel http:\/\/10\.0\.0\.1:8080\/ramdisk\/kernel initrd=i ipa-api-url=\S+ .*console=ttyS0\n/,
  );
  assert.match(ours, /\ninitrd --name i http:\/\/10\.0\.0\.1:8080\/ramdisk\/initrd\nboot\n$/);
  assert.match(text("ipxe", { bootTarget: "disk" }), /sanboot --no-describe/);
  assert.match(text("grub", { bootTarget: "ramdisk" }), /^# ironrack: /);
});

test("GRUB and PXELINUX get file names in their own forms", () => {
  write("ramdisk.grub", "linux {{kernel}} {{arguments}}\ninitrd {{initrd}}\nboot\n");
  write("ramdisk.pxelinux", "DEFAULT x\nLABEL x\nLINUX {{kernel}}\nINITRD {{initrd}}\nAPPEND {{arguments}}\n");
  assert.match(text("grub", { bootTarget: "ramdisk" }), /^linux '\(tftp,10\.0\.0\.1\)\/ramdisk\/kernel' 'ipa-api-url=/);
  assert.match(
    text("pxelinux", { bootTarget: "ramdisk" }),
    /\nLINUX ::ramdisk\/kernel\nINITRD ::ramdisk\/initrd\nAPPEND ipa/,
  );
});

test("what comes from a node neither ends a line nor is expanded", () => {
  write("disk.ipxe", "#!ipxe\necho {{name}} {{mac}} {{node}} {{server}} {{http}} {{api}}\nexit 1\n");
  const node = { bootTarget: "disk", name: "n\n${x}" } as const;
  assert.equal(
    text("ipxe", node),
    `#!ipxe\necho n $ {x} 52:54:00:00:00:07 ${aNode(7).uuid} 10.0.0.1 http://10.0.0.1:8080 http://10.0.0.1:6385\nexit 1\n`,
  );
});
