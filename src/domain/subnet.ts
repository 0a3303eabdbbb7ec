import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber, type MacAddress } from "../core/brand.ts";
import { invalid } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import type { AddressPool } from "./address-pool.ts";

/** Who gets the reserved address. Client identifiers and circuit ids are lower-case hex. */
export type ReservationKey =
  | { readonly kind: "mac"; readonly mac: MacAddress }
  | { readonly kind: "client-id"; readonly hex: string }
  | { readonly kind: "circuit-id"; readonly hex: string };

export interface Reservation {
  readonly key: ReservationKey;
  readonly address: Ipv4Address;
  readonly hostname: string | null;
}

export interface AddressRange {
  readonly first: Ipv4Address;
  /** Included. */
  readonly last: Ipv4Address;
}

/** One IP subnet that addresses are given out of. */
export interface Subnet {
  readonly network: Ipv4Address;
  readonly prefixLength: number;
  /** The interface of ours that stands in it; null: only relays reach it. */
  readonly interface: string | null;
  readonly pools: readonly AddressRange[];
  readonly reservations: readonly Reservation[];
  /** Addresses that are never given out: our own, routers. */
  readonly excluded: readonly Ipv4Address[];
  readonly leaseTime: Millis;
  /** What a client may ask for at most. */
  readonly maximumLeaseTime: Millis;
}

/** A subnet with its numbers computed once. */
export interface PreparedSubnet {
  readonly subnet: Subnet;
  readonly mask: number;
  readonly network: number;
  readonly broadcast: number;
  /** The pools together, without what is excluded or reserved. */
  readonly pool: AddressPool<Ipv4Address>;
  readonly reservedFor: ReadonlyMap<string, Reservation>;
  readonly reservedAddresses: ReadonlyMap<Ipv4Address, Reservation>;
}

/** AddressRange in numbers. */
interface NumberRange {
  readonly first: number;
  readonly size: number;
}

export function reservationKey(key: ReservationKey): string {
  return key.kind === "mac" ? `mac ${key.mac}` : `${key.kind} ${key.hex}`;
}

/** @throws Fault invalid when a pool or reservation lies outside, or two reservations collide */
export function prepareSubnet(subnet: Subnet): PreparedSubnet {
  const mask = subnet.prefixLength === 0 ? 0 : (0xffffffff << (32 - subnet.prefixLength)) >>> 0;
  const network = (ipv4ToNumber(subnet.network) & mask) >>> 0;
  const broadcast = (network | ~mask) >>> 0;
  const inside = (address: number): boolean => (address & mask) >>> 0 === network;
  const pools = subnet.pools.map((pool): NumberRange => {
    const first = ipv4ToNumber(pool.first);
    const last = ipv4ToNumber(pool.last);
    if (!inside(first) || !inside(last) || first > last) {
      throw invalid("pool", `${pool.first} - ${pool.last} is not a range of ${subnet.network}/${subnet.prefixLength}`);
    }
    return { first, size: last - first + 1 };
  });
  const reservedFor = new Map<string, Reservation>();
  const reservedAddresses = new Map<Ipv4Address, Reservation>();
  for (const reservation of subnet.reservations) {
    const key = reservationKey(reservation.key);
    if (!inside(ipv4ToNumber(reservation.address))) {
      throw invalid("reservation", `${reservation.address} is not in ${subnet.network}/${subnet.prefixLength}`);
    }
    if (reservedFor.has(key)) throw invalid("reservation", `${key} has two reservations`);
    if (reservedAddresses.has(reservation.address))
      throw invalid("reservation", `${reservation.address} is reserved twice`);
    reservedFor.set(key, reservation);
    reservedAddresses.set(reservation.address, reservation);
  }
  const never = new Set([network, broadcast, ...[...subnet.excluded, ...reservedAddresses.keys()].map(ipv4ToNumber)]);
  const pool: AddressPool<Ipv4Address> = {
    size: pools.reduce((sum, { size }) => sum + size, 0),
    network,
    at: (index) => {
      const number = numberAt(pools, index);
      return number === null || never.has(number) ? null : ipv4FromNumber(number);
    },
    has: (address) => {
      const number = ipv4ToNumber(address);
      return !never.has(number) && pools.some(({ first, size }) => number >= first && number < first + size);
    },
  };
  return {
    subnet,
    mask,
    network,
    broadcast,
    pool,
    reservedFor,
    reservedAddresses,
  };
}

export function subnetContains(prepared: PreparedSubnet, address: Ipv4Address): boolean {
  return (ipv4ToNumber(address) & prepared.mask) >>> 0 === prepared.network;
}

function numberAt(pools: readonly NumberRange[], index: number): number | null {
  let left = index;
  for (const { first, size } of pools) {
    if (left < size) return first + left;
    left -= size;
  }
  return null;
}

export function subnetMask(prepared: PreparedSubnet): Ipv4Address {
  return ipv4FromNumber(prepared.mask);
}

export function broadcastAddress(prepared: PreparedSubnet): Ipv4Address {
  return ipv4FromNumber(prepared.broadcast);
}

/** What a message says about the link its client stands on; null: it does not say. */
export interface LinkHints {
  readonly interface: string;
  /** Sub-option 5 of option 82 (RFC 3527). */
  readonly linkSelection: Ipv4Address | null;
  /** Option 118 (RFC 3011). */
  readonly subnetSelection: Ipv4Address | null;
  readonly giaddr: Ipv4Address | null;
  readonly ciaddr: Ipv4Address | null;
}

/**
 * The subnet of the client: what a relay says before what the client says before the interface. An address in `ciaddr`
 * counts only for a subnet that no interface of ours stands in: a client that brings an address of another of our links
 * has moved, and must hear so.
 * @source RFC 2131 §4.3.1; RFC 3527 §3; RFC 3011 §3
 */
export function selectSubnet(subnets: readonly PreparedSubnet[], hints: LinkHints): PreparedSubnet | undefined {
  const relayed = hints.linkSelection ?? hints.subnetSelection ?? hints.giaddr;
  if (relayed !== null) return subnets.find((prepared) => subnetContains(prepared, relayed));
  const { ciaddr } = hints;
  const distant =
    ciaddr === null ? undefined : subnets.find((one) => one.subnet.interface === null && subnetContains(one, ciaddr));
  return distant ?? subnets.find((prepared) => prepared.subnet.interface === hints.interface);
}
