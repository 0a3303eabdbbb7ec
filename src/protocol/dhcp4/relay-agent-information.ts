import { type Ipv4Address, ipv4FromNumber } from "../../core/brand.ts";
import { ByteReader } from "../../core/byte-reader.ts";
import type { SubOptions } from "./option-values.ts";

/** Codes within option 82. @source IANA "DHCP Relay Agent Sub-Option Codes" */
export const relaySubOptions = {
  circuitId: { code: 1, source: "RFC 3046 §3.1" },
  remoteId: { code: 2, source: "RFC 3046 §3.2" },
  docsisDeviceClass: { code: 4, source: "RFC 3256" },
  linkSelection: { code: 5, source: "RFC 3527 §3" },
  subscriberId: { code: 6, source: "RFC 3993 §2" },
  radiusAttributes: { code: 7, source: "RFC 4014" },
  authentication: { code: 8, source: "RFC 4030" },
  vendorSpecific: { code: 9, source: "RFC 4243" },
  relayAgentFlags: { code: 10, source: "RFC 5010 §3" },
  serverIdentifierOverride: { code: 11, source: "RFC 5107 §4" },
  relaySourcePort: { code: 19, source: "RFC 8357 §4" },
  virtualSubnetSelection: { code: 151, source: "RFC 6607" },
} as const;

export interface RelayAgentInformation {
  readonly circuitId: Uint8Array | null;
  readonly remoteId: Uint8Array | null;
  readonly linkSelection: Ipv4Address | null;
  /** What the client must take the server's address to be, so that its renewals pass through the relay. */
  readonly serverIdentifierOverride: Ipv4Address | null;
  /** The relay listens on the port it sent from. */
  readonly usesSourcePort: boolean;
}

/** @throws MalformedFault */
export function readRelayAgentInformation(subOptions: SubOptions): RelayAgentInformation {
  return {
    circuitId: subOptions.get(relaySubOptions.circuitId.code) ?? null,
    remoteId: subOptions.get(relaySubOptions.remoteId.code) ?? null,
    linkSelection: addressOf(subOptions, "linkSelection"),
    serverIdentifierOverride: addressOf(subOptions, "serverIdentifierOverride"),
    usesSourcePort: subOptions.has(relaySubOptions.relaySourcePort.code),
  };
}

function addressOf(subOptions: SubOptions, name: "linkSelection" | "serverIdentifierOverride"): Ipv4Address | null {
  const value = subOptions.get(relaySubOptions[name].code);
  if (value === undefined) return null;
  const reader = new ByteReader(value);
  const address = ipv4FromNumber(reader.u32(name));
  reader.expectEnd(name);
  return address;
}
