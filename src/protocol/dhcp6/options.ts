import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { MalformedFault } from "../../core/fault.ts";
import {
  domainNameList,
  duid,
  iaAddress,
  identityAssociation,
  ipv6,
  ipv6List,
  linkLayerAddress,
  opaqueList,
  status,
  temporaryAssociation,
  text,
  uint16List,
  vendorClass,
} from "./option-values.ts";
import { flag, rawBytes, uint16, uint32, uint8, type ValueCodec, type ValueOf } from "../value-codec.ts";
import type { RawOption } from "./raw-options.ts";

interface OptionRow {
  readonly code: number;
  readonly value: ValueCodec<unknown>;
  readonly source: string;
}

/** The DHCPv6 options that are spoken here, by name: the documentation, the types and the codec in one table. */
export const dhcp6Options = {
  clientIdentifier: { code: 1, value: duid, source: "RFC 8415 §21.2" },
  serverIdentifier: { code: 2, value: duid, source: "RFC 8415 §21.3" },
  nonTemporaryAddresses: { code: 3, value: identityAssociation, source: "RFC 8415 §21.4" },
  temporaryAddresses: { code: 4, value: temporaryAssociation, source: "RFC 8415 §21.5" },
  address: { code: 5, value: iaAddress, source: "RFC 8415 §21.6" },
  optionRequest: { code: 6, value: uint16List, source: "RFC 8415 §21.7" },
  preference: { code: 7, value: uint8, source: "RFC 8415 §21.8" },
  elapsedTime: { code: 8, value: uint16, source: "RFC 8415 §21.9" },
  relayMessage: { code: 9, value: rawBytes, source: "RFC 8415 §21.10" },
  serverUnicast: { code: 12, value: ipv6, source: "RFC 8415 §21.12" },
  statusCode: { code: 13, value: status, source: "RFC 8415 §21.13" },
  rapidCommit: { code: 14, value: flag, source: "RFC 8415 §21.14" },
  userClass: { code: 15, value: opaqueList, source: "RFC 8415 §21.15" },
  vendorClass: { code: 16, value: vendorClass, source: "RFC 8415 §21.16" },
  interfaceId: { code: 18, value: rawBytes, source: "RFC 8415 §21.18" },
  nameServers: { code: 23, value: ipv6List, source: "RFC 3646 §3" },
  domainSearch: { code: 24, value: domainNameList, source: "RFC 3646 §4" },
  delegatedPrefixes: { code: 25, value: identityAssociation, source: "RFC 8415 §21.21" },
  bootFileUrl: { code: 59, value: text, source: "RFC 5970 §3.1" },
  bootFileParameters: { code: 60, value: opaqueList, source: "RFC 5970 §3.2" },
  clientArchitecture: { code: 61, value: uint16List, source: "RFC 5970 §3.3" },
  clientLinkLayerAddress: { code: 79, value: linkLayerAddress, source: "RFC 6939 §4" },
  solicitMaximumRetransmission: { code: 82, value: uint32, source: "RFC 8415 §21.24" },
  relaySourcePort: { code: 135, value: uint16, source: "RFC 8357 §5.2" },
} as const satisfies Record<string, OptionRow>;

export type OptionName = keyof typeof dhcp6Options;
type OptionValueOf<N extends OptionName> = ValueOf<(typeof dhcp6Options)[N]["value"]>;

/** @source RFC 8415 §21.13 and §18.3 */
export const statusCodes = {
  success: 0,
  unspecFail: 1,
  noAddrsAvail: 2,
  noBinding: 3,
  notOnLink: 4,
  useMulticast: 5,
  noPrefixAvail: 6,
} as const;

export type StatusName = keyof typeof statusCodes;

/** Every value of this option, in order. @throws MalformedFault when one is not of its form */
export function readOptions<N extends OptionName>(options: readonly RawOption[], name: N): readonly OptionValueOf<N>[] {
  const row = dhcp6Options[name];
  return options
    .filter(({ code }) => code === row.code)
    .map(({ bytes }) => {
      const field = `option ${row.code}`;
      const reader = new ByteReader(bytes);
      const value = row.value.decode(reader, field);
      reader.expectEnd(field);
      return value as OptionValueOf<N>;
    });
}

/** The value of an option that may come once. @throws MalformedFault when it comes twice (RFC 8415 §21.1) */
export function readOption<N extends OptionName>(options: readonly RawOption[], name: N): OptionValueOf<N> | undefined {
  const [value, second] = readOptions(options, name);
  if (second !== undefined) {
    const field = `option ${dhcp6Options[name].code}`;
    throw new MalformedFault(field, 0, 1, 2, `${field}: comes more than once`);
  }
  return value;
}

export function option<N extends OptionName>(name: N, value: OptionValueOf<N>): RawOption {
  const row: OptionRow = dhcp6Options[name];
  const writer = new ByteWriter(64);
  row.value.encode(value, writer);
  return { code: row.code, bytes: writer.toBytes() };
}
