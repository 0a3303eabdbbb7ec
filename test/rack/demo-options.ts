import { parseArgs } from "node:util";
import { invalid } from "../../src/core/fault.ts";
import type { MachineSpec } from "./machine.ts";
import type { Firmware } from "./qemu-arguments.ts";

export interface DemoOptions {
  readonly machines: number;
  readonly only: Firmware | undefined;
  readonly keep: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

export const DEMO_HELP = `npm run demo -- [options]

Builds a virtual rack (QEMU machines with real BMCs, the site's MQTT broker), starts ironrackd in it, and as the central
site has every machine found, cleaned, imaged and booted from its own disk. Needs root; everything it makes is gone when
it ends.

  --machines N      how many machines, 1 to 16 (2); BIOS and UEFI by turns
  --only bios|uefi  machines of one kind only
  --keep            leave the rack running at the end, until Ctrl-C
  --json            progress on standard error; one JSON object as the last line of standard output
  --help            this text
`;

/** @throws Fault invalid, naming the option */
export function parseDemoOptions(args: readonly string[]): DemoOptions {
  const { values } = parse(args);
  const machines = Number(values.machines ?? (values.only === undefined ? "2" : "1"));
  if (!Number.isInteger(machines) || machines < 1 || machines > 16)
    throw invalid("--machines", "must be a number from 1 to 16");
  return { machines, only: firmware(values.only), keep: values.keep, json: values.json, help: values.help };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        machines: { type: "string" },
        only: { type: "string" },
        keep: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw invalid("arguments", error instanceof Error ? error.message : String(error));
  }
}

function firmware(text: string | undefined): Firmware | undefined {
  if (text === undefined || text === "bios" || text === "uefi") return text;
  throw invalid("--only", `must be bios or uefi, not "${text}"`);
}

/** The machines of the demonstration: empty disks, a password of its own for each BMC. */
export function demoMachines({ machines, only }: Pick<DemoOptions, "machines" | "only">): readonly MachineSpec[] {
  return Array.from({ length: machines }, (_, index) => {
    const kind = only ?? (index % 2 === 0 ? "bios" : "uefi");
    return {
      name: `${kind}-${index + 1}`,
      firmware: kind,
      memoryMb: 1024,
      disks: [{ sizeGb: 4 }],
      bmc: { username: "operator", password: `rack-pass-${index + 1}` },
    };
  });
}
