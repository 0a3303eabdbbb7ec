import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BootLab, SERVER, SERVER_PORT_HTTP } from "../peer/boot-lab.ts";
import { armMachine, consoleSays, firmwareAavmf, NO_PXE, TAP, uBootMachine } from "../peer/boot-machine.ts";
import type { BootServerOptions } from "../peer/boot-server.ts";
import { Arm64Packages } from "../peer/unpacked-package.ts";

const MAC = "52:54:00:79:00:7c";
const NIC = `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`;
const packages = new Arm64Packages();
const own = mkdtempSync(join(tmpdir(), "ironrack-arm64-"));
after(() => rmSync(own, { recursive: true, force: true }));

/** Debian's loaders for arm64, signed, by the names they ask each other for. */
const loaders: Readonly<Record<string, string>> = {
  "shimaa64.efi": join(packages.unpacked("shim-signed"), "usr/lib/shim/shimaa64.efi.signed"),
  "grubaa64.efi": join(
    packages.unpacked("grub-efi-arm64-signed"),
    "usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed",
  ),
};

/** Debian's kernel with an initrd whose only program says that it runs. */
function ramdisk(): { readonly kernel: string; readonly initrd: string } {
  const image = packages.unpacked(packages.dependency("linux-image-cloud-arm64"));
  const boot = join(image, "boot");
  const kernel = readdirSync(boot).find((name) => name.startsWith("vmlinuz-")) ?? "";
  const tree = join(own, "tree");
  const busybox = join(packages.unpacked("busybox-static"), "bin/busybox");
  for (const name of ["bin", "proc"]) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(busybox, join(tree, "bin/busybox"));
  const init =
    "#!/bin/busybox sh\nbusybox mount -t proc proc /proc\necho the ramdisk runs on $(busybox uname -m): $(busybox cat /proc/cmdline)\nbusybox sleep 3600\n";
  writeFileSync(join(tree, "init"), init, { mode: 0o755 });
  const initrd = join(own, "initrd");
  execFileSync("sh", ["-c", `find . | cpio -o -H newc --quiet > ${initrd}`], { cwd: tree });
  return { kernel: join(boot, kernel), initrd };
}

const node = { mac: MAC, bootTarget: "ramdisk", cpuArch: "aarch64" } as const;
const options = {
  nodes: [{ ...node, secureBoot: true }],
  loaders,
  arm64Ramdisk: ramdisk(),
  kernelArguments: "console=ttyAMA0",
} satisfies Partial<BootServerOptions>;

/** The same without Secure Boot: GRUB in the place of iPXE. */
const unsigned = {
  nodes: [node],
  loaders: { ...loaders, "snponly-arm64.efi": loaders["grubaa64.efi"] ?? "" },
};

/** The kernel that was loaded runs, with the initrd that was loaded, and knows where the API is. */
async function runs(lab: BootLab): Promise<void> {
  await consoleSays(lab, /the ramdisk runs on aarch64: .*ipa-api-url=http:\/\/10\.79\.0\.1:6385/, 150);
}

test("AAVMF with Secure Boot starts the signed shim by PXE, it GRUB, and GRUB the arm64 ramdisk", async () => {
  await using lab = await BootLab.open(options, TAP);
  await using _qemu = armMachine(lab, NIC, firmwareAavmf(lab, ".ms"));
  await runs(lab);
  assert.deepEqual(lab.told(), ["pxe ARM 64-bit UEFI: shimaa64.efi"]);
});

test("AAVMF's HTTP boot loads its program by URL and starts it", async () => {
  await using lab = await BootLab.open({ ...options, ...unsigned }, TAP);
  await using _qemu = armMachine(lab, NIC, [...firmwareAavmf(lab, ""), ...NO_PXE]);
  // GRUB of Debian knows no HTTP and stops here; Debian 12 has no iPXE for arm64, which would go on.
  await consoleSays(lab, /Welcome to GRUB/, 100);
  const url = `http://${SERVER}:${SERVER_PORT_HTTP}/loader/snponly-arm64.efi`;
  assert.deepEqual(lab.told(), [`uefi-http ARM 64-bit UEFI, HTTP: ${url}`]);
});

test("U-Boot starts the arm64 ramdisk by its PXELINUX configuration", async () => {
  await using lab = await BootLab.open({ ...options, ...unsigned }, TAP);
  await using _qemu = uBootMachine(lab, MAC, "dhcp; pxe get && pxe boot");
  await runs(lab);
});

test("U-Boot's EFI boot starts GRUB, and GRUB the arm64 ramdisk", async () => {
  await using lab = await BootLab.open({ ...options, ...unsigned }, TAP);
  await using _qemu = uBootMachine(lab, MAC, "run bootcmd_dhcp");
  await runs(lab);
  assert.ok(lab.told().includes("pxe ARM 64-bit UEFI: snponly-arm64.efi"));
});
