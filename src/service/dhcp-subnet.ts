import type { Ipv4Address } from "../core/brand.ts";
import { FreeAddresses } from "../domain/free-addresses.ts";
import { broadcastAddress, prepareSubnet, type Subnet, subnetMask } from "../domain/subnet.ts";
import { UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import {
  dhcpOptions,
  encodeOption,
  encodeOptions,
  type OptionBytes,
  type OptionValues,
} from "../protocol/dhcp4/options.ts";
import type { Exchange, ServedSubnet } from "./dhcp-exchange.ts";

export interface DhcpSubnet {
  readonly subnet: Subnet;
  /** Router, name servers and the like, by name. Mask and broadcast address come from the subnet. */
  readonly options: OptionValues;
  /** Options without a name here, by code. */
  readonly otherOptions?: OptionBytes;
  /** Of reserved addresses, before those of the subnet. */
  readonly reservedOptions?: ReadonlyMap<Ipv4Address, OptionBytes>;
}

const noOptions: OptionBytes = new Map();

/** The subnet with the bytes of its options. @throws Fault invalid when it contradicts itself */
export function serveSubnet({ subnet, options, otherOptions, reservedOptions }: DhcpSubnet): ServedSubnet {
  const prepared = prepareSubnet(subnet);
  const bytes = new Map<number, Uint8Array>();
  bytes.set(dhcpOptions.subnetMask.code, encodeOption("subnetMask", subnetMask(prepared)));
  bytes.set(dhcpOptions.broadcastAddress.code, encodeOption("broadcastAddress", broadcastAddress(prepared)));
  for (const [code, value] of encodeOptions(options)) bytes.set(code, value);
  for (const [code, value] of otherOptions ?? []) bytes.set(code, value);
  const reserved = [...(reservedOptions ?? [])].filter(([, own]) => own.size > 0);
  return {
    prepared,
    free: new FreeAddresses(prepared.pool.size),
    options: bytes,
    reservedOptions: new Map(reserved.map(([address, own]) => [address, new Map([...bytes, ...own])])),
  };
}

/** What the client is told that gets `yiaddr`; who asks by INFORM has its address already. */
export function optionsFor({ subnet, client }: Pick<Exchange, "subnet" | "client">, yiaddr: Ipv4Address): OptionBytes {
  if (subnet === undefined) return noOptions;
  const address = yiaddr === UNSPECIFIED ? client.ciaddr : yiaddr;
  return (address === null ? undefined : subnet.reservedOptions.get(address)) ?? subnet.options;
}
