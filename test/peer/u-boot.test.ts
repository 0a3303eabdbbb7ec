import assert from "node:assert/strict";
import { test } from "node:test";
import { BootLab } from "./boot-lab.ts";
import { consoleSays, TAP, uBootMachine } from "./boot-machine.ts";
import { OTHER, otherDhcpServer } from "./other-dhcp-server.ts";

const MAC = "52:54:00:79:00:7b";
/** Kernel and initrd that no processor runs: that they come is what is looked at. */
const ARM64 = { kernel: "/usr/lib/ipxe/ipxe.lkrn", initrd: "/usr/lib/ipxe/undionly.kpxe" };
const CONFIG = `pxelinux.cfg/01-${MAC.replaceAll(":", "-")}`;

test("U-Boot on arm64 finds its machine's PXELINUX configuration, and loads the arm64 ramdisk as it says", async () => {
  await using lab = await BootLab.open(
    { nodes: [{ mac: MAC, bootTarget: "ramdisk", cpuArch: "aarch64" }], arm64Ramdisk: ARM64 },
    TAP,
  );
  await using _qemu = uBootMachine(lab, MAC, "dhcp; pxe get && pxe boot");
  await lab.logged((line) => line["event"] === "tftp.done" && String(line["file"]).endsWith("arm64/kernel"), 90);
  assert.deepEqual(lab.told(), [`u-boot ARM 64-bit U-Boot: ${CONFIG}`]);
  // It puts the directory of what `dhcp` loaded before each name, also before PXELINUX's mark of the root.
  assert.deepEqual(lab.taken(), [
    CONFIG,
    `pxelinux.cfg/${CONFIG}`,
    "pxelinux.cfg/::ramdisk/arm64/initrd",
    "pxelinux.cfg/::ramdisk/arm64/kernel",
  ]);
});

test("U-Boot's EFI boot poses as PXE firmware of arm64 and gets the loader for that", async () => {
  await using lab = await BootLab.open(
    {
      nodes: [{ mac: MAC, bootTarget: "ramdisk", cpuArch: "aarch64" }],
      arm64Ramdisk: ARM64,
      loaders: { "snponly-arm64.efi": "/usr/lib/ipxe/snponly.efi" },
    },
    TAP,
  );
  await using _qemu = uBootMachine(lab, MAC, "run bootcmd_dhcp");
  await lab.logged((line) => line["event"] === "tftp.done" && line["file"] === "snponly-arm64.efi", 90);
  assert.deepEqual(lab.told(), [`u-boot ARM 64-bit U-Boot: ${CONFIG}`, "pxe ARM 64-bit UEFI: snponly-arm64.efi"]);
});

test("U-Boot of a machine that is to boot its disk gets an address and no file, and goes on to its next target", async () => {
  await using lab = await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "disk", cpuArch: "aarch64" }] }, TAP);
  await using _qemu = uBootMachine(lab, MAC, "dhcp; pxe get; echo next");
  await lab.logged((line) => line["answer"] === "ack", 90);
  assert.deepEqual(lab.told(), ["u-boot ARM 64-bit U-Boot: none"]);
});

test("as a proxy we are silent to U-Boot, which would take an offer without an address", async () => {
  const options = { proxy: true, nodes: [{ mac: MAC, bootTarget: "ramdisk" as const, cpuArch: "aarch64" }] };
  await using lab = await BootLab.open({ ...options, arm64Ramdisk: ARM64 }, [...TAP, ...OTHER]);
  await using _other = otherDhcpServer(lab, "eth0");
  await using _qemu = uBootMachine(lab, MAC, "dhcp");
  await consoleSays(lab, /DHCP client bound to address 10\.79\.0\.2[012]\d/, 90);
  assert.deepEqual(lab.answers(), []);
});
