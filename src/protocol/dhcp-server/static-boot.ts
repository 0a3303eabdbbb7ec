import type { Ipv4Address } from "../../core/brand.ts";
import { type ClientArchitecture, clientArchitectures } from "../dhcp4/client-architecture.ts";

/** What one kind of firmware loads first. */
export interface FirstFile {
  /** A word for tags and classes: letters, digits, hyphens. */
  readonly name: string;
  /** Values of option 93. */
  readonly architectures: readonly number[];
  readonly by: "tftp" | "http";
  /** A name for TFTP, or a URL. */
  readonly file: string;
}

/**
 * What a DHCP server that knows no nodes tells firmware: the same for every machine. Which machine boots what is decided
 * by the script that iPXE then asks for.
 */
export interface StaticBoot {
  readonly tftpServer: Ipv4Address;
  /** For an iPXE that can load by HTTP (feature 19 in option 175; dnsmasq sees no more than that it is iPXE). */
  readonly script: string;
  readonly files: readonly FirstFile[];
}

/** The values of option 93 that firmware of this kind sends. */
export function architecturesOf(
  platform: ClientArchitecture["platform"],
  processor: ClientArchitecture["processor"],
  by: FirstFile["by"],
): readonly number[] {
  return [...clientArchitectures].flatMap(([number, row]) =>
    row.platform === platform && row.processor === processor && row.by === by ? [number] : [],
  );
}

/** What UEFI HTTP boot wants to hear in option 60, or it passes over the answer. @source UEFI 2.10 §24.7.3.1 */
export const HTTP_CLIENT = "HTTPClient";
