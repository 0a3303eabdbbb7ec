import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import { type FoundAddress, searchPool, type SearchView } from "./address-search.ts";
import type { Lease } from "./lease.ts";
import { givenUpFor, isHeld, isSeized } from "./lease-holder.ts";
import type { OfferReader } from "./offer-table.ts";
import {
  type PreparedSubnet,
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

export interface AddressView extends SearchView<Ipv4Address> {
  readonly subnet: PreparedSubnet | undefined;
  readonly offers: OfferReader;
  /** The names of ours that a client may know us by. */
  readonly servers: readonly Ipv4Address[];
  /** Nobody else gives out addresses here: what we do not know is refused or taken over instead of left alone. */
  readonly authoritative: boolean;
  readonly rapidCommit: boolean;
  /** How long an address is left alone that a client found in use. */
  readonly quarantine: Millis;
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
    seized: found.seized,
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
    instead: givenUpFor(address, view.leases.byClient(query.client)),
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
  if (lease !== undefined && lease.client !== query.client && isHeld(lease, view) && !isSeized(query, view, lease)) {
    return lease.state === "declined"
      ? `${address} is in use by a machine that is not a client`
      : `${address} is leased to another client`;
  }
  const offer = view.offers.byAddress(address, view.now);
  if (offer !== undefined && offer.client !== query.client) return `${address} is offered to another client`;
  if (own === undefined && !subnet.pool.has(address)) return `${address} is not in a pool`;
  return undefined;
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
    const held = lease !== undefined && lease.client !== query.client && isHeld(lease, view);
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

interface Allocation extends FoundAddress<Ipv4Address> {
  readonly fresh: boolean;
}

/** The address to offer, in the order of RFC 2131 §4.3.1: the client's own, its former one, the one it asks for, a free one. */
function allocate(query: AddressQuery, view: AddressView, subnet: PreparedSubnet): Allocation | undefined {
  const free = (address: Ipv4Address): boolean => refuse(query, view, subnet, address) === undefined;
  const reservation = reservationOf(query, view, subnet);
  if (reservation !== undefined && free(reservation.address))
    return { address: reservation.address, fresh: false, seized: false, reason: "reserved" };
  const lease = leaseHere(query, view, subnet);
  if (lease !== undefined && free(lease.address))
    return { address: lease.address, fresh: false, seized: false, reason: "its present or former address" };
  const offer = view.offers.byClient(query.client, view.now);
  if (offer !== undefined && free(offer.address))
    return { address: offer.address, fresh: false, seized: false, reason: "as offered before" };
  if (query.requested !== null && free(query.requested))
    return { address: query.requested, fresh: true, seized: false, reason: "asked for and free" };
  const found = searchPool(query, view, subnet.pool);
  return found === undefined ? undefined : { ...found, fresh: true };
}
