import type { Ipv4Address } from "../core/brand.ts";
import type { Millis } from "../core/units.ts";

export interface Offer {
  readonly address: Ipv4Address;
  readonly client: string;
  /** Monotonic; afterwards the address is free again. */
  readonly until: Millis;
}

export interface OfferReader {
  byAddress(address: Ipv4Address, now: Millis): Offer | undefined;
  byClient(client: string, now: Millis): Offer | undefined;
}

/**
 * Addresses that were offered and not yet asked for. Kept in memory only: an offer promises nothing (RFC 2131 §3.1.2), and
 * one that is lost or taken over costs its client another try.
 */
export class OfferTable implements OfferReader {
  readonly #byAddress = new Map<Ipv4Address, Offer>();
  readonly #byClient = new Map<string, Offer>();

  get size(): number {
    return this.#byAddress.size;
  }

  byAddress(address: Ipv4Address, now: Millis): Offer | undefined {
    return this.#living(this.#byAddress.get(address), now);
  }

  byClient(client: string, now: Millis): Offer | undefined {
    return this.#living(this.#byClient.get(client), now);
  }

  #living(offer: Offer | undefined, now: Millis): Offer | undefined {
    if (offer === undefined || offer.until > now) return offer;
    this.#remove(offer);
    return undefined;
  }

  /** One offer per client and per address: earlier ones of either are dropped. */
  hold(offer: Offer): void {
    this.forget(offer.client);
    const other = this.#byAddress.get(offer.address);
    if (other !== undefined) this.#remove(other);
    this.#byAddress.set(offer.address, offer);
    this.#byClient.set(offer.client, offer);
  }

  forget(client: string): void {
    const offer = this.#byClient.get(client);
    if (offer !== undefined) this.#remove(offer);
  }

  /** Drops what has expired; the oldest stand first, as all live equally long. */
  sweep(now: Millis): void {
    for (const offer of this.#byAddress.values()) {
      if (offer.until > now) return;
      this.#remove(offer);
    }
  }

  #remove(offer: Offer): void {
    this.#byAddress.delete(offer.address);
    this.#byClient.delete(offer.client);
  }
}
