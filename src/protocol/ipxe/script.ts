import { assertNever } from "../../core/fault.ts";

/** Names and passwords of a storage system; `reverse-`: those that it must know. @source ipxe.org/cfg */
export type ChapSetting = "username" | "password" | "reverse-username" | "reverse-password";

/** A command of an iPXE script. Values are written so that iPXE takes them as they are. @source ipxe.org/cmd */
export type IpxeCommand =
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "echo"; readonly text: string }
  | { readonly kind: "label"; readonly name: string }
  | { readonly kind: "kernel"; readonly url: string; readonly arguments: readonly string[]; readonly orGo: string }
  | { readonly kind: "initrd"; readonly url: string; readonly name: string; readonly orGo: string }
  | { readonly kind: "boot"; readonly orGo: string }
  | { readonly kind: "chain"; readonly url: string; readonly orGo: string }
  | { readonly kind: "isset"; readonly setting: string; readonly orGo: string }
  | { readonly kind: "if-efi"; readonly go: string }
  | { readonly kind: "sanboot-disk"; readonly drive: number; readonly orGo: string }
  /** Boots from an image that is read over the network; under BIOS it becomes the drive. */
  | { readonly kind: "sanboot"; readonly url: string; readonly drive: number; readonly orGo: string }
  /** The disk becomes the drive, and is described to the system that is booted from another one. */
  | { readonly kind: "sanhook"; readonly url: string; readonly drive: number; readonly orGo: string }
  | { readonly kind: "sanunhook"; readonly drive: number }
  /** As sanboot, and tells the system that is booted where its disk is (iBFT). */
  | { readonly kind: "sanboot-described"; readonly url: string; readonly drive: number; readonly orGo: string }
  /** A value of letters, digits and signs that mean nothing to iPXE. */
  | { readonly kind: "set"; readonly setting: ChapSetting | "initiator-iqn"; readonly value: string }
  | { readonly kind: "clear"; readonly setting: ChapSetting }
  | { readonly kind: "wait"; readonly seconds: number }
  | { readonly kind: "go"; readonly label: string }
  | { readonly kind: "reboot" }
  | { readonly kind: "exit"; readonly status: 0 | 1 };

/** Text from outside, which must neither end its line nor be expanded. */
export function ipxeText(text: string): string {
  return text.replaceAll(/[^\x20-\x7e\xa0-\uffff]/g, " ").replaceAll("${", "$ {");
}

function line(command: IpxeCommand): string {
  switch (command.kind) {
    case "comment":
      return `# ${ipxeText(command.text)}`;
    case "echo":
      return `echo ${ipxeText(command.text)}`;
    case "label":
      return `:${command.name}`;
    case "kernel":
      return `kernel ${[ipxeText(command.url), ...command.arguments.map(ipxeText)].join(" ")} || goto ${command.orGo}`;
    case "initrd":
      return `initrd --name ${command.name} ${ipxeText(command.url)} || goto ${command.orGo}`;
    case "boot":
      return `boot || goto ${command.orGo}`;
    case "chain":
      // The URL is ours and may hold ${...} that iPXE is to expand.
      return `chain --autofree ${command.url} || goto ${command.orGo}`;
    case "isset":
      return `isset \${${command.setting}} || goto ${command.orGo}`;
    case "if-efi":
      return `iseq \${platform} efi && goto ${command.go} ||`;
    case "sanboot-disk":
      return `sanboot --no-describe --drive 0x${command.drive.toString(16)} || goto ${command.orGo}`;
    case "sanboot":
      return `sanboot --no-describe --drive 0x${command.drive.toString(16)} ${ipxeText(command.url)} || goto ${command.orGo}`;
    case "sanhook":
      return `sanhook --drive 0x${command.drive.toString(16)} ${ipxeText(command.url)} || goto ${command.orGo}`;
    case "sanunhook":
      return `sanunhook --drive 0x${command.drive.toString(16)} ||`;
    case "sanboot-described":
      return `sanboot --drive 0x${command.drive.toString(16)} ${ipxeText(command.url)} || goto ${command.orGo}`;
    case "set":
      return `set ${command.setting} ${ipxeText(command.value)}`;
    case "clear":
      return `clear ${command.setting} ||`;
    case "wait":
      return `sleep ${command.seconds}`;
    case "go":
      return `goto ${command.label}`;
    case "reboot":
      return "reboot";
    case "exit":
      return `exit ${command.status}`;
    default:
      return assertNever(command);
  }
}

/** The script's text, with the line that makes it one. */
export function renderIpxeScript(commands: readonly IpxeCommand[]): string {
  return `${["#!ipxe", ...commands.map(line)].join("\n")}\n`;
}
