import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { BootLab, SERVER } from "./boot-lab.ts";
import { consoleSays, fetched, firmwareOvmf, ipxeMachine, machine, pxelinux, TAP } from "./boot-machine.ts";
import { unpackedPackage } from "./unpacked-package.ts";

const MAC = "52:54:00:79:00:78";
const NIC = `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`;

/** An ISO that boots under BIOS and says so on the serial line. */
function smallIso(path: string): void {
  const tree = mkdtempSync(join(tmpdir(), "ironrack-iso-"));
  try {
    const isolinux = join(tree, "isolinux");
    mkdirSync(isolinux);
    copyFileSync(join(unpackedPackage("isolinux"), "usr/lib/ISOLINUX/isolinux.bin"), join(isolinux, "isolinux.bin"));
    copyFileSync(
      join(unpackedPackage("syslinux-common"), "usr/lib/syslinux/modules/bios/ldlinux.c32"),
      join(isolinux, "ldlinux.c32"),
    );
    writeFileSync(join(isolinux, "isolinux.cfg"), "SERIAL 0 115200\nSAY the instance runs from its ISO\nPROMPT 1\n");
    const boot = ["-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
    execFileSync("xorriso", ["-as", "mkisofs", "-quiet", "-R", ...boot, "-o", path, tree], { stdio: "ignore" });
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
}

test("an instance's ISO is booted over HTTP by a BIOS machine, to which alone it is given", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-isos-"));
  const iso = join(directory, "live.iso");
  try {
    smallIso(iso);
    await using lab = await BootLab.open(
      {
        isoDirectories: [directory],
        nodes: [{ mac: MAC, bootTarget: "network", instanceInfo: { boot_iso: iso } }],
      },
      ["ip -n site addr add 10.79.0.9/24 dev eth0", ...TAP],
    );
    await using _qemu = machine(lab, NIC, []);
    await consoleSays(lab, /the instance runs from its ISO/, 240);
    const part = await lab.logged((line) => line["event"] === "http.served" && line["status"] === 206, 1);
    assert.equal(part["mac"], MAC);
    assert.equal(part["path"], `/own/***/${MAC.replaceAll(":", "-")}.iso`);
    for (const path of [`boot/${MAC.replaceAll(":", "-")}.ipxe`, `own/guess/${MAC.replaceAll(":", "-")}.iso`]) {
      const stranger = await lab.client([
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        `http://${SERVER}:8080/${path}`,
      ]);
      assert.equal(stranger.stdout, "403");
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test("a machine with the capability memory_test runs memtest86+", async () => {
  const program = join(unpackedPackage("memtest86+"), "boot/memtest86+x64.bin");
  await using lab = await BootLab.open(
    {
      loaders: { "memtest86+x64.bin": program },
      nodes: [{ mac: MAC, bootTarget: "none", instanceInfo: { capabilities: { memory_test: true } } }],
    },
    TAP,
  );
  await using _qemu = machine(lab, NIC, []);
  await consoleSays(lab, /Memtest86\+/i, 240);
});

test("PXELINUX finds its machine's configuration and loads the ramdisk by TFTP", async () => {
  const files = pxelinux();
  await using lab = await BootLab.open(
    {
      nodes: [{ mac: MAC, bootTarget: "ramdisk" }],
      loaders: files,
      kernel: "/usr/lib/ipxe/ipxe.lkrn",
      initrd: files["ldlinux.c32"] ?? "", // small: PXELINUX loads slowly on an emulated processor
    },
    TAP,
  );
  const script = `set 210:string tftp://${SERVER}/\nchain tftp://${SERVER}/pxelinux.0`;
  await using _qemu = ipxeMachine(lab, MAC, script);
  await lab.logged((line) => line["event"] === "tftp.done" && line["file"] === "ramdisk/initrd", 240);
  assert.deepEqual(lab.taken(), [
    "pxelinux.0",
    "ldlinux.c32",
    `pxelinux.cfg/01-${MAC.replaceAll(":", "-")}`,
    "ramdisk/kernel",
    "ramdisk/initrd",
  ]);
});

test("undionly.kpxe runs on another program's network driver, and asks again as iPXE for its script", async () => {
  await using lab = await BootLab.open(
    { nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: "/usr/lib/ipxe/ipxe.lkrn" },
    TAP,
  );
  await using _qemu = ipxeMachine(lab, MAC, `chain tftp://${SERVER}/undionly.kpxe`);
  await fetched(lab, "/ramdisk/initrd", 240);
  assert.equal((await lab.logged((line) => line["event"] === "tftp.done", 1))["file"], "undionly.kpxe");
});

test("GRUB of Debian's signed network image follows the operator's template", async () => {
  const templates = mkdtempSync(join(tmpdir(), "ironrack-templates-"));
  try {
    const lines = [
      "serial --unit=0",
      "terminal_output serial",
      "echo template for {{name}}, {{mac}}: {{reason}}",
      "linux {{kernel}} {{arguments}}",
      'echo "loaded: $?"',
      "sleep 3600",
    ];
    writeFileSync(join(templates, "ramdisk.grub"), `${lines.join("\n")}\n`);
    const grub = "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed";
    await using lab = await BootLab.open(
      {
        nodes: [{ mac: MAC, bootTarget: "ramdisk", secureBoot: true }],
        // In the place of the shim, which would only start it.
        loaders: { "shimx64.efi": join(unpackedPackage("grub-efi-amd64-signed"), grub) },
        templateDirectory: templates,
        kernel: "/usr/lib/ipxe/ipxe.lkrn",
      },
      TAP,
    );
    await using _qemu = machine(lab, `${NIC},romfile=`, firmwareOvmf(lab));
    const said = new RegExp(`template for node-0, ${MAC}: enroll: the ramdisk is ordered[\\s\\S]*loaded: 0`);
    await consoleSays(lab, said, 240);
    await lab.logged((line) => line["event"] === "tftp.done" && line["file"] === "/ramdisk/kernel", 1);
  } finally {
    rmSync(templates, { recursive: true });
  }
});
