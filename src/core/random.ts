import { randomBytes, randomInt, randomUUID } from "node:crypto";

/** The only source of chance, so that tests can replace it. */
export interface Random {
  bytes(count: number): Uint8Array;
  uuid(): string;
  /** An integer in [0, below). */
  below(limit: number): number;
  /** Letters, digits, - and _; `count` bytes of entropy. */
  token(count: number): string;
}

export class SystemRandom implements Random {
  bytes(count: number): Uint8Array {
    return randomBytes(count);
  }

  uuid(): string {
    return randomUUID();
  }

  below(limit: number): number {
    return randomInt(limit);
  }

  token(count: number): string {
    return randomBytes(count).toString("base64url");
  }
}

/** Repeatable chance from a printed seed (mulberry32); for tests. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 1) bytes[at] = this.#next() & 255;
    return bytes;
  }

  uuid(): string {
    const hex = Buffer.from(this.bytes(16)).toString("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  }

  below(limit: number): number {
    return this.#next() % limit;
  }

  token(count: number): string {
    return Buffer.from(this.bytes(count)).toString("base64url");
  }
}
