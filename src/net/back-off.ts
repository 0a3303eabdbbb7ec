import type { Random } from "../core/random.ts";
import { millis, type Millis } from "../core/units.ts";

/** Waiting times that double from `first` to `longest`, each drawn between half and the whole, so that many clients do not come back together. */
export class BackOff {
  readonly #first: Millis;
  readonly #longest: Millis;
  readonly #random: Random;
  #attempts = 0;

  constructor(parts: { readonly first: Millis; readonly longest: Millis; readonly random: Random }) {
    this.#first = parts.first;
    this.#longest = parts.longest;
    this.#random = parts.random;
  }

  /** Failures since the last `reset`. */
  get attempts(): number {
    return this.#attempts;
  }

  next(): Millis {
    const whole = Math.min(this.#longest, this.#first * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    const half = Math.ceil(whole / 2);
    return millis(half + this.#random.below(Math.max(1, whole - half + 1)));
  }

  reset(): void {
    this.#attempts = 0;
  }
}
