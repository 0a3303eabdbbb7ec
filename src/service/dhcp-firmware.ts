import { type Firmware, systemFirmware } from "../domain/boot-firmware.ts";
import { clientArchitectures } from "../protocol/dhcp4/client-architecture.ts";
import { ipxeAnnounces } from "../protocol/dhcp4/ipxe-options.ts";
import type { SubOptions } from "../protocol/dhcp4/option-values.ts";

export interface FirmwareSigns {
  /** Option 60. */
  readonly vendorClass: string | undefined;
  /** Option 77, as it stands on the wire. */
  readonly userClass: Uint8Array | undefined;
  /** Option 93. */
  readonly architectures: readonly number[] | undefined;
  /** Option 175. */
  readonly ipxe: SubOptions | undefined;
}

/**
 * Which firmware speaks. iPXE is known by its options (175) or its user class, also where it poses as a PXE client, which
 * it does from ROM; without the HTTP feature it is chained to a loader of ours like plain PXE.
 * @source RFC 4578 §2.1; PXE 2.1 §2.2.3; UEFI 2.10 §24.7.3.1; ipxe.org/howto/dhcpd
 */
export function firmwareOf(signs: FirmwareSigns): Firmware {
  if (signs.vendorClass === undefined && signs.userClass === undefined && signs.ipxe === undefined) {
    return systemFirmware;
  }
  const vendorClass = signs.vendorClass ?? "";
  const number = signs.architectures?.[0] ?? architectureInClass(vendorClass);
  const ipxe = isIpxe(signs);
  // Old iPXE and gPXE without option 93 are BIOS programs.
  const row = clientArchitectures.get(number ?? 0);
  const described = {
    platform: row?.platform ?? ("other" as const),
    processor: row?.processor ?? null,
    architecture: row?.name ?? `architecture ${number}`,
  };
  if (ipxe) {
    const http = signs.ipxe === undefined || signs.ipxe.size === 0 || ipxeAnnounces(signs.ipxe, "http");
    const https = signs.ipxe !== undefined && ipxeAnnounces(signs.ipxe, "https");
    return { ...described, program: "ipxe", http, https };
  }
  if (vendorClass.startsWith("HTTPClient")) return { ...described, program: "uefi-http", http: true, https: true };
  if (vendorClass.startsWith("PXEClient"))
    return { ...described, program: "pxe", http: row?.by === "http", https: false };
  if (vendorClass.startsWith("U-Boot")) return { ...uBoot(vendorClass, signs.architectures?.[0]), program: "u-boot" };
  return systemFirmware;
}

/** What the log says of it; undefined for an operating system. */
export function firmwareWord(firmware: Firmware): string | undefined {
  return firmware.program === "system" ? undefined : `${firmware.program} ${firmware.architecture}`;
}

/**
 * U-Boot's own command `dhcp`; its EFI boot poses as PXE and is taken for that. Many boards leave out option 93, and x86
 * calls itself a BIOS there, which it is not.
 * @source U-Boot 2023.01 net/bootp.c; net/Kconfig, BOOTP_VCI_STRING and BOOTP_PXE_CLIENTARCH
 */
function uBoot(vendorClass: string, number: number | undefined): Omit<Firmware, "program"> {
  const row = number === undefined ? undefined : clientArchitectures.get(number);
  const processor = row?.processor ?? (vendorClass === "U-Boot.armv8" ? "arm64" : null);
  return { platform: "other", processor, architecture: row?.name ?? vendorClass, http: false, https: false };
}

function isIpxe(signs: FirmwareSigns): boolean {
  if (signs.ipxe !== undefined) return true;
  if (signs.userClass === undefined) return false;
  // iPXE sends its name bare; others would send it as an instance with a length before it (RFC 3004 §4).
  const text = Buffer.from(signs.userClass).toString("latin1");
  return text === "iPXE" || text === "\u0004iPXE";
}

/** "PXEClient:Arch:00007:UNDI:003016" */
function architectureInClass(vendorClass: string): number | undefined {
  const digits = /^(?:PXE|HTTP)Client:Arch:(\d{5})/.exec(vendorClass)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
