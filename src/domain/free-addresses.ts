import type { Millis } from "../core/units.ts";

const BITS = 32;

/** All are taken for free again at most so often, and for each address of the pool at most every so many of these. */
const REFILL_INTERVAL = 1000;
const REFILL_INTERVAL_PER_ADDRESS = 0.02;

/**
 * Which addresses of the pools may be free, by their index: a hint that lets a search pass over what was found in use
 * without looking again, so that a flood of clients in a full pool costs no scan each. What it names must be looked at; what
 * it does not name is named again after the next `refill`.
 */
export class FreeAddresses {
  readonly size: number;
  /** A bit for each address; set: may be free. */
  readonly #words: Uint32Array;
  /** A bit for each word that is not zero. */
  readonly #summary: Uint32Array;
  #filledAt = Number.NEGATIVE_INFINITY;

  constructor(size: number) {
    this.size = size;
    this.#words = new Uint32Array(Math.ceil(size / BITS));
    this.#summary = new Uint32Array(Math.ceil(this.#words.length / BITS));
    this.#fill();
  }

  #fill(): void {
    setFirstBits(this.#words, this.size);
    setFirstBits(this.#summary, this.#words.length);
  }

  /** The first index at or after `from`, going round, that may be free; undefined: there is none. */
  next(from: number): number | undefined {
    return this.#atOrAfter(from) ?? this.#atOrAfter(0);
  }

  #atOrAfter(from: number): number | undefined {
    const first = from >>> 5;
    const rest = (this.#words[first] ?? 0) & (-1 << (from & 31));
    if (rest !== 0) return first * BITS + lowestBit(rest);
    let mask = -1 << ((first + 1) & 31);
    for (let at = (first + 1) >>> 5; at < this.#summary.length; at += 1) {
      const words = (this.#summary[at] ?? 0) & mask;
      mask = -1;
      if (words === 0) continue;
      const word = at * BITS + lowestBit(words);
      return word * BITS + lowestBit(this.#words[word] ?? 0);
    }
    return undefined;
  }

  /** The address was found in use. */
  pass(index: number): void {
    const at = index >>> 5;
    const word = (this.#words[at] ?? 0) & ~(1 << (index & 31));
    this.#words[at] = word;
    if (word === 0) this.#summary[at >>> 5] = (this.#summary[at >>> 5] ?? 0) & ~(1 << (at & 31));
  }

  /** Names every address again; false when that was done too short a while ago. */
  refill(now: Millis): boolean {
    if (now - this.#filledAt < Math.max(REFILL_INTERVAL, this.size * REFILL_INTERVAL_PER_ADDRESS)) return false;
    this.#filledAt = now;
    this.#fill();
    return true;
  }
}

function setFirstBits(words: Uint32Array, count: number): void {
  words.fill(0xffffffff);
  if ((count & 31) !== 0) words[words.length - 1] = 2 ** (count & 31) - 1;
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
