import { createHash } from "node:crypto";
import { type MacAddress, parseMacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { systemFirmware } from "../domain/boot-firmware.ts";
import type { BootScript, BootServices } from "../domain/boot-plan.ts";
import { type GrubCommand, renderGrubConfig } from "../protocol/grub/config.ts";
import { rootedName } from "../protocol/tftp/file-name.ts";
import { memoryFile, openBootFile } from "./boot-files.ts";
import { type BootDirectory, type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import type { TftpSource } from "./tftp-service.ts";

/** The configuration of one machine. @source GRUB 2.06 grub_net_search_config_file */
const CONFIG_NAME = /^grub\/grub\.cfg-01-((?:[0-9a-f]{2}[-:]){5}[0-9a-f]{2})$/;
/** Debian's signed network image looks for no other name, and is led from here to its own. */
const ENTRY_NAME = "grub/grub.cfg";
const ENTRY = "configfile $prefix/grub.cfg-01-$net_default_mac\n";

/**
 * GRUB's configuration of each machine, made when it is asked for from the same plan as everything else; and the ramdisk,
 * as Debian's signed GRUB has no HTTP and under Secure Boot loads no module.
 */
export function grubSource(parts: {
  readonly store: BootDirectory;
  readonly boot: BootSettings;
  readonly clock: Clock;
  readonly ramdisk: { readonly kernel: string; readonly initrd: string };
}): TftpSource {
  return async ({ file, server }) => {
    const name = rootedName(file) ?? "";
    if (name === "ramdisk/kernel") return await openBootFile(parts.ramdisk.kernel);
    if (name === "ramdisk/initrd") return await openBootFile(parts.ramdisk.initrd);
    const mac = CONFIG_NAME.exec(name)?.[1];
    if (mac === undefined && name !== ENTRY_NAME) return null;
    const services = servicesAt(parts.boot, server);
    const text = mac === undefined ? ENTRY : configOf(parseMacAddress(mac), parts.store, services, parts.boot);
    const bytes = Buffer.from(text);
    return memoryFile(bytes, createHash("sha256").update(bytes).digest("base64url"), parts.clock.wall());
  };
}

function configOf(mac: MacAddress, store: BootDirectory, services: BootServices, boot: BootSettings): string {
  const known = findMachine(store, mac);
  const plan = planFor(known, boot, { mac, firmware: systemFirmware, services });
  const note = `ironrack: ${known.node?.name ?? known.node?.uuid ?? mac}: ${plan.reason}`;
  return renderGrubConfig([
    { kind: "comment", text: note },
    { kind: "echo", text: note },
    ...commands(plan.script, services),
  ]);
}

function commands(script: BootScript, services: BootServices): readonly GrubCommand[] {
  const own = `http://${services.address}:${services.httpPort}/`;
  const byTftp = (url: string): string =>
    url.startsWith(own) ? `tftp://${services.address}/${url.slice(own.length)}` : url;
  if (script.kind === "local-disk") {
    return [{ kind: "chain-from-disk", file: "/EFI/BOOT/BOOTX64.EFI" }, { kind: "exit" }];
  }
  return [
    { kind: "linux", url: byTftp(script.kernel), arguments: script.arguments },
    { kind: "initrd", url: byTftp(script.initrd) },
    { kind: "boot" },
  ];
}
