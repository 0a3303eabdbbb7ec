import { assertNever } from "../../core/fault.ts";

/**
 * A line of a PXELINUX configuration: those that stand before the label, then what the only label does. Files are named for
 * TFTP without a leading slash, or by URL, which only lpxelinux.0 can load.
 * @source SYSLINUX wiki, "Config" and "PXELINUX"
 */
export type PxelinuxCommand =
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "say"; readonly text: string }
  | {
      readonly kind: "linux";
      readonly file: string;
      readonly initrd: string | null;
      readonly arguments: readonly string[];
    }
  /** Another boot program of the PXE kind. */
  | { readonly kind: "pxe"; readonly file: string }
  /** The BIOS goes on with its next boot device. */
  | { readonly kind: "next-device" };

const LABEL = "ironrack";

/** Text from outside, which must not end its line. */
export function pxelinuxText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, " ");
}

/** `::` keeps PXELINUX from putting the directory of its own file before the name. */
export function pxelinuxFile(name: string): string {
  return /^[a-z]+:\/\//.test(name) ? pxelinuxText(name) : `::${pxelinuxText(name)}`;
}

function lines(command: PxelinuxCommand): readonly string[] {
  switch (command.kind) {
    case "comment":
      return [`# ${pxelinuxText(command.text)}`];
    case "say":
      return [`SAY ${pxelinuxText(command.text)}`];
    case "linux":
      return [
        `LABEL ${LABEL}`,
        `LINUX ${pxelinuxFile(command.file)}`,
        ...(command.initrd === null ? [] : [`INITRD ${pxelinuxFile(command.initrd)}`]),
        `APPEND ${command.arguments.length === 0 ? "-" : command.arguments.map(pxelinuxText).join(" ")}`,
      ];
    case "pxe":
      return [`LABEL ${LABEL}`, `PXE ${pxelinuxFile(command.file)}`];
    case "next-device":
      return [`LABEL ${LABEL}`, "LOCALBOOT -1"];
    default:
      return assertNever(command);
  }
}

/** The text of a file in pxelinux.cfg. `serial`: the port that its own words go to as well; it must come first. */
export function renderPxelinuxConfig(
  commands: readonly PxelinuxCommand[],
  serial: { readonly port: number; readonly baud: number } | null,
): string {
  return `${[
    ...(serial === null ? [] : [`SERIAL ${serial.port} ${serial.baud}`]),
    `DEFAULT ${LABEL}`,
    "PROMPT 0",
    ...commands.flatMap(lines),
  ].join("\n")}\n`;
}
