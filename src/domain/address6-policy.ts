import type { MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { Millis } from "../core/units.ts";
import { searchPool, type SearchView } from "./address-search.ts";
import type { Lease6 } from "./lease.ts";
import { givenUpFor, isHeld, isSeized } from "./lease-holder.ts";
import type { OfferReader } from "./offer-table.ts";
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

export interface Address6View extends SearchView<Ipv6Address> {
  readonly subnet: PreparedSubnet6;
  readonly offers: OfferReader<Ipv6Address>;
  /** How long an address is left alone that a client found in use. */
  readonly quarantine: Millis;
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
  const { client, mac } = query;
  const expiresAt = view.wall + view.subnet.subnet.validLifetime;
  return {
    kind: "granted",
    address,
    lease: { address, client, mac, hostname: null, state: "bound", expiresAt },
    instead: givenUpFor(address, view.leases.byClient(query.client)),
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
  // Who loses its address so and still uses it is found by the new one's duplicate address detection, which DECLINEs.
  const found = searchPool(query, view, view.subnet.pool);
  if (found !== undefined) return grant(query, view, found.address, found.reason);
  return { kind: "refused", status: "noAddrsAvail", reason: "every address of the pool is in use" };
}

/** Why this client may not have this address, or undefined when it may. */
function whyNot(query: AssociationQuery, view: Address6View, address: Ipv6Address): string | undefined {
  const { subnet } = view;
  if (!subnet6Contains(subnet, address)) return `${address} does not belong to this link`;
  const own = reservationOf(query, view);
  if (own !== undefined && own !== address) return `${own} is reserved for this client, not ${address}`;
  if (own === undefined && !subnet.pool.has(address)) return `${address} is not in the pool`;
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
