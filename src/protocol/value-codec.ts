import type { ByteReader } from "../core/byte-reader.ts";
import type { ByteWriter } from "../core/byte-writer.ts";

/** How the value of an option stands on the wire. `decode` gets a reader bounded to the value and must use all of it. */
export interface ValueCodec<T> {
  /** For documentation and for settings: how a person would name the form. */
  readonly form: string;
  /** Of the value on the wire, where all values have the same. */
  readonly size?: number;
  decode(reader: ByteReader, field: string): T;
  encode(value: T, writer: ByteWriter): void;
}

export type ValueOf<C> = C extends ValueCodec<infer T> ? T : never;

export const uint8: ValueCodec<number> = {
  form: "8-bit number",
  size: 1,
  decode: (reader, field) => reader.u8(field),
  encode: (value, writer) => writer.u8(value),
};

export const uint16: ValueCodec<number> = {
  form: "16-bit number",
  size: 2,
  decode: (reader, field) => reader.u16(field),
  encode: (value, writer) => writer.u16(value),
};

export const uint32: ValueCodec<number> = {
  form: "32-bit number",
  size: 4,
  decode: (reader, field) => reader.u32(field),
  encode: (value, writer) => writer.u32(value),
};

/** Present or absent, without a value. */
export const flag: ValueCodec<true> = {
  form: "nothing",
  size: 0,
  decode: () => true,
  encode: () => {},
};

export const rawBytes: ValueCodec<Uint8Array> = {
  form: "bytes",
  decode: (reader) => reader.rest(),
  encode: (value, writer) => writer.bytes(value),
};

/** Values of one form, one after the other; at least `least` of them. */
export function listOf<T>(item: ValueCodec<T>, least: 0 | 1 = 1): ValueCodec<readonly T[]> {
  return {
    form: `list of ${item.form}`,
    decode: (reader, field) => {
      const values: T[] = [];
      while (reader.remaining > 0 || values.length < least) values.push(item.decode(reader, field));
      return values;
    },
    encode: (values, writer) => {
      for (const value of values) item.encode(value, writer);
    },
  };
}
