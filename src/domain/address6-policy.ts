import type { MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { Millis } from "../core/units.ts";
import type { Lease6 } from "./lease.ts";
import type { OfferReader } from "./offer-table.ts";
import { hashOf } from "./pool-hash.ts";
import type { LeaseReader } from "./store.ts";
import { type PreparedSubnet6, type Reservation6Key, reservation6Key, subnet6Contains } from "./subnet6.ts";

/** What a client asks for one of its identity associations (IA_NA). */
export interface AssociationQuery {
  readonly kind: "solicit" | "request" | "renew" | "rebind" | "release" | "decline";
  /** As in a lease. */
  readonly client: string;
  readonly mac: MacAddress | null;
  /** What a reservation may be made for, the first match wins. */
  readonly keys: readonly Reservation6Key[];
  /** The addresses that stand in it, in order. */
  readonly addresses: readonly Ipv6Address[];
}

export interface Address6View {
  readonly subnet: PreparedSubnet6;
  readonly leases: LeaseReader<Ipv6Address>;
  readonly offers: Pick<OfferReader<Ipv6Address>, "byAddress" | "byClient">;
  /** Monotonic, for offers. */
  readonly now: Millis;
  /** UTC milliseconds, for leases. */
  readonly wall: number;
  /** How long an address is left alone that a client found in use. */
  readonly quarantine: Millis;
  /** Whether the machine is one of ours. */
  readonly enrolled: (mac: MacAddress) => boolean;
}

export type Refusal = "noAddrsAvail" | "noBinding" | "notOnLink";

export type AssociationDecision =
  | {
      readonly kind: "granted";
      readonly address: Ipv6Address;
      /** To be on disk before a REPLY leaves; an ADVERTISE promises nothing. */
      readonly lease: Lease6;
      /** The client's former address, which it thereby gives up. */
      readonly instead: Ipv6Address | null;
      /** What the client named and may no longer use: told with lifetimes of 0 (RFC 8415 §18.3.4). */
      readonly invalid: readonly Ipv6Address[];
      readonly reason: string;
    }
  | { readonly kind: "refused"; readonly status: Refusal; readonly reason: string }
  /** Nothing to give, and these may no longer be used. */
  | { readonly kind: "invalid"; readonly invalid: readonly Ipv6Address[]; readonly reason: string }
  /** `leases` are to be stored. */
  | { readonly kind: "returned"; readonly leases: readonly Lease6[]; readonly reason: string };

/** What to say about one association. Pure and total; the caller stores and sends. @source RFC 8415 §18.3 */
export function decideAssociation(query: AssociationQuery, view: Address6View): AssociationDecision {
  switch (query.kind) {
    case "solicit":
      return allocated(query, view);
    case "request":
      return request(query, view);
    case "renew":
    case "rebind":
      return extend(query, view);
    case "release":
    case "decline":
      return giveBack(query, view);
    default:
      return assertNever(query.kind);
  }
}

/** @source RFC 8415 §18.3.2 */
function request(query: AssociationQuery, view: Address6View): AssociationDecision {
  const foreign = query.addresses.find((address) => !subnet6Contains(view.subnet, address));
  if (foreign !== undefined)
    return { kind: "refused", status: "notOnLink", reason: `${foreign} does not belong to this link` };
  return allocated(query, view);
}

/**
 * A binding that is not known is made anew when its address is free: nobody else gives out addresses of this link, so the
 * client has it from us. @source RFC 8415 §18.3.4, §18.3.5
 */
function extend(query: AssociationQuery, view: Address6View): AssociationDecision {
  const known = leaseHere(query, view);
  const reservation = reservationOf(query, view);
  const due = reservation ?? known?.address;
  if (due !== undefined && whyNot(query, view, due) === undefined) {
    return grant(
      query,
      view,
      due,
      known === undefined ? "its reserved address" : query.kind === "renew" ? "renewed" : "rebound",
    );
  }
  const foreign = query.addresses.filter((address) => !subnet6Contains(view.subnet, address));
  const [claimed] = query.addresses.filter((address) => whyNot(query, view, address) === undefined);
  if (claimed !== undefined) return grant(query, view, claimed, "taken over, the address is free");
  if (foreign.length > 0)
    return { kind: "invalid", invalid: query.addresses, reason: `${foreign[0]} does not belong to this link` };
  const [first] = query.addresses;
  const why = first === undefined ? "it names no address" : whyNot(query, view, first);
  return { kind: "refused", status: "noBinding", reason: `no lease of this client is known; ${why}` };
}

/** @source RFC 8415 §18.3.7, §18.3.8 */
function giveBack(query: AssociationQuery, view: Address6View): AssociationDecision {
  const own = query.addresses.flatMap((address) => {
    const lease = view.leases.byAddress(address);
    return lease?.client === query.client && lease.state === "bound" ? [lease] : [];
  });
  if (own.length === 0) {
    const named = query.addresses.join(", ") || "no address";
    return { kind: "refused", status: "noBinding", reason: `${named}: not leased to this client` };
  }
  const addresses = own.map(({ address }) => address).join(", ");
  if (query.kind === "release") {
    const leases = own.map((lease): Lease6 => ({ ...lease, state: "released", expiresAt: view.wall }));
    return { kind: "returned", leases, reason: `${addresses} was given back` };
  }
  const expiresAt = view.wall + view.quarantine;
  return {
    kind: "returned",
    // Nobody's: else the same client would be offered it again as its own.
    leases: own.map(
      (lease): Lease6 => ({ ...lease, client: `declined:${lease.address}`, state: "declined", expiresAt }),
    ),
    reason: `${addresses} is in use by another machine and is left alone for ${Math.round(view.quarantine / 1000)} s`,
  };
}

function grant(query: AssociationQuery, view: Address6View, address: Ipv6Address, reason: string): AssociationDecision {
  const former = view.leases.byClient(query.client);
  const { client, mac } = query;
  const expiresAt = view.wall + view.subnet.subnet.validLifetime;
  return {
    kind: "granted",
    address,
    lease: { address, client, mac, hostname: null, state: "bound", expiresAt },
    instead: former !== undefined && former.address !== address && former.state !== "declined" ? former.address : null,
    invalid: query.kind === "solicit" ? [] : query.addresses.filter((one) => one !== address),
    reason,
  };
}

/** The client's own address, its former one, the one it asks for, a free one. */
function allocated(query: AssociationQuery, view: Address6View): AssociationDecision {
  const free = (address: Ipv6Address): boolean => whyNot(query, view, address) === undefined;
  const reservation = reservationOf(query, view);
  if (reservation !== undefined && free(reservation)) return grant(query, view, reservation, "reserved");
  const lease = leaseHere(query, view);
  if (lease !== undefined && free(lease.address))
    return grant(query, view, lease.address, "its present or former address");
  const offer = view.offers.byClient(query.client, view.now);
  if (offer !== undefined && free(offer.address)) return grant(query, view, offer.address, "as offered before");
  const asked = query.addresses.find(free);
  if (asked !== undefined) return grant(query, view, asked, "asked for and free");
  const found = search(query, view);
  if (found !== undefined) return grant(query, view, found.address, found.reason);
  return { kind: "refused", status: "noAddrsAvail", reason: "every address of the pool is in use" };
}

/** Why this client may not have this address, or undefined when it may. */
function whyNot(query: AssociationQuery, view: Address6View, address: Ipv6Address): string | undefined {
  const { subnet } = view;
  if (!subnet6Contains(subnet, address)) return `${address} does not belong to this link`;
  const own = reservationOf(query, view);
  if (own !== undefined && own !== address) return `${own} is reserved for this client, not ${address}`;
  if (own === undefined && !subnet.freeSet.has(address)) return `${address} is not in the pool`;
  const lease = view.leases.byAddress(address);
  if (lease !== undefined && !isOwn(query, lease, own) && isHeld(lease, view) && !isSeized(query, view, lease))
    return lease.state === "declined"
      ? `${address} is in use by a machine that is not a client`
      : `${address} is leased`;
  const offer = view.offers.byAddress(address, view.now);
  if (offer !== undefined && offer.client !== query.client && own === undefined)
    return `${address} is offered to another client`;
  return undefined;
}

/**
 * Firmware, iPXE and system of one machine have DUIDs and IAIDs of their own; a reserved address goes with the machine, from
 * one to the next.
 */
function isOwn(query: AssociationQuery, lease: Lease6, reservation: Ipv6Address | undefined): boolean {
  if (lease.client === query.client) return true;
  return reservation === lease.address && lease.state === "bound" && lease.mac !== null && lease.mac === query.mac;
}

function isHeld(lease: Lease6, view: Address6View): boolean {
  return lease.state !== "released" && lease.expiresAt > view.wall;
}

function leaseHere(query: AssociationQuery, view: Address6View): Lease6 | undefined {
  const lease = view.leases.byClient(query.client);
  return lease !== undefined && subnet6Contains(view.subnet, lease.address) ? lease : undefined;
}

/** While somebody else still holds it, a reservation gives way to the pool rather than leave the machine without address. */
function reservationOf(query: AssociationQuery, view: Address6View): Ipv6Address | undefined {
  for (const key of query.keys) {
    const address = view.subnet.reservedFor.get(reservation6Key(key));
    if (address === undefined) continue;
    const lease = view.leases.byAddress(address);
    return lease === undefined || isOwn(query, lease, address) || !isHeld(lease, view) ? address : undefined;
  }
  return undefined;
}

/** How many more addresses are looked at once one is found that only used to be somebody's. */
const LOOK_FURTHER = 64;

/**
 * A free address, beginning where the client's name points, so that a client without lease gets the same address again:
 * first one that never was anybody's, then the one whose lease ended first, then one that is only offered, then, for an
 * enrolled machine, one that is leased to a machine which nobody enrolled: invented clients cannot keep ours out. Who
 * loses its address so and still uses it is found by the new one's duplicate address detection, which DECLINEs.
 */
function search(
  query: AssociationQuery,
  view: Address6View,
): { readonly address: Ipv6Address; readonly reason: string } | undefined {
  const { free } = view.subnet;
  const ours = isOurs(query.mac, view);
  const start = hashOf(query.client) % Math.max(1, free.length);
  let [ended, seizable]: (Lease6 | undefined)[] = [];
  let offered: { readonly address: Ipv6Address; readonly until: number } | undefined;
  let further = LOOK_FURTHER;
  for (let step = 0; step < free.length && further > 0; step += 1) {
    if (ended !== undefined) further -= 1;
    const address = free[(start + step) % free.length];
    if (address === undefined) break;
    const lease = view.leases.byAddress(address);
    const offer = view.offers.byAddress(address, view.now);
    if (lease !== undefined && isHeld(lease, view)) {
      const takes = ours && lease.state === "bound" && offer === undefined && !isOurs(lease.mac, view);
      if (takes && (seizable === undefined || lease.expiresAt < seizable.expiresAt)) seizable = lease;
    } else if (offer !== undefined) {
      if (offered === undefined || offer.until < offered.until) offered = { address, until: offer.until };
    } else if (lease === undefined) {
      return { address, reason: "free" };
    } else if (ended === undefined || lease.expiresAt < ended.expiresAt) {
      ended = lease;
    }
  }
  if (ended !== undefined) return { address: ended.address, reason: "free again" };
  if (offered !== undefined) return { address: offered.address, reason: "offered to another that did not come back" };
  if (seizable === undefined) return undefined;
  return { address: seizable.address, reason: "every address is in use: taken from a machine that is not enrolled" };
}

function isOurs(mac: MacAddress | null, view: Address6View): boolean {
  return mac !== null && view.enrolled(mac);
}

/** Whether somebody else's lease was offered to this client, as `search` does. */
function isSeized(query: AssociationQuery, view: Address6View, lease: Lease6): boolean {
  if (lease.state !== "bound" || isOurs(lease.mac, view) || !isOurs(query.mac, view)) return false;
  return view.offers.byAddress(lease.address, view.now)?.client === query.client;
}
