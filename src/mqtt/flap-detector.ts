import type { Clock } from "../core/clock.ts";
import { seconds } from "../core/units.ts";

const WINDOW = seconds(120);
const SHORT = seconds(20);
const MANY = 4;

/**
 * Sees connections that the broker accepts and that end at once, again and again: the sign of a second client with our id, which
 * mosquitto does not announce (each takes the session from the other), or of an access list that throws us out.
 */
export class FlapDetector {
  readonly #clock: Clock;
  #ends: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A connection that was accepted at `since` has ended: whether there were too many such. */
  ended(since: number): boolean {
    const now = this.#clock.now();
    this.#ends = this.#ends.filter((at) => now - at < WINDOW);
    if (now - since < SHORT) this.#ends.push(now);
    return this.#ends.length >= MANY;
  }
}
