import { MalformedFault } from "./fault.ts";

const SHORT = 32;

/**
 * Reads a structure from bytes in order. Every read throws MalformedFault on any shortage; nothing is allocated beyond
 * the input's size, and what is kept is copied. Big-endian unless the name ends in LE.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #offset: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#offset = start;
    this.#end = end;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#end - this.#offset;
  }

  #take(field: string, count: number): number {
    if (!Number.isSafeInteger(count) || count < 0 || count > this.remaining) {
      throw new MalformedFault(field, this.#offset, count, this.remaining);
    }
    const at = this.#offset;
    this.#offset += count;
    return at;
  }

  /** Only behind #take, which keeps `at` inside. No DataView: to make one costs as much as reading a whole header. */
  #octet(at: number): number {
    return this.#bytes[at] ?? 0;
  }

  #signed(at: number): number {
    return (this.#octet(at) << 24) | (this.#octet(at + 1) << 16) | (this.#octet(at + 2) << 8) | this.#octet(at + 3);
  }

  u8(field: string): number {
    return this.#octet(this.#take(field, 1));
  }

  u16(field: string): number {
    const at = this.#take(field, 2);
    return (this.#octet(at) << 8) | this.#octet(at + 1);
  }

  u16LE(field: string): number {
    const at = this.#take(field, 2);
    return this.#octet(at) | (this.#octet(at + 1) << 8);
  }

  u32(field: string): number {
    return this.#signed(this.#take(field, 4)) >>> 0;
  }

  u32LE(field: string): number {
    const at = this.#take(field, 4);
    return (
      (this.#octet(at) | (this.#octet(at + 1) << 8) | (this.#octet(at + 2) << 16) | (this.#octet(at + 3) << 24)) >>> 0
    );
  }

  i32(field: string): number {
    return this.#signed(this.#take(field, 4));
  }

  u64(field: string): bigint {
    const at = this.#take(field, 8);
    return (BigInt(this.#signed(at) >>> 0) << 32n) | BigInt(this.#signed(at + 4) >>> 0);
  }

  /** A copy of the next `count` bytes. */
  bytes(field: string, count: number): Uint8Array {
    const at = this.#take(field, count);
    // Not slice: a Buffer's is a view. Short ones go faster one by one than through a view.
    if (count > SHORT) return new Uint8Array(this.#bytes.subarray(at, at + count));
    const copy = new Uint8Array(count);
    for (let index = 0; index < count; index += 1) copy[index] = this.#octet(at + index);
    return copy;
  }

  /** A copy of everything that is left. */
  rest(): Uint8Array {
    return this.bytes("rest", this.remaining);
  }

  /** The next byte, which is not passed over; undefined at the end. */
  peek(): number | undefined {
    return this.remaining === 0 ? undefined : this.#octet(this.#offset);
  }

  skip(field: string, count: number): void {
    this.#take(field, count);
  }

  /** A reader bounded to the next `count` bytes, which this one passes over. */
  sub(field: string, count: number): ByteReader {
    const at = this.#take(field, count);
    return new ByteReader(this.#bytes, at, at + count);
  }

  /** Latin-1 text of `count` bytes, without trailing NULs. */
  latin1(field: string, count: number): string {
    return trimNul(Buffer.from(this.bytes(field, count)).toString("latin1"));
  }

  /** Text up to the next NUL, which is passed over. @throws MalformedFault without one */
  cString(field: string): string {
    const at = this.#bytes.indexOf(0, this.#offset);
    if (at < 0 || at >= this.#end) throw new MalformedFault(field, this.#offset, this.remaining + 1, this.remaining);
    const text = Buffer.from(this.#bytes.subarray(this.#offset, at)).toString("latin1");
    this.#offset = at + 1;
    return text;
  }

  expectEnd(field: string): void {
    if (this.remaining !== 0) {
      throw new MalformedFault(
        field,
        this.#offset,
        0,
        this.remaining,
        `${field}: ${this.remaining} bytes after its end`,
      );
    }
  }
}

function trimNul(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0) end -= 1;
  return text.slice(0, end);
}
