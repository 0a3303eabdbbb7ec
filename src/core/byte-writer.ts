import { Fault } from "./fault.ts";

/** Up to so many bytes V8 keeps within the object; each larger array is memory of its own, which the collector must give back. */
const SMALL = 64;
const CHUNK = 65_536;

let chunk = new Uint8Array(0);
let chunkUsed = 0;

/** Zeroes that nobody else has, cut out of a larger piece. */
function fromChunk(size: number): Uint8Array {
  if (size > CHUNK / 8) return new Uint8Array(size);
  if (chunkUsed + size > chunk.length) {
    chunk = new Uint8Array(CHUNK);
    chunkUsed = 0;
  }
  chunkUsed += size;
  return chunk.subarray(chunkUsed - size, chunkUsed);
}

/** Builds a structure from named fields, in order. Big-endian unless the name ends in LE. A value out of range is a bug. */
export class ByteWriter {
  // Not a Buffer: to make one, and to cut one, costs several times as much.
  #bytes: Uint8Array;
  #length = 0;

  constructor(capacity = 576) {
    this.#bytes = capacity > SMALL ? fromChunk(capacity) : new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  #grow(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const larger = fromChunk(Math.max(this.#bytes.length * 2, at + count));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#length += count;
    return at;
  }

  #octets(value: number, least: number, most: number, count: number): number {
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new RangeError(`${value} does not fit in ${count} bytes`);
    }
    return this.#grow(count);
  }

  #word(at: number, value: number): void {
    this.#bytes[at] = value >>> 24;
    this.#bytes[at + 1] = value >>> 16;
    this.#bytes[at + 2] = value >>> 8;
    this.#bytes[at + 3] = value;
  }

  u8(value: number): this {
    const at = this.#octets(value, 0, 0xff, 1);
    this.#bytes[at] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.#octets(value, 0, 0xffff, 2);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  u16LE(value: number): this {
    const at = this.#octets(value, 0, 0xffff, 2);
    this.#bytes[at] = value;
    this.#bytes[at + 1] = value >>> 8;
    return this;
  }

  u32(value: number): this {
    this.#word(this.#octets(value, 0, 0xffffffff, 4), value);
    return this;
  }

  u32LE(value: number): this {
    const at = this.#octets(value, 0, 0xffffffff, 4);
    for (let octet = 0; octet < 4; octet += 1) this.#bytes[at + octet] = value >>> (8 * octet);
    return this;
  }

  i32(value: number): this {
    this.#word(this.#octets(value, -0x80000000, 0x7fffffff, 4), value);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError(`${value} does not fit in 8 bytes`);
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffffffffn));
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  zeroes(count: number): this {
    this.#grow(count);
    return this;
  }

  /** Latin-1 text without a terminator. */
  latin1(text: string): this {
    return this.bytes(Buffer.from(text, "latin1"));
  }

  cString(text: string): this {
    return this.latin1(text).u8(0);
  }

  /** Text in a field of `width` bytes, filled with NUL. @throws Fault internal when it does not fit */
  fixed(field: string, text: string, width: number): this {
    if (text === "") return this.zeroes(width);
    const value = Buffer.from(text, "latin1");
    if (value.length > width)
      throw new Fault("internal", "encode", `${field}: ${value.length} bytes do not fit in ${width}`);
    return this.bytes(value).zeroes(width - value.length);
  }

  /** Overwrites two bytes written earlier. */
  patchU16(at: number, value: number): this {
    if (!Number.isInteger(value) || value < 0 || value > 0xffff || at < 0 || at + 2 > this.#length) {
      throw new RangeError(`${value} cannot be written at ${at}`);
    }
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value;
    return this;
  }

  toBytes(): Uint8Array {
    // A writer of just the right size gives its bytes away; what is written afterwards would be seen in them.
    return this.#length === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.#length);
  }
}
