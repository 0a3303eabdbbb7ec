import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Child, ChildOptions } from "../rack/child.ts";
import { OVMF_CODE, OVMF_VARIABLES } from "../rack/qemu-arguments.ts";
import type { BootLab } from "./boot-lab.ts";
import { unpackedPackage } from "./unpacked-package.ts";

/** The network of the lab's only machine, for the lab's layout. */
export const TAP = ["ip tuntap add tap0 mode tap", "ip link set tap0 master br0 up"];

/** A machine without a disk; TCG, as test/rack/qemu-arguments.ts says why. Its serial line goes to `console`. */
export function machine(lab: BootLab, nic: string, more: readonly string[]): Child {
  return start(lab, PC, nic, ["-serial", `file:${consoleFile(lab)}`, ...more]);
}

/** The same on arm64. */
export function armMachine(lab: BootLab, nic: string, more: readonly string[]): Child {
  return start(lab, ARM, nic, ["-serial", `file:${consoleFile(lab)}`, ...more]);
}

/** A machine that begins with iPXE, from a file, and this script. */
export function ipxeMachine(lab: BootLab, mac: string, script: string): Child {
  const path = lab.script("chain.ipxe", `#!ipxe\ndhcp\n${script}\n`);
  const nic = `virtio-net-pci,netdev=net0,mac=${mac},romfile=`;
  return machine(lab, nic, ["-kernel", "/usr/lib/ipxe/ipxe.lkrn", "-initrd", path]);
}

/**
 * An arm64 machine whose firmware is U-Boot, and which is given this one line of commands. A key ends the count-down; what
 * follows it at once may be lost with it. U-Boot reads nothing but Ctrl-C while it waits for the network.
 */
export function uBootMachine(lab: BootLab, mac: string, commands: string): Child {
  const firmware = join(unpackedPackage("u-boot-qemu"), "usr/lib/u-boot/qemu_arm64/u-boot.bin");
  // Of its virtio driver U-Boot 2023.01 gets a wrong MAC address under this QEMU.
  const nic = `e1000,netdev=net0,mac=${mac},romfile=`;
  return start(lab, ARM, nic, ["-bios", firmware, "-serial", "stdio"], {
    logFile: consoleFile(lab),
    input: `\n${" ".repeat(20)}${commands}\n`,
  });
}

const PC = ["qemu-system-x86_64", "-machine", "q35,smm=off,graphics=off", "-cpu", "max"];
const ARM = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"];

function start(
  lab: BootLab,
  board: readonly string[],
  nic: string,
  more: readonly string[],
  options?: ChildOptions,
): Child {
  return lab.enclosure.spawn(
    "rack",
    [
      ...board,
      "-accel",
      "tcg,thread=multi",
      "-m",
      "512",
      "-nodefaults",
      "-display",
      "none",
      "-no-reboot",
      "-uuid",
      "c1d7c0de-0001-4000-8000-000000000079",
      "-netdev",
      "tap,id=net0,ifname=tap0,script=no,downscript=no",
      "-device",
      nic,
      ...more,
    ],
    options,
  );
}

export function firmwareOvmf(lab: BootLab): readonly string[] {
  return edk2(lab, OVMF_CODE, OVMF_VARIABLES);
}

/** EDK2 for arm64; `keys` is "" or ".ms", with Microsoft's keys and Secure Boot on. */
export function firmwareAavmf(lab: BootLab, keys: "" | ".ms"): readonly string[] {
  const directory = join(unpackedPackage("qemu-efi-aarch64"), "usr/share/AAVMF");
  return edk2(lab, join(directory, `AAVMF_CODE${keys}.fd`), join(directory, `AAVMF_VARS${keys}.fd`));
}

/** OVMF with Microsoft's keys and Secure Boot on. */
export function secureOvmf(lab: BootLab): readonly string[] {
  return [
    "-machine",
    "smm=on",
    "-global",
    "driver=cfi.pflash01,property=secure,value=on",
    "-m",
    "1024",
    ...edk2(lab, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
  ];
}

/** EDK2 goes on to HTTP boot at once. */
export const NO_PXE = ["IPv4", "IPv6"].flatMap((family) => [
  "-fw_cfg",
  `name=opt/org.tianocore/${family}PXESupport,string=no`,
]);

function edk2(lab: BootLab, code: string, itsVariables: string): readonly string[] {
  const variables = join(lab.directory, "vars.fd");
  copyFileSync(itsVariables, variables);
  return [
    "-object",
    "rng-random,id=rng0,filename=/dev/urandom",
    "-device",
    "virtio-rng-pci,rng=rng0",
    "-drive",
    `if=pflash,format=raw,unit=0,readonly=on,file=${code}`,
    "-drive",
    `if=pflash,format=raw,unit=1,file=${variables}`,
  ];
}

/** What Debian's packages give Secure Boot to start, by the names they ask each other for. */
export function signedLoaders(): Readonly<Record<string, string>> {
  const grub = "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed";
  return {
    "shimx64.efi": join(unpackedPackage("shim-signed"), "usr/lib/shim/shimx64.efi.signed"),
    "grubx64.efi": join(unpackedPackage("grub-efi-amd64-signed"), grub),
  };
}

/** PXELINUX and its library, by the names it asks for. */
export function pxelinux(): Readonly<Record<string, string>> {
  return {
    "pxelinux.0": join(unpackedPackage("pxelinux"), "usr/lib/PXELINUX/pxelinux.0"),
    "ldlinux.c32": join(unpackedPackage("syslinux-common"), "usr/lib/syslinux/modules/bios/ldlinux.c32"),
  };
}

function consoleFile(lab: BootLab): string {
  return join(lab.directory, "console");
}

/** What the machine has written to its serial line. */
function consoleText(lab: BootLab): string {
  const path = consoleFile(lab);
  return existsSync(path) ? readFileSync(path, "latin1") : "";
}

export async function consoleSays(lab: BootLab, what: RegExp, within_s: number): Promise<void> {
  for (let waited = 0; waited < within_s; waited += 1) {
    if (what.test(consoleText(lab))) return;
    await lab.wait(1);
  }
  throw new Error(`the console says:\n${consoleText(lab).slice(-3000)}`);
}

export async function fetched(lab: BootLab, path: string, within_s: number): Promise<void> {
  try {
    await lab.logged(
      (line) => line["event"] === "http.served" && line["path"] === path && line["status"] === 200,
      within_s,
    );
  } catch (error) {
    throw new Error(`${path} was not fetched; console:\n${consoleText(lab).slice(-3000)}`, { cause: error });
  }
}
