import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Child } from "../rack/child.ts";
import { OVMF_CODE, OVMF_VARIABLES } from "../rack/qemu-arguments.ts";
import type { BootLab } from "./boot-lab.ts";

/** The network of the lab's only machine, for the lab's layout. */
export const TAP = ["ip tuntap add tap0 mode tap", "ip link set tap0 master br0 up"];

/** A machine without a disk; TCG, as test/rack/qemu-arguments.ts says why. Its serial line goes to `console`. */
export function machine(lab: BootLab, nic: string, more: readonly string[]): Child {
  return lab.enclosure.spawn("rack", [
    "qemu-system-x86_64",
    "-machine",
    "q35,smm=off,graphics=off",
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "max",
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
    "-serial",
    `file:${join(lab.directory, "console")}`,
    ...more,
  ]);
}

export function firmwareOvmf(lab: BootLab): readonly string[] {
  const variables = join(lab.directory, "vars.fd");
  copyFileSync(OVMF_VARIABLES, variables);
  return [
    "-object",
    "rng-random,id=rng0,filename=/dev/urandom",
    "-device",
    "virtio-rng-pci,rng=rng0",
    "-drive",
    `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF_CODE}`,
    "-drive",
    `if=pflash,format=raw,unit=1,file=${variables}`,
  ];
}

/** What the machine has written to its serial line. */
function consoleText(lab: BootLab): string {
  const path = join(lab.directory, "console");
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
