import type { Ipv4Address } from "../core/brand.ts";
import type { Millis } from "../core/units.ts";

export interface Offer<Address extends string = Ipv4Address> {
  readonly address: Address;
  /** Of the subnet that the address is from. */
  readonly network: number;
  readonly client: string;
  /** Monotonic; afterwards the address is free again. */
  readonly until: Millis;
}

export interface OfferReader<Address extends string = Ipv4Address> {
  byAddress(address: Address, now: Millis): Offer<Address> | undefined;
  byClient(client: string, now: Millis): Offer<Address> | undefined;
  /** Of the first offers of the subnet, in the order in which they were made, the first that is wanted. */
  oldest(network: number, now: Millis, isWanted: (offer: Offer<Address>) => boolean): Offer<Address> | undefined;
}

/** So many offers are looked at: clients that have a lease and ask again hold offers that are not wanted. */
const LOOKS = 256;

/** An offer in the row of its subnet, the oldest first. A Map keeps the order too, but finds its first entry by passing over all deleted ones. */
interface Held<Address extends string> {
  readonly offer: Offer<Address>;
  older: Held<Address> | undefined;
  newer: Held<Address> | undefined;
}

interface Row<Address extends string> {
  oldest: Held<Address> | undefined;
  newest: Held<Address> | undefined;
}

/**
 * Addresses that were offered and not yet asked for. Kept in memory only: an offer promises nothing (RFC 2131 §3.1.2), and
 * one that is lost or taken over costs its client another try.
 */
export class OfferTable<Address extends string = Ipv4Address> implements OfferReader<Address> {
  readonly #byAddress = new Map<Address, Held<Address>>();
  readonly #byClient = new Map<string, Held<Address>>();
  readonly #rows = new Map<number, Row<Address>>();

  get size(): number {
    return this.#byAddress.size;
  }

  byAddress(address: Address, now: Millis): Offer<Address> | undefined {
    return this.#living(this.#byAddress.get(address), now);
  }

  byClient(client: string, now: Millis): Offer<Address> | undefined {
    return this.#living(this.#byClient.get(client), now);
  }

  oldest(network: number, now: Millis, isWanted: (offer: Offer<Address>) => boolean): Offer<Address> | undefined {
    let held = this.#rows.get(network)?.oldest;
    for (let look = 0; held !== undefined && look < LOOKS; look += 1) {
      if (held.offer.until > now && isWanted(held.offer)) return held.offer;
      held = held.newer;
    }
    return undefined;
  }

  #living(held: Held<Address> | undefined, now: Millis): Offer<Address> | undefined {
    if (held === undefined || held.offer.until > now) return held?.offer;
    this.#remove(held);
    return undefined;
  }

  /** One offer per client and per address: earlier ones of either are dropped. */
  hold(offer: Offer<Address>): void {
    this.forget(offer.client);
    const other = this.#byAddress.get(offer.address);
    if (other !== undefined) this.#remove(other);
    const row = this.#row(offer.network);
    const held: Held<Address> = { offer, older: row.newest, newer: undefined };
    if (row.newest === undefined) row.oldest = held;
    else row.newest.newer = held;
    row.newest = held;
    this.#byAddress.set(offer.address, held);
    this.#byClient.set(offer.client, held);
  }

  #row(network: number): Row<Address> {
    const known = this.#rows.get(network);
    if (known !== undefined) return known;
    const row: Row<Address> = { oldest: undefined, newest: undefined };
    this.#rows.set(network, row);
    return row;
  }

  forget(client: string): void {
    const held = this.#byClient.get(client);
    if (held !== undefined) this.#remove(held);
  }

  /** Drops what has expired. */
  sweep(now: Millis): void {
    for (const row of this.#rows.values()) {
      // All live equally long.
      while (row.oldest !== undefined && row.oldest.offer.until <= now) this.#remove(row.oldest);
    }
  }

  #remove(held: Held<Address>): void {
    const { offer, older, newer } = held;
    this.#byAddress.delete(offer.address);
    this.#byClient.delete(offer.client);
    const row = this.#row(offer.network);
    if (older === undefined) row.oldest = newer;
    else older.newer = newer;
    if (newer === undefined) row.newest = older;
    else newer.older = older;
  }
}
