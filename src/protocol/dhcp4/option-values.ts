import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "../../core/brand.ts";
import { Fault, MalformedFault } from "../../core/fault.ts";
import { listOf, uint16, uint8, type ValueCodec } from "../value-codec.ts";
import { type MessageType, isMessageType, messageTypeFromCode, messageTypes } from "./message-type.ts";

export const int32: ValueCodec<number> = {
  form: "signed 32-bit number",
  size: 4,
  decode: (reader, field) => reader.i32(field),
  encode: (value, writer) => writer.i32(value),
};

/** 0 or 1; any other value is malformed. */
export const boolean: ValueCodec<boolean> = {
  form: "true or false",
  size: 1,
  decode: (reader, field) => {
    const value = reader.u8(field);
    if (value > 1) throw new MalformedFault(field, reader.offset - 1, 1, 1, `${field}: ${value} is neither 0 nor 1`);
    return value === 1;
  },
  encode: (value, writer) => writer.u8(value ? 1 : 0),
};

export const ipv4: ValueCodec<Ipv4Address> = {
  form: "IPv4 address",
  size: 4,
  decode: (reader, field) => ipv4FromNumber(reader.u32(field)),
  encode: (value, writer) => writer.u32(ipv4ToNumber(value)),
};

/** Latin-1 text; NULs at the end, which some clients send and RFC 2132 §2 tells receivers to trim, are not part of it. */
export const text: ValueCodec<string> = {
  form: "text",
  decode: (reader, field) => reader.latin1(field, reader.remaining),
  encode: (value, writer) => writer.latin1(value),
};

/** Bytes of which there must be at least `least`. */
export function bytesOfAtLeast(least: number): ValueCodec<Uint8Array> {
  return {
    form: `at least ${least} bytes`,
    decode: (reader, field) => {
      if (reader.remaining < least) throw new MalformedFault(field, reader.offset, least, reader.remaining);
      return reader.rest();
    },
    encode: (value, writer) => writer.bytes(value),
  };
}

export const uint8List = listOf(uint8);
export const uint16List = listOf(uint16);
export const ipv4List = listOf(ipv4);
export const ipv4ListOrNone = listOf(ipv4, 0);

export interface Ipv4Pair {
  readonly first: Ipv4Address;
  readonly second: Ipv4Address;
}

const ipv4Pair: ValueCodec<Ipv4Pair> = {
  form: "pair of IPv4 addresses",
  decode: (reader, field) => ({ first: ipv4.decode(reader, field), second: ipv4.decode(reader, field) }),
  encode: (value, writer) => {
    ipv4.encode(value.first, writer);
    ipv4.encode(value.second, writer);
  },
};

export const ipv4PairList = listOf(ipv4Pair);

export const messageTypeValue: ValueCodec<MessageType> = {
  form: "DHCP message type",
  decode: (reader, field) => {
    const code = reader.u8(field);
    const type = messageTypeFromCode(code);
    if (type === undefined)
      throw new MalformedFault(field, reader.offset - 1, 1, 1, `${field}: ${code} is no message type`);
    return type;
  },
  encode: (value, writer) => {
    if (!isMessageType(value)) throw new Fault("internal", "encode", `${String(value)} is no DHCP message type`);
    writer.u8(messageTypes[value].code);
  },
};

export interface ClasslessRoute {
  readonly destination: Ipv4Address;
  readonly prefixLength: number;
  readonly router: Ipv4Address;
}

/**
 * Routes with a prefix length and only as many octets of the destination as it needs.
 * @source RFC 3442 "Classless Route Option Format"
 */
const classlessRoute: ValueCodec<ClasslessRoute> = {
  form: "route",
  decode: (reader, field) => {
    const prefixLength = reader.u8(field);
    if (prefixLength > 32) {
      throw new MalformedFault(field, reader.offset - 1, 1, 1, `${field}: prefix length ${prefixLength} is over 32`);
    }
    let destination = 0;
    const octets = Math.ceil(prefixLength / 8);
    for (let at = 0; at < octets; at += 1) destination += reader.u8(field) * 2 ** (24 - 8 * at);
    return { destination: ipv4FromNumber(destination), prefixLength, router: ipv4.decode(reader, field) };
  },
  encode: (value, writer) => {
    writer.u8(value.prefixLength);
    const destination = ipv4ToNumber(value.destination);
    for (let at = 0; at < Math.ceil(value.prefixLength / 8); at += 1) {
      writer.u8(Math.floor(destination / 2 ** (24 - 8 * at)) & 255);
    }
    ipv4.encode(value.router, writer);
  },
};

export const classlessRouteList = listOf(classlessRoute);

/** A name of at most 255 octets in the form of RFC 1035 §3.1; pointers go back into the same option (RFC 3397 §2). */
export const domainNameList: ValueCodec<readonly string[]> = {
  form: "list of domain names",
  decode: (reader, field) => {
    const value = reader.rest();
    const names: string[] = [];
    let at = 0;
    while (at < value.length) {
      const { name, next } = decodeName(value, at, field);
      names.push(name);
      at = next;
    }
    if (names.length === 0) throw new MalformedFault(field, reader.offset, 1, 0);
    return names;
  },
  encode: (names, writer) => {
    for (const name of names) {
      for (const label of name.split(".").filter((part) => part !== "")) {
        if (label.length > 63) throw new Fault("invalid", "invalid", `"${label}" is longer than 63 octets`);
        writer.u8(label.length).latin1(label);
      }
      writer.u8(0);
    }
  },
};

function decodeName(value: Uint8Array, start: number, field: string): { readonly name: string; readonly next: number } {
  const labels: string[] = [];
  let at = start;
  let next: number | undefined;
  let length = 0;
  for (;;) {
    const octet = value[at];
    if (octet === undefined) throw new MalformedFault(field, at, 1, 0);
    if ((octet & 0xc0) === 0xc0) {
      const low = value[at + 1];
      if (low === undefined) throw new MalformedFault(field, at + 1, 1, 0);
      const target = (octet & 0x3f) * 256 + low;
      // Only backwards, so that no chain of pointers can go round.
      if (target >= at) throw new MalformedFault(field, at, 2, 2, `${field}: a name points forward`);
      next ??= at + 2;
      at = target;
      length += 1; // a bound also on names made of pointers alone
    } else if (octet === 0) {
      return { name: labels.join("."), next: next ?? at + 1 };
    } else if (octet > 63) {
      throw new MalformedFault(field, at, 1, 1, `${field}: label type ${octet >> 6} is not known`);
    } else {
      if (at + 1 + octet > value.length) throw new MalformedFault(field, at + 1, octet, value.length - at - 1);
      labels.push(Buffer.from(value.subarray(at + 1, at + 1 + octet)).toString("latin1"));
      at += 1 + octet;
      length += 1 + octet;
    }
    if (length > 255) throw new MalformedFault(field, start, 255, length, `${field}: a name of over 255 octets`);
  }
}

/** The parts of a value that was split. @source RFC 3396 §7 */
export function joined(before: Uint8Array, value: Uint8Array): Uint8Array {
  const whole = new Uint8Array(before.length + value.length);
  whole.set(before);
  whole.set(value, before.length);
  return whole;
}

/** Options within an option: code, length, value; in the order of the wire. */
export type SubOptions = ReadonlyMap<number, Uint8Array>;

/**
 * Encapsulated options. With `terminated`, PAD (0) and END (255) have the meaning they have outside (RFC 2132 §8.4); without,
 * every code is a code (RFC 3046 §2.0).
 */
export function subOptions(rules: { readonly terminated: boolean }): ValueCodec<SubOptions> {
  return {
    form: "options within an option",
    decode: (reader, field) => {
      const found = new Map<number, Uint8Array>();
      while (reader.remaining > 0) {
        const code = reader.u8(field);
        if (rules.terminated && code === 0) continue;
        if (rules.terminated && code === 255) {
          reader.skip(field, reader.remaining);
          break;
        }
        const value = reader.bytes(`${field}.${code}`, reader.u8(`${field}.${code}.length`));
        const before = found.get(code);
        found.set(code, before === undefined ? value : joined(before, value));
      }
      return found;
    },
    encode: (value, writer) => {
      for (const [code, bytes] of value) {
        for (let at = 0; at === 0 || at < bytes.length; at += 255) {
          const part = bytes.subarray(at, at + 255);
          writer.u8(code).u8(part.length).bytes(part);
        }
      }
      if (rules.terminated) writer.u8(255);
    },
  };
}
