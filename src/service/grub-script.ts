import { assertNever } from "../core/fault.ts";
import { type BootServices, urlHost } from "../domain/boot-plan.ts";
import type { BootScript } from "../domain/boot-script.ts";
import { type GrubCommand, grubPath, renderGrubConfig } from "../protocol/grub/config.ts";
import { tftpName } from "./tftp-name.ts";

/** The boot plan's script in GRUB's words. Debian's signed GRUB has no HTTP: what is ours it loads by TFTP. */
export function grubScriptText(script: BootScript, note: string, services: BootServices): string {
  return renderGrubConfig([
    { kind: "comment", text: `ironrack: ${note}` },
    { kind: "echo", text: `ironrack: ${note}` },
    ...commands(script, services),
  ]);
}

/** What the URL names, in GRUB's form. */
export function grubFile(url: string, services: BootServices): string {
  return grubPath(byTftp(url, services));
}

function byTftp(url: string, services: BootServices): string {
  const name = tftpName(url, services);
  return name === null ? url : `tftp://${urlHost(services)}/${name}`;
}

function commands(script: BootScript, services: BootServices): readonly GrubCommand[] {
  switch (script.kind) {
    case "local-disk":
      return [{ kind: "chain-from-disk" }, { kind: "exit" }];
    case "linux":
      return [
        { kind: "linux", url: byTftp(script.kernel, services), arguments: script.arguments },
        ...(script.initrd === null ? [] : [{ kind: "initrd", url: byTftp(script.initrd, services) } as const]),
        { kind: "boot" },
      ];
    case "iso":
    case "volumes":
    case "memory-test":
      return [{ kind: "echo", text: "ironrack: this needs iPXE" }, { kind: "exit" }];
    default:
      return assertNever(script);
  }
}
