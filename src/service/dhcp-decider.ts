import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { Millis } from "../core/units.ts";
import { type AddressDecision, decideAddress } from "../domain/address-policy.ts";
import { FreeAddresses } from "../domain/free-addresses.ts";
import { OfferTable } from "../domain/offer-table.ts";
import type { LeaseReader, Store, Transaction } from "../domain/store.ts";
import type { Exchange } from "./dhcp-exchange.ts";

export interface DhcpRules {
  /** This is the only server here: what it does not know is refused or taken over, not left alone. */
  readonly authoritative: boolean;
  readonly rapidCommit: boolean;
  readonly offerTime: Millis;
  readonly quarantine: Millis;
}

export interface DhcpDeciderOptions extends DhcpRules {
  readonly store: Pick<Store, "ports">;
  readonly clock: Clock;
}

export type Offered = Extract<AddressDecision, { readonly kind: "offer" }>;

const noAddresses: ReadonlySet<Ipv4Address> = new Set();
const noFreeAddresses = new FreeAddresses(0);

/** Asks the address policy, with the offers that it knows of. */
export class DhcpDecider {
  readonly #options: DhcpDeciderOptions;
  readonly #enrolled: (mac: MacAddress) => boolean;
  readonly #offers = new OfferTable();

  constructor(options: DhcpDeciderOptions) {
    this.#options = options;
    this.#enrolled = (mac) => options.store.ports.byAddress(mac) !== undefined;
  }

  get offersHeld(): number {
    return this.#offers.size;
  }

  /** `alive`: addresses that are not to be taken from those who have them. */
  decide(exchange: Exchange, leases: LeaseReader, alive: ReadonlySet<Ipv4Address> = noAddresses): AddressDecision {
    const { clock, authoritative, rapidCommit, quarantine } = this.#options;
    const { subnet, server } = exchange;
    const { address } = exchange.served.link;
    return decideAddress(exchange.query, {
      subnet: subnet?.prepared,
      free: subnet?.free ?? noFreeAddresses,
      leases,
      offers: this.#offers,
      now: clock.now(),
      wall: clock.wallMillis(),
      servers: server === address ? exchange.served.names : [server, address],
      authoritative,
      rapidCommit,
      quarantine,
      enrolled: this.#enrolled,
      alive,
    });
  }

  /** In a transaction, which gets what the decision promises. */
  settle(exchange: Exchange, tx: Transaction): AddressDecision {
    const decision = this.decide(exchange, tx.leases);
    if (decision.kind === "ack" && decision.instead !== null) tx.leases.delete(decision.instead);
    if (decision.kind === "ack" || decision.kind === "returned") tx.leases.put(decision.lease);
    return decision;
  }

  /** Keeps the offered address for its client. */
  hold({ query, subnet }: Exchange, { address }: Offered): void {
    const { clock, offerTime } = this.#options;
    const until = (clock.now() + offerTime) as Millis;
    this.#offers.hold({ address, network: subnet?.prepared.pool.network ?? 0, client: query.client, until });
  }

  /** The client's offer has been taken or refused. */
  forget({ query }: Exchange): void {
    this.#offers.forget(query.client);
  }

  /** Drops offers that nobody came back for. */
  sweep(): void {
    this.#offers.sweep(this.#options.clock.now());
  }
}
