import type { MacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { Millis } from "../core/units.ts";
import {
  type Address6View,
  type AssociationDecision,
  type AssociationQuery,
  decideAssociation,
} from "../domain/address6-policy.ts";
import { OfferTable } from "../domain/offer-table.ts";
import type { Store, Transaction } from "../domain/store.ts";
import { leaseClient6, MOST_ASSOCIATIONS, reservation6Keys } from "./dhcp6-client.ts";
import type { Exchange6 } from "./dhcp6-exchange.ts";
import type { AnsweredAssociation } from "./dhcp6-reply.ts";

export interface Dhcp6DeciderOptions {
  readonly store: Pick<Store, "ports" | "leases6">;
  readonly clock: Clock;
  readonly offerTime: Millis;
  readonly quarantine: Millis;
}

/** What can be asked for an association. */
export type AskedKind = AssociationQuery["kind"];

const noAddresses: ReadonlySet<Ipv6Address> = new Set();

const tooMany: AssociationDecision = {
  kind: "refused",
  status: "noAddrsAvail",
  reason: "more associations than one machine may have",
};

/** Asks the address policy about each association of a message, with the offers that it knows of. */
export class Dhcp6Decider {
  readonly #options: Dhcp6DeciderOptions;
  readonly #enrolled: (mac: MacAddress) => boolean;
  readonly #offers = new OfferTable<Ipv6Address>();

  constructor(options: Dhcp6DeciderOptions) {
    this.#options = options;
    this.#enrolled = (mac) => options.store.ports.byAddress(mac) !== undefined;
  }

  get offersHeld(): number {
    return this.#offers.size;
  }

  /** Without a transaction what is granted is held as an offer; with one it is put into it. */
  decide(exchange: Exchange6, kind: AskedKind, tx?: Transaction): readonly AnsweredAssociation[] {
    const { client, subnet } = exchange;
    const { clock, store, quarantine, offerTime } = this.#options;
    const { duid, mac } = client;
    if (duid === undefined) return [];
    const view: Address6View = {
      subnet: subnet.prepared,
      free: subnet.free,
      leases: (tx ?? store).leases6,
      offers: this.#offers,
      now: clock.now(),
      wall: clock.wallMillis(),
      quarantine,
      enrolled: this.#enrolled,
      alive: noAddresses,
    };
    const keys = subnet.prepared.reservedFor.size > 0 ? reservation6Keys(client) : [];
    const { network } = subnet.prepared.pool;
    const until = (view.now + offerTime) as Millis;
    const seen = new Set<number>();
    return client.associations.map(({ iaid, addresses }, at): AnsweredAssociation => {
      if (at >= MOST_ASSOCIATIONS || seen.has(iaid)) return { iaid, decision: tooMany };
      seen.add(iaid);
      // One card may have several associations; a reserved address goes to the first.
      const own = at === 0 ? keys : [];
      const decision = decideAssociation({ kind, client: leaseClient6(duid, iaid), mac, keys: own, addresses }, view);
      // Each is seen by the next one, so that no address is given twice.
      if (tx !== undefined) put(tx, decision);
      else if (decision.kind === "granted")
        this.#offers.hold({ address: decision.address, network, client: decision.lease.client, until });
      return { iaid, decision };
    });
  }

  /** The offers have been taken that these were granted from. */
  forget(answered: readonly AnsweredAssociation[]): void {
    for (const { decision } of answered) {
      if (decision.kind === "granted") this.#offers.forget(decision.lease.client);
    }
  }

  /** Drops offers that nobody came back for. */
  sweep(): void {
    this.#offers.sweep(this.#options.clock.now());
  }
}

export function reasonOf(answered: readonly AnsweredAssociation[]): string {
  return answered.length === 0
    ? "no association is asked for"
    : answered.map(({ decision }) => decision.reason).join("; ");
}

function put(tx: Transaction, decision: AssociationDecision): void {
  if (decision.kind === "granted") {
    if (decision.instead !== null) tx.leases6.delete(decision.instead);
    tx.leases6.put(decision.lease);
  }
  if (decision.kind === "returned") for (const lease of decision.leases) tx.leases6.put(lease);
}
