import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import type { FreeAddresses } from "./free-addresses.ts";
import type { Lease } from "./lease.ts";
import type { Offer, OfferReader } from "./offer-table.ts";
import { hashOf } from "./pool-hash.ts";
import type { LeaseReader } from "./store.ts";
import {
  type PreparedSubnet,
  poolAddress,
  poolContains,
  reservationKey,
  type Reservation,
  type ReservationKey,
  subnetContains,
} from "./subnet.ts";

/** What a client asks, as far as its address goes. null: the message does not say. */
export interface AddressQuery {
  readonly kind: "discover" | "request" | "decline" | "release" | "inform" | "bootp";
  /** As in a lease: `id:` or `mac:` and what follows. */
  readonly client: string;
  readonly mac: MacAddress | null;
  /** What a reservation may be made for, the first match wins. */
  readonly keys: readonly ReservationKey[];
  readonly hostname: string | null;
  /** Option 50. */
  readonly requested: Ipv4Address | null;
  readonly ciaddr: Ipv4Address | null;
  /** Option 54: whose offer the client takes, or whom it returns its address to. */
  readonly server: Ipv4Address | null;
  /** Option 51. */
  readonly leaseTime: Millis | null;
  /** Option 80: the client takes an ACK for its DISCOVER. */
  readonly rapidCommit: boolean;
}

export interface AddressView {
  readonly subnet: PreparedSubnet | undefined;
  /** Of the subnet's pools. */
  readonly free: FreeAddresses;
  readonly leases: LeaseReader;
  readonly offers: OfferReader;
  /** Monotonic, for offers. */
  readonly now: Millis;
  /** UTC milliseconds, for leases. */
  readonly wall: number;
  /** The names of ours that a client may know us by. */
  readonly servers: readonly Ipv4Address[];
  /** Nobody else gives out addresses here: what we do not know is refused or taken over instead of left alone. */
  readonly authoritative: boolean;
  readonly rapidCommit: boolean;
  /** How long an address is left alone that a client found in use. */
  readonly quarantine: Millis;
  /** Whether the machine is one of ours. */
  readonly enrolled: (mac: MacAddress) => boolean;
  /** Addresses that are not to be taken from those who have them: they answered. */
  readonly alive: ReadonlySet<Ipv4Address>;
}

export type AddressDecision =
  | {
      readonly kind: "offer";
      readonly address: Ipv4Address;
      readonly leaseTime: Millis;
      readonly hostname: string | null;
      /** The client has no claim to it from before: others may use it without our knowledge (RFC 2131 §4.3.1). */
      readonly fresh: boolean;
      /** It is leased to a machine that nobody enrolled, which must not answer for it. */
      readonly seized: boolean;
      readonly reason: string;
    }
  | {
      readonly kind: "ack";
      readonly address: Ipv4Address;
      readonly leaseTime: Millis;
      readonly hostname: string | null;
      /** To be on disk before the answer leaves. */
      readonly lease: Lease;
      /** The client's former address, which it thereby gives up. */
      readonly instead: Ipv4Address | null;
      readonly reason: string;
    }
  /** The client has its address from elsewhere and wants the options only. */
  | { readonly kind: "inform"; readonly reason: string }
  | { readonly kind: "nak"; readonly reason: string }
  /** No answer, but `lease` is to be stored. */
  | { readonly kind: "returned"; readonly lease: Lease; readonly reason: string }
  | { readonly kind: "silent"; readonly reason: string };

/** A lease that does not end (RFC 2131 §3.3), as the time that option 51 can carry; BOOTP clients have no other. */
export const INFINITE = 0xffffffff * 1000;

/** What to say to a client about its address. Pure and total; the caller stores and sends. @source RFC 2131 §4.3 */
export function decideAddress(query: AddressQuery, view: AddressView): AddressDecision {
  const { subnet } = view;
  if (subnet === undefined) return silent("no subnet is configured for this link");
  switch (query.kind) {
    case "discover":
      return discover(query, view, subnet);
    case "request":
      return request(query, view, subnet);
    case "decline":
      return decline(query, view, subnet);
    case "release":
      return release(query, view);
    case "inform":
      return { kind: "inform", reason: "asked for options only" };
    case "bootp":
      return bootp(query, view, subnet);
    default:
      return assertNever(query.kind);
  }
}

function silent(reason: string): AddressDecision {
  return { kind: "silent", reason };
}

function discover(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): AddressDecision {
  const found = allocate(query, view, subnet);
  if (found === undefined) return silent("every address of the pool is in use");
  if (query.rapidCommit && view.rapidCommit)
    return acknowledge(query, view, subnet, found.address, `rapid commit, ${found.reason}`);
  return {
    kind: "offer",
    address: found.address,
    leaseTime: leaseTimeFor(query, subnet),
    hostname: reservationOf(query, view, subnet)?.hostname ?? null,
    fresh: found.fresh,
    seized: found.seized ?? false,
    reason: found.reason,
  };
}

/** The four states a client may send REQUEST from. @source RFC 2131 §4.3.2 */
function request(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): AddressDecision {
  if (query.server !== null) {
    if (!view.servers.includes(query.server)) return silent(`the client took the offer of ${query.server}`);
    const address = query.requested ?? query.ciaddr;
    if (address === null) return silent("a REQUEST for an offer must name the address");
    const refusal = refuse(query, view, subnet, address);
    if (refusal !== undefined) return { kind: "nak", reason: refusal };
    return acknowledge(query, view, subnet, address, "took the offer");
  }
  const state = query.ciaddr === null ? "init-reboot" : "renewing or rebinding";
  const address = query.ciaddr ?? query.requested;
  if (address === null) return silent("a REQUEST must name a server, an address or its own");
  if (!subnetContains(subnet, address)) {
    return view.authoritative
      ? { kind: "nak", reason: `${state}: ${address} does not belong to this link` }
      : silent(`${state}: ${address} does not belong to this link, and other servers may know better`);
  }
  const refusal = refuse(query, view, subnet, address);
  const known = leaseHere(query, view, subnet) !== undefined || reservationOf(query, view, subnet) !== undefined;
  if (refusal !== undefined) {
    // An unknown client may be served by another server (RFC 2131 §4.3.2, INIT-REBOOT).
    return known || view.authoritative
      ? { kind: "nak", reason: `${state}: ${refusal}` }
      : silent(`${state}: ${refusal}; not our client`);
  }
  if (!known && !view.authoritative) return silent(`${state}: no lease of this client is known`);
  return acknowledge(query, view, subnet, address, known ? state : `${state}: taken over, the address is free`);
}

function acknowledge(
  query: AddressQuery,
  view: AddressView,
  subnet: PreparedSubnet,
  address: Ipv4Address,
  reason: string,
): AddressDecision {
  const leaseTime = leaseTimeFor(query, subnet);
  const former = view.leases.byClient(query.client);
  return {
    kind: "ack",
    address,
    leaseTime,
    hostname: reservationOf(query, view, subnet)?.hostname ?? null,
    lease: {
      address,
      client: query.client,
      mac: query.mac,
      hostname: query.hostname,
      state: "bound",
      expiresAt: view.wall + leaseTime,
    },
    instead: former !== undefined && former.address !== address && former.state !== "declined" ? former.address : null,
    reason,
  };
}

/** The client found the address in use (RFC 2131 §4.3.3). Only the one who has it may say so. */
function decline(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): AddressDecision {
  const address = query.requested;
  if (address === null) return silent("a DECLINE must name the address");
  if (query.server !== null && !view.servers.includes(query.server))
    return silent(`the DECLINE is for ${query.server}`);
  const holder = view.leases.byAddress(address)?.client ?? view.offers.byAddress(address, view.now)?.client;
  if (holder !== query.client || !subnetContains(subnet, address))
    return silent(`${address} is not this client's to decline`);
  return {
    kind: "returned",
    // Nobody's: else the same client would be offered it again as its own.
    lease: {
      address,
      client: `declined:${address}`,
      mac: query.mac,
      hostname: null,
      state: "declined",
      expiresAt: view.wall + view.quarantine,
    },
    reason: `${address} is in use by another machine and is left alone for ${Math.round(view.quarantine / 1000)} s`,
  };
}

/** @source RFC 2131 §4.3.4 */
function release(query: AddressQuery, view: AddressView): AddressDecision {
  const address = query.ciaddr;
  if (address === null) return silent("a RELEASE must come from the address");
  if (query.server !== null && !view.servers.includes(query.server))
    return silent(`the RELEASE is for ${query.server}`);
  const lease = view.leases.byAddress(address);
  if (lease === undefined || lease.client !== query.client || lease.state !== "bound")
    return silent(`${address} is not leased to this client`);
  return {
    kind: "returned",
    lease: { ...lease, state: "released", expiresAt: Math.min(lease.expiresAt, view.wall) },
    reason: `${address} was given back`,
  };
}

/** BOOTP has no leases: only who has a reservation is answered, and for ever. @source RFC 1534 §2 */
function bootp(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): AddressDecision {
  const reservation = reservationOf(query, view, subnet);
  if (reservation === undefined) return silent("a BOOTP client without a reservation");
  const refusal = refuse(query, view, subnet, reservation.address);
  if (refusal !== undefined) return silent(refusal);
  return {
    kind: "ack",
    address: reservation.address,
    leaseTime: INFINITE as Millis,
    hostname: reservation.hostname,
    lease: {
      address: reservation.address,
      client: query.client,
      mac: query.mac,
      hostname: query.hostname,
      state: "bound",
      expiresAt: view.wall + INFINITE,
    },
    instead: null,
    reason: "BOOTP, reserved",
  };
}

/** Why this client may not have this address, or undefined when it may. */
function refuse(
  query: AddressQuery,
  view: AddressView,
  subnet: PreparedSubnet,
  address: Ipv4Address,
): string | undefined {
  if (!subnetContains(subnet, address)) return `${address} does not belong to this link`;
  const own = reservationOf(query, view, subnet);
  if (own !== undefined && own.address !== address) return `${own.address} is reserved for this client, not ${address}`;
  const reservation = subnet.reservedAddresses.get(address);
  if (reservation !== undefined && reservation !== own) return `${address} is reserved for another client`;
  const lease = view.leases.byAddress(address);
  if (
    lease !== undefined &&
    lease.client !== query.client &&
    isHeld(lease, view.wall) &&
    !isSeized(query, view, lease)
  ) {
    return lease.state === "declined"
      ? `${address} is in use by a machine that is not a client`
      : `${address} is leased to another client`;
  }
  const offer = view.offers.byAddress(address, view.now);
  if (offer !== undefined && offer.client !== query.client) return `${address} is offered to another client`;
  if (own === undefined && !poolContains(subnet, address)) return `${address} is not in a pool`;
  return undefined;
}

function isHeld(lease: Lease, wall: number): boolean {
  return lease.state !== "released" && lease.expiresAt > wall;
}

function leaseHere(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): Lease | undefined {
  const lease = view.leases.byClient(query.client);
  return lease !== undefined && subnetContains(subnet, lease.address) ? lease : undefined;
}

/** While somebody else still holds it, a reservation gives way to the pool rather than leave the machine without address. */
function reservationOf(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): Reservation | undefined {
  for (const key of query.keys) {
    const reservation = subnet.reservedFor.get(reservationKey(key));
    if (reservation === undefined) continue;
    const lease = view.leases.byAddress(reservation.address);
    const held = lease !== undefined && lease.client !== query.client && isHeld(lease, view.wall);
    return held ? undefined : reservation;
  }
  return undefined;
}

const SHORTEST_LEASE = 60_000;

function leaseTimeFor(query: AddressQuery, subnet: PreparedSubnet): Millis {
  const { leaseTime, maximumLeaseTime } = subnet.subnet;
  if (query.leaseTime === null) return leaseTime;
  return Math.min(Math.max(query.leaseTime, SHORTEST_LEASE), maximumLeaseTime) as Millis;
}

interface Allocation {
  readonly address: Ipv4Address;
  readonly fresh: boolean;
  readonly seized?: boolean;
  readonly reason: string;
}

/** The address to offer, in the order of RFC 2131 §4.3.1: the client's own, its former one, the one it asks for, a free one. */
function allocate(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): Allocation | undefined {
  const free = (address: Ipv4Address): boolean => refuse(query, view, subnet, address) === undefined;
  const reservation = reservationOf(query, view, subnet);
  if (reservation !== undefined && free(reservation.address))
    return { address: reservation.address, fresh: false, reason: "reserved" };
  const lease = leaseHere(query, view, subnet);
  if (lease !== undefined && free(lease.address))
    return { address: lease.address, fresh: false, reason: "its present or former address" };
  const offer = view.offers.byClient(query.client, view.now);
  if (offer !== undefined && free(offer.address))
    return { address: offer.address, fresh: false, reason: "as offered before" };
  if (query.requested !== null && free(query.requested))
    return { address: query.requested, fresh: true, reason: "asked for and free" };
  return search(query.client, view, subnet) ?? seize(query, view, subnet);
}

/** So many addresses from where the client's name points are looked at whatever was found there before. */
const LOOK_NEAR = 16;
/** How many more addresses are looked at once one is found that only used to be somebody's. */
const LOOK_FURTHER = 64;

/**
 * A free address of the pools, beginning where the client's name points, so that a client without lease gets the same
 * address again: first one that never was anybody's, then the one whose lease ended first, then the one that was offered
 * longest ago (so that a flood of DISCOVERs cannot use up the pool).
 */
function search(client: string, view: AddressView, subnet: PreparedSubnet): Allocation | undefined {
  if (subnet.poolSize === 0) return undefined;
  const start = hashOf(client) % subnet.poolSize;
  const found =
    searchFree(start, view, subnet) ?? (view.free.refill(view.now) ? searchFree(start, view, subnet) : undefined);
  if (found !== undefined) return found;
  const isOnlyOffered = ({ address }: Offer): boolean => lookAt(address, view, subnet) === "offered";
  const offer = view.offers.oldest(subnet.network, view.now, isOnlyOffered);
  if (offer === undefined) return undefined;
  return { address: offer.address, fresh: true, reason: "offered to another that did not come back" };
}

function searchFree(start: number, view: AddressView, subnet: PreparedSubnet): Allocation | undefined {
  let ended: Lease | undefined;
  let further = LOOK_FURTHER;
  const free = (index: number): Allocation | undefined => {
    const address = poolAddress(subnet, index);
    const seen = address === null ? "held" : lookAt(address, view, subnet);
    if (address !== null && seen === "free") return { address, fresh: true, reason: "free" };
    if (typeof seen === "string") view.free.pass(index);
    else if (ended === undefined || seen.expiresAt < ended.expiresAt) ended = seen;
    return undefined;
  };
  const near = Math.min(LOOK_NEAR, subnet.poolSize);
  for (let step = 0; step < near; step += 1) {
    const found = free((start + step) % subnet.poolSize);
    if (found !== undefined) return found;
  }
  let gone = near - 1;
  let index = view.free.next((start + near) % subnet.poolSize);
  while (index !== undefined && further > 0) {
    const steps = (index - start + subnet.poolSize) % subnet.poolSize;
    if (steps <= gone) break; // once round
    gone = steps;
    const found = free(index);
    if (found !== undefined) return found;
    if (ended !== undefined) further -= 1;
    index = view.free.next((index + 1) % subnet.poolSize);
  }
  return ended === undefined ? undefined : { address: ended.address, fresh: true, reason: "free again" };
}

/** Who has an address of the pool: nobody, one who must not lose it, one whom it is offered to, or the one of a lease that has ended. */
function lookAt(address: Ipv4Address, view: AddressView, subnet: PreparedSubnet): "free" | "held" | "offered" | Lease {
  if (subnet.reservedAddresses.has(address)) return "held";
  const lease = view.leases.byAddress(address);
  if (lease !== undefined && isHeld(lease, view.wall)) return "held";
  if (view.offers.byAddress(address, view.now) !== undefined) return "offered";
  return lease ?? "free";
}

/**
 * When every address is leased, an enrolled machine gets one that is leased to a machine which nobody enrolled: invented
 * clients that go as far as a lease cannot keep ours out. The one whose lease ends first, of those found first.
 */
function seize(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): Allocation | undefined {
  if (!isOurs(query.mac, view)) return undefined;
  const start = hashOf(query.client) % Math.max(1, subnet.poolSize);
  let soonest: Lease | undefined;
  let further = LOOK_FURTHER;
  for (let step = 0; step < subnet.poolSize && further > 0; step += 1) {
    const address = poolAddress(subnet, (start + step) % subnet.poolSize);
    if (address === null || subnet.reservedAddresses.has(address) || view.alive.has(address)) continue;
    const lease = view.leases.byAddress(address);
    if (lease === undefined || lease.state !== "bound" || isOurs(lease.mac, view)) continue;
    if (view.offers.byAddress(address, view.now) !== undefined) continue;
    further -= 1;
    if (soonest === undefined || lease.expiresAt < soonest.expiresAt) soonest = lease;
  }
  if (soonest === undefined) return undefined;
  return {
    address: soonest.address,
    fresh: true,
    seized: true,
    reason: "every address is in use: taken from a machine that is not enrolled",
  };
}

function isOurs(mac: MacAddress | null, view: AddressView): boolean {
  return mac !== null && view.enrolled(mac);
}

/** Whether somebody else's lease was offered to this client, as `seize` does. */
function isSeized(query: AddressQuery, view: AddressView, lease: Lease): boolean {
  if (lease.state !== "bound" || isOurs(lease.mac, view) || !isOurs(query.mac, view)) return false;
  return view.offers.byAddress(lease.address, view.now)?.client === query.client;
}
