import type { MacAddress } from "../core/brand.ts";
import { invalid } from "../core/fault.ts";
import { type Ipv6Address, ipv6FromNumber, ipv6ToNumber } from "../core/ipv6-address.ts";
import type { Millis } from "../core/units.ts";
import type { AddressPool } from "./address-pool.ts";

/** Who gets the reserved address; the DUID in lower-case hex. */
export type Reservation6Key =
  | { readonly kind: "mac"; readonly mac: MacAddress }
  | { readonly kind: "duid"; readonly hex: string };

/** One link and the addresses that are given out on it. */
export interface Subnet6 {
  readonly prefix: Ipv6Address;
  readonly prefixLength: number;
  /** The interface of ours that stands in it; null: only relays reach it. */
  readonly interface: string | null;
  /** The last address included; null: reservations only. At most LARGEST_POOL addresses. */
  readonly pool: { readonly first: Ipv6Address; readonly last: Ipv6Address } | null;
  readonly reservations: readonly { readonly key: Reservation6Key; readonly address: Ipv6Address }[];
  /** Addresses that are never given out: our own. */
  readonly excluded: readonly Ipv6Address[];
  readonly preferredLifetime: Millis;
  readonly validLifetime: Millis;
}

/** A subnet with what is the same for all its clients. */
export interface PreparedSubnet6 {
  readonly subnet: Subnet6;
  /** Without what is excluded or reserved. */
  readonly pool: AddressPool<Ipv6Address>;
  readonly reservedFor: ReadonlyMap<string, Ipv6Address>;
}

/** Each address of a pool can become a record on disk. */
export const LARGEST_POOL = 16_384;

/** Prefixes have no number that is short enough: the offers of all stand in one row. */
const ONE_ROW = 0;

export function reservation6Key(key: Reservation6Key): string {
  return key.kind === "mac" ? `mac ${key.mac}` : `duid ${key.hex}`;
}

/** @throws Fault invalid when the pool or a reservation lies outside, or two reservations collide */
export function prepareSubnet6(subnet: Subnet6): PreparedSubnet6 {
  const { pool, prefix, prefixLength } = subnet;
  const poolFirst = pool === null ? 0n : ipv6ToNumber(pool.first);
  const poolSize = pool === null ? 0n : ipv6ToNumber(pool.last) - poolFirst + 1n;
  if (pool !== null) {
    const inside = isIn(subnet, pool.first) && isIn(subnet, pool.last);
    if (!inside || poolSize < 1n || poolSize > BigInt(LARGEST_POOL))
      throw invalid("pool", `${pool.first} - ${pool.last} is not a range of ${prefix}/${prefixLength}, or too large`);
  }
  const reservedFor = new Map<string, Ipv6Address>();
  const reservedAddresses = new Set<Ipv6Address>();
  for (const { key, address } of subnet.reservations) {
    const name = reservation6Key(key);
    if (!isIn(subnet, address)) throw invalid("reservation", `${address} is not in ${prefix}/${prefixLength}`);
    if (reservedFor.has(name)) throw invalid("reservation", `${name} has two reservations`);
    if (reservedAddresses.has(address)) throw invalid("reservation", `${address} is reserved twice`);
    reservedFor.set(name, address);
    reservedAddresses.add(address);
  }
  // All zeroes behind the prefix is the routers' anycast address (RFC 4291 §2.6.1).
  const never = new Set([ipv6FromNumber(firstOf(subnet)), ...subnet.excluded, ...reservedAddresses]);
  const addresses = Array.from({ length: Number(poolSize) }, (_, at) => ipv6FromNumber(poolFirst + BigInt(at))).filter(
    (address) => !never.has(address),
  );
  const known = new Set(addresses);
  return {
    subnet,
    pool: {
      size: addresses.length,
      network: ONE_ROW,
      at: (index) => addresses[index] ?? null,
      has: (address) => known.has(address),
    },
    reservedFor,
  };
}

function firstOf({ prefix, prefixLength }: Subnet6): bigint {
  const host = BigInt(128 - prefixLength);
  return (ipv6ToNumber(prefix) >> host) << host;
}

function isIn(subnet: Subnet6, address: Ipv6Address): boolean {
  const host = BigInt(128 - subnet.prefixLength);
  return ipv6ToNumber(address) >> host === ipv6ToNumber(subnet.prefix) >> host;
}

export function subnet6Contains({ subnet }: PreparedSubnet6, address: Ipv6Address): boolean {
  return isIn(subnet, address);
}

/** The client's link: where the relay beside it stands, or else the interface that heard it. @source RFC 8415 §13.1 */
export function selectSubnet6(
  subnets: readonly PreparedSubnet6[],
  hints: { readonly interface: string; readonly linkAddress: Ipv6Address | null },
): PreparedSubnet6 | undefined {
  const { linkAddress } = hints;
  return linkAddress === null
    ? subnets.find((one) => one.subnet.interface === hints.interface)
    : subnets.find((one) => subnet6Contains(one, linkAddress));
}
