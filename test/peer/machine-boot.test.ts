import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BootLab, SERVER, SERVER_PORT_HTTP } from "./boot-lab.ts";
import { consoleSays, fetched, firmwareOvmf, machine, NO_PXE, secureOvmf, signedLoaders, TAP } from "./boot-machine.ts";
import { OTHER, otherDhcpServer } from "./other-dhcp-server.ts";

const MAC = "52:54:00:79:00:77";
const HTTP = `http://${SERVER}:${SERVER_PORT_HTTP}`;

/** Programs of Debian's package ipxe that iPXE takes for a kernel: enough to see that the kernel is fetched and started. */
const BIOS_KERNEL = "/usr/lib/ipxe/ipxe.lkrn";
const UEFI_KERNEL = "/usr/lib/ipxe/ipxe.efi";

/** Kernel and initrd of the ramdisk, as test/setup.sh has built them last. */
function ramdiskFiles(): { readonly kernel: string; readonly initrd: string } {
  const cache = join(homedir(), ".cache", "ironrack", "ramdisk");
  const built = (existsSync(cache) ? readdirSync(cache) : []).find((name) => existsSync(join(cache, name, "initrd")));
  return { kernel: join(cache, built ?? "", "kernel"), initrd: join(cache, built ?? "", "initrd") };
}

function withoutRamdisk(): string | false {
  return existsSync(ramdiskFiles().initrd) ? false : "the ramdisk is not built (test/setup.sh ramdisk)";
}

test("SeaBIOS with an iPXE ROM gets its script at once, then kernel and initrd", async () => {
  await using lab = await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: BIOS_KERNEL }, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  await fetched(lab, "/ramdisk/initrd", 90);
  await fetched(lab, `/boot/${MAC.replaceAll(":", "-")}.ipxe`, 1);
  await fetched(lab, "/ramdisk/kernel", 1);
  const offer = lab.answers()[0];
  assert.equal(offer?.["answer"], "offer");
  assert.equal(offer["boot"], `${HTTP}/boot/${MAC.replaceAll(":", "-")}.ipxe`);
  assert.match(String(offer["firmware"]), /^ipxe x86 BIOS$/);
});

test("OVMF's own PXE gets snponly.efi by TFTP, which gets its script, kernel and initrd", async () => {
  await using lab = await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: UEFI_KERNEL }, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, firmwareOvmf(lab));
  await fetched(lab, "/ramdisk/initrd", 180);
  await fetched(lab, "/ramdisk/kernel", 1);
  const done = await lab.logged((line) => line["event"] === "tftp.done", 1);
  assert.equal(done["file"], "snponly.efi");
  assert.equal(done["mac"], MAC);
  assert.deepEqual(lab.told().slice(0, 2), [
    "pxe x64 UEFI: snponly.efi",
    `ipxe x64 UEFI: ${HTTP}/boot/${MAC.replaceAll(":", "-")}.ipxe`,
  ]);
});

test("OVMF's HTTP boot gets snponly.efi by its URL, which gets its script, kernel and initrd", async () => {
  await using lab = await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: UEFI_KERNEL }, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, [
    ...firmwareOvmf(lab),
    ...NO_PXE,
  ]);
  await fetched(lab, "/ramdisk/initrd", 200);
  await fetched(lab, "/loader/snponly.efi", 1);
  const offer = lab.answers().find((line) => String(line["firmware"]).startsWith("uefi-http"));
  assert.equal(offer?.["boot"], `${HTTP}/loader/snponly.efi`);
});

test("under Secure Boot, OVMF starts the signed shim, it GRUB, and GRUB the ramdisk's signed kernel", {
  skip: withoutRamdisk(),
}, async () => {
  const ramdisk = ramdiskFiles();
  await using lab = await BootLab.open(
    { nodes: [{ mac: MAC, bootTarget: "ramdisk", secureBoot: true }], loaders: signedLoaders(), ...ramdisk },
    TAP,
  );
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, secureOvmf(lab));
  await lab.logged((line) => line["event"] === "tftp.done" && line["file"] === "/ramdisk/initrd", 280);
  assert.deepEqual(lab.taken(), [
    "shimx64.efi",
    "grubx64.efi",
    "/grub/grub.cfg",
    "/grub/grub.cfg-01-52:54:00:79:00:77",
    "/ramdisk/kernel",
    "/ramdisk/initrd",
  ]);
  // The kernel that Secure Boot let through speaks, and from its own command line it knows where the API is.
  await consoleSays(lab, /Linux version [\s\S]*ipa-api-url=http:\/\/10\.79\.0\.1:6385/, 120);
});

test("an iPXE ROM of a machine that is to boot its disk gets an address and no file, and leaves the network", async () => {
  await using lab = await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "disk" }] }, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  const ack = await lab.logged((line) => line["answer"] === "ack", 90);
  assert.equal(ack["boot"], "none");
  await lab.wait(3);
  assert.ok(!lab.lines().some((line) => line["event"] === "http.served"));
});

test("an unknown machine gets an address and is not disturbed", async () => {
  await using lab = await BootLab.open({}, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  const ack = await lab.logged((line) => line["answer"] === "ack", 90);
  assert.equal(ack["boot"], "none");
  assert.equal(ack["boot_reason"], "port unknown and discovery off");
});

test("an unknown machine is booted into the ramdisk when discovery is on", async () => {
  await using lab = await BootLab.open({ discovery: true, kernel: BIOS_KERNEL }, TAP);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  await fetched(lab, "/ramdisk/initrd", 90);
});

test("beside another DHCP server, as a proxy: an iPXE ROM has its address from there and its script from us", async () => {
  await using lab = await BootLab.open(
    { proxy: true, nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: BIOS_KERNEL },
    [...TAP, ...OTHER],
  );
  await using _other = otherDhcpServer(lab, "eth0");
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  await fetched(lab, "/ramdisk/initrd", 120);
  const served = await lab.logged((line) => line["event"] === "http.served", 1);
  assert.match(String(served["peer"]), /^10\.79\.0\.2[012]\d$/);
});

test("beside another DHCP server, as a proxy: OVMF asks on port 4011 and boots", async () => {
  await using lab = await BootLab.open(
    { proxy: true, nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: UEFI_KERNEL },
    [...TAP, ...OTHER],
  );
  await using _other = otherDhcpServer(lab, "eth0");
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, firmwareOvmf(lab));
  await fetched(lab, "/ramdisk/initrd", 200);
});

test("as a proxy, a machine that is to boot its disk and a mere DHCP client hear nothing from us", async () => {
  await using lab = await BootLab.open({ proxy: true, nodes: [{ mac: MAC, bootTarget: "disk" }] }, [...TAP, ...OTHER]);
  await using _other = otherDhcpServer(lab, "eth0");
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`, []);
  await lab.logged((line) => line["event"] === "dhcp.silent", 90);
  await lab.wait(5);
  assert.deepEqual(lab.answers(), []);
});
