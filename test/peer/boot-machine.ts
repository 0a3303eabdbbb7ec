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
  return start(lab, [...PC, "-serial", `file:${consoleFile(lab)}`, ...more], nic);
}

/** The same on arm64. */
export function armMachine(lab: BootLab, nic: string, more: readonly string[]): Child {
  return start(lab, [...ARM, "-serial", `file:${consoleFile(lab)}`, ...more], nic);
}

/**
 * An arm64 machine whose firmware is U-Boot, and which is given this one line of commands. A key ends the count-down; what
 * follows it at once may be lost with it. U-Boot reads nothing but Ctrl-C while it waits for the network.
 */
export function uBootMachine(lab: BootLab, nic: string, commands: string): Child {
  const firmware = join(unpackedPackage("u-boot-qemu"), "usr/lib/u-boot/qemu_arm64/u-boot.bin");
  return start(lab, [...ARM, "-bios", firmware, "-serial", "stdio"], nic, {
    logFile: consoleFile(lab),
    input: `\n${" ".repeat(20)}${commands}\n`,
  });
}

const PC = ["qemu-system-x86_64", "-machine", "q35,smm=off,graphics=off", "-cpu", "max"];
const ARM = ["qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a57"];

function start(lab: BootLab, board: readonly string[], nic: string, options?: ChildOptions): Child {
  return lab.enclosure.spawn(
    "rack",
    [
      ...board.slice(0, 1),
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
      ...board.slice(1),
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
