import { createHash } from "node:crypto";
import { type MacAddress, parseMacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { systemFirmware } from "../domain/boot-firmware.ts";
import type { BootServices } from "../domain/boot-plan.ts";
import { rootedName } from "../protocol/tftp/file-name.ts";
import { memoryFile } from "./boot-file.ts";
import type { BootFiles } from "./boot-files.ts";
import { type BootDirectory, type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import type { TemplateFormat } from "../domain/boot-template.ts";
import { bootText } from "./boot-text.ts";
import { type RamdiskFiles, ramdiskPath } from "./ramdisk-files.ts";
import type { TftpSource } from "./tftp-service.ts";

/** How each loader names the configuration of one machine, and what is in it. */
const LOADERS: readonly {
  readonly name: RegExp;
  readonly format: TemplateFormat;
}[] = [
  {
    // @source GRUB 2.06 grub_net_search_config_file
    name: /^grub\/grub\.cfg-01-((?:[0-9a-f]{2}[-:]){5}[0-9a-f]{2})$/,
    format: "grub",
  },
  {
    // Below the directory that PXELINUX itself came from. @source SYSLINUX wiki, "PXELINUX", Configuration
    name: /^(?:[^/]+\/)*pxelinux\.cfg\/01-((?:[0-9a-f]{2}-){5}[0-9a-f]{2})$/,
    format: "pxelinux",
  },
];

/** Debian's signed network image looks for no other name, and is led from here to its own. */
const GRUB_ENTRY_NAME = "grub/grub.cfg";
const GRUB_ENTRY = "configfile $prefix/grub.cfg-01-$net_default_mac\n";

/**
 * The configuration of GRUB and PXELINUX for each machine, made when it is asked for from the same plan as everything else;
 * and the ramdisk, for those of them that have no HTTP.
 */
export function loaderConfigSource(parts: {
  readonly store: BootDirectory;
  readonly boot: BootSettings;
  readonly clock: Clock;
  readonly files: BootFiles;
  readonly ramdisk: RamdiskFiles;
}): TftpSource {
  return async ({ file, server }) => {
    const name = rootedName(file) ?? "";
    const ramdiskFile = ramdiskPath(parts.ramdisk, name);
    if (ramdiskFile !== undefined) return await parts.files.openPath(ramdiskFile);
    const text = name === GRUB_ENTRY_NAME ? GRUB_ENTRY : configText(name, parts, servicesAt(parts.boot, server));
    if (text === null) return null;
    const bytes = Buffer.from(text);
    return memoryFile(bytes, createHash("sha256").update(bytes).digest("base64url"), parts.clock.wall());
  };
}

function configText(
  name: string,
  { store, boot }: { readonly store: BootDirectory; readonly boot: BootSettings },
  services: BootServices,
): string | null {
  for (const loader of LOADERS) {
    const mac = loader.name.exec(name)?.[1];
    if (mac !== undefined) return configOf(parseMacAddress(mac), loader.format, store, services, boot);
  }
  return null;
}

function configOf(
  mac: MacAddress,
  format: TemplateFormat,
  store: BootDirectory,
  services: BootServices,
  boot: BootSettings,
): string {
  const known = findMachine(store, mac);
  const plan = planFor(known, boot, { mac, firmware: systemFirmware, services });
  return bootText(format, { mac, known, plan, services }, boot.templates);
}
