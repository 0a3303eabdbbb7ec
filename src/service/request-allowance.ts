import type { Clock } from "../core/clock.ts";

/** Clients come from what strangers send: beyond so many the ones that have asked least recently are forgotten. */
const MOST_CLIENTS = 4096;

export interface AllowanceTerms {
  /** Requests at once after a pause. */
  readonly burst: number;
  readonly perSecond: number;
}

/** How often each client may ask: a bucket that fills with time. */
export class RequestAllowance {
  readonly #clock: Clock;
  readonly #terms: AllowanceTerms;
  /** In the order of their last request. */
  readonly #buckets = new Map<string, { readonly left: number; readonly at: number }>();

  constructor(clock: Clock, terms: AllowanceTerms) {
    this.#clock = clock;
    this.#terms = terms;
  }

  /** Whether the client may ask now; what is refused costs nothing. */
  take(client: string): boolean {
    const now = this.#clock.now();
    const { burst, perSecond } = this.#terms;
    const before = this.#buckets.get(client) ?? { left: burst, at: now };
    const left = Math.min(burst, before.left + ((now - before.at) / 1000) * perSecond);
    this.#buckets.delete(client);
    this.#buckets.set(client, { left: left >= 1 ? left - 1 : left, at: now });
    if (this.#buckets.size > MOST_CLIENTS) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return left >= 1;
  }
}
