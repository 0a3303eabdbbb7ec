import { Fault } from "./fault.ts";

/** Builds a structure from named fields, in order. Big-endian unless the name ends in LE. A value out of range is a bug. */
export class ByteWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacity = 576) {
    this.#buffer = Buffer.alloc(capacity);
  }

  get length(): number {
    return this.#length;
  }

  #grow(count: number): number {
    const at = this.#length;
    if (at + count > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, at + count));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#length += count;
    return at;
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#buffer.writeUInt8(value, at);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  u16LE(value: number): this {
    const at = this.#grow(2);
    this.#buffer.writeUInt16LE(value, at);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  u32LE(value: number): this {
    const at = this.#grow(4);
    this.#buffer.writeUInt32LE(value, at);
    return this;
  }

  i32(value: number): this {
    const at = this.#grow(4);
    this.#buffer.writeInt32BE(value, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#grow(8);
    this.#buffer.writeBigUInt64BE(value, at);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.length);
    this.#buffer.set(value, at);
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
    const value = Buffer.from(text, "latin1");
    if (value.length > width)
      throw new Fault("internal", "encode", `${field}: ${value.length} bytes do not fit in ${width}`);
    return this.bytes(value).zeroes(width - value.length);
  }

  /** Overwrites two bytes written earlier. */
  patchU16(at: number, value: number): this {
    this.#buffer.writeUInt16BE(value, at);
    return this;
  }

  toBytes(): Uint8Array {
    return new Uint8Array(this.#buffer.subarray(0, this.#length));
  }
}
