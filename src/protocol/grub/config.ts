import { assertNever } from "../../core/fault.ts";

/** A command of a GRUB configuration. @source GNU GRUB 2.06 manual, "Commands" */
export type GrubCommand =
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "echo"; readonly text: string }
  | { readonly kind: "linux"; readonly url: string; readonly arguments: readonly string[] }
  | { readonly kind: "initrd"; readonly url: string }
  /** What UEFI starts from a disk without a boot entry: the first file system that has it becomes the root, and it is started. */
  | { readonly kind: "chain-from-disk" }
  | { readonly kind: "boot" }
  | { readonly kind: "exit" };

/** One word, whatever it holds. */
export function grubWord(word: string): string {
  return `'${word.replaceAll(/[^\x20-\x7e]/g, " ").replaceAll("'", "'\\''")}'`;
}

/** `http://10.0.0.1:8081/a/b` as GRUB names it: `(http,10.0.0.1:8081)/a/b`. */
export function grubPath(url: string): string {
  const parts = /^(https?|tftp):\/\/([^/]+)(\/.*)$/.exec(url);
  return parts === null ? url : `(${parts[1]},${parts[2]})${parts[3]}`;
}

/** @source UEFI 2.10 table 3-2 for the names */
const CHAIN_FROM_DISK = `loader=/EFI/BOOT/BOOTX64.EFI
if [ "$grub_cpu" = arm64 ]; then loader=/EFI/BOOT/BOOTAA64.EFI; fi
if search --no-floppy --set=root --file $loader; then chainloader $loader; boot; fi`;

function line(command: GrubCommand): string {
  switch (command.kind) {
    case "comment":
      return `# ${command.text.replaceAll(/[^\x20-\x7e]/g, " ")}`;
    case "echo":
      return `echo ${grubWord(command.text)}`;
    case "linux":
      return ["linux", grubWord(grubPath(command.url)), ...command.arguments.map(grubWord)].join(" ");
    case "initrd":
      return `initrd ${grubWord(grubPath(command.url))}`;
    case "chain-from-disk":
      return CHAIN_FROM_DISK;
    case "boot":
      return "boot";
    case "exit":
      return "exit";
    default:
      return assertNever(command);
  }
}

/** The text of a grub.cfg. */
export function renderGrubConfig(commands: readonly GrubCommand[]): string {
  return `${commands.map(line).join("\n")}\n`;
}
