import { assertNever } from "../core/fault.ts";
import type { BootServices } from "../domain/boot-plan.ts";
import type { BootScript } from "../domain/boot-script.ts";
import { type PxelinuxCommand, renderPxelinuxConfig } from "../protocol/pxelinux/config.ts";
import { tftpName } from "./tftp-name.ts";

/** What PXELINUX cannot do itself, iPXE does, which it can start: by DHCP that comes to the machine's script. */
const IPXE = "undionly.kpxe";

/** The boot plan's script in PXELINUX's words; its own words go where the kernel's console is. */
export function pxelinuxScriptText(script: BootScript, note: string, services: BootServices): string {
  return renderPxelinuxConfig(
    [
      { kind: "comment", text: `ironrack: ${note}` },
      { kind: "say", text: `ironrack: ${note}` },
      command(script, services),
    ],
    script.kind === "linux" || script.kind === "memory-test" ? serialConsole(script.arguments) : null,
  );
}

function command(script: BootScript, services: BootServices): PxelinuxCommand {
  const byTftp = (url: string): string => tftpName(url, services) ?? url;
  switch (script.kind) {
    case "local-disk":
      return { kind: "next-device" };
    case "linux":
      return {
        kind: "linux",
        file: byTftp(script.kernel),
        initrd: script.initrd === null ? null : byTftp(script.initrd),
        arguments: script.arguments,
      };
    case "memory-test":
      return { kind: "linux", file: byTftp(script.bios), initrd: null, arguments: script.arguments };
    case "iso":
    case "volumes":
      return { kind: "pxe", file: IPXE };
    default:
      return assertNever(script);
  }
}

/** `console=ttyS0,115200n8` */
function serialConsole(kernelArguments: readonly string[]): { readonly port: number; readonly baud: number } | null {
  const found = kernelArguments.map((argument) => /^console=ttyS([0-3])(?:,(\d+))?/.exec(argument)).find(Boolean);
  return found == null ? null : { port: Number(found[1]), baud: Number(found[2] ?? 9600) };
}
