import { type MacAddress, macAddressFromBytes } from "../../core/brand.ts";
import { type Ipv6Address, ipv6ToBytes, isLinkLocal } from "../../core/ipv6-address.ts";
import type { LinkLayerAddress } from "./option-values.ts";

const ETHERNET = 1;

/** What a message tells about its client's network card; null where it does not tell. */
export interface HardwareSigns {
  /** Option 79 of the relay beside the client. */
  readonly relayed: LinkLayerAddress | undefined;
  /** The client's own address: the datagram's source, or what the relay beside it says. */
  readonly peer: Ipv6Address;
  readonly duid: Uint8Array | undefined;
}

/**
 * The MAC address of the card that the message left, from the surest sign to the weakest: what the relay saw (RFC 6939);
 * the interface identifier of a link-local address, where it was made of the MAC (RFC 4291 appendix A), as firmware and
 * iPXE make it; the DUID (RFC 8415 §11.2, §11.4), which is of the machine and may name another card of it.
 */
export function hardwareAddressOf({ relayed, peer, duid }: HardwareSigns): MacAddress | null {
  if (relayed !== undefined) return ethernet(relayed.hardwareType, relayed.address);
  return fromInterfaceIdentifier(peer) ?? fromDuid(duid);
}

function ethernet(hardwareType: number, address: Uint8Array): MacAddress | null {
  return hardwareType === ETHERNET && address.length === 6 ? macAddressFromBytes(address) : null;
}

function fromInterfaceIdentifier(address: Ipv6Address): MacAddress | null {
  if (!isLinkLocal(address)) return null;
  const [a = 0, b = 0, c = 0, middle, mark, d = 0, e = 0, f = 0] = ipv6ToBytes(address).subarray(8);
  if (middle !== 0xff || mark !== 0xfe) return null;
  return macAddressFromBytes(Uint8Array.of(a ^ 2, b, c, d, e, f));
}

const LINK_LAYER_AND_TIME = 1;
const LINK_LAYER = 3;

function fromDuid(duid: Uint8Array | undefined): MacAddress | null {
  if (duid === undefined || duid.length < 4) return null;
  const [typeHigh = 0, typeLow = 0, hardwareHigh = 0, hardwareLow = 0] = duid;
  const type = typeHigh * 256 + typeLow;
  const hardwareType = hardwareHigh * 256 + hardwareLow;
  if (type === LINK_LAYER_AND_TIME) return ethernet(hardwareType, duid.subarray(8));
  return type === LINK_LAYER ? ethernet(hardwareType, duid.subarray(4)) : null;
}
