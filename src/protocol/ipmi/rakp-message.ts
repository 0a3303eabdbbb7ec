import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { wrong } from "./rmcp.ts";
import { MAX_USERNAME } from "./rakp-keys.ts";

/** @source IPMI 2.0 §13.20, table 13-11 */
export interface Rakp1 {
  readonly tag: number;
  readonly managedSessionId: number;
  /** 16 bytes */
  readonly consoleRandom: Uint8Array;
  /** Bits 3:0 the privilege level; bit 4: look the user up by name alone. */
  readonly role: number;
  readonly username: Uint8Array;
}

/** @source IPMI 2.0 §13.21, table 13-12 */
export type Rakp2 =
  | { readonly kind: "refused"; readonly tag: number; readonly status: number; readonly consoleSessionId: number }
  | {
      readonly kind: "accepted";
      readonly tag: number;
      readonly consoleSessionId: number;
      /** 16 bytes */
      readonly managedRandom: Uint8Array;
      /** 16 bytes */
      readonly managedGuid: Uint8Array;
      readonly code: Uint8Array;
    };

/** @source IPMI 2.0 §13.22, table 13-13 */
export interface Rakp3 {
  readonly tag: number;
  /** Other than 0, it tells the BMC to forget the session, and there is no code. */
  readonly status: number;
  readonly managedSessionId: number;
  readonly code: Uint8Array;
}

/** @source IPMI 2.0 §13.23, table 13-14 */
export interface Rakp4 {
  readonly tag: number;
  readonly status: number;
  readonly consoleSessionId: number;
  readonly code: Uint8Array;
}

export function encodeRakp1(message: Rakp1): Uint8Array {
  return new ByteWriter(44)
    .u8(message.tag)
    .zeroes(3)
    .u32LE(message.managedSessionId)
    .bytes(message.consoleRandom)
    .u8(message.role)
    .zeroes(2)
    .u8(message.username.length)
    .bytes(message.username)
    .toBytes();
}

export function decodeRakp1(bytes: Uint8Array): Rakp1 {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("rakp1.tag");
  reader.skip("rakp1.reserved", 3);
  const managedSessionId = reader.u32LE("rakp1.managedSessionId");
  const consoleRandom = reader.bytes("rakp1.consoleRandom", 16);
  const role = reader.u8("rakp1.role");
  reader.skip("rakp1.reserved", 2);
  const length = reader.u8("rakp1.usernameLength");
  if (length > MAX_USERNAME) throw wrong("rakp1.usernameLength", 27, `is ${length}, more than ${MAX_USERNAME}`);
  const username = reader.bytes("rakp1.username", length);
  reader.expectEnd("rakp1");
  return { tag, managedSessionId, consoleRandom, role, username };
}

export function decodeRakp2(bytes: Uint8Array, codeLength: number): Rakp2 {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("rakp2.tag");
  const status = reader.u8("rakp2.status");
  reader.skip("rakp2.reserved", 2);
  const consoleSessionId = reader.u32LE("rakp2.consoleSessionId");
  // Some BMCs send the remaining fields, filled with anything, after an error too.
  if (status !== 0) return { kind: "refused", tag, status, consoleSessionId };
  const managedRandom = reader.bytes("rakp2.managedRandom", 16);
  const managedGuid = reader.bytes("rakp2.managedGuid", 16);
  const code = reader.bytes("rakp2.code", codeLength);
  reader.expectEnd("rakp2");
  return { kind: "accepted", tag, consoleSessionId, managedRandom, managedGuid, code };
}

export function encodeRakp2(message: Rakp2): Uint8Array {
  const writer = new ByteWriter(80)
    .u8(message.tag)
    .u8(message.kind === "refused" ? message.status : 0)
    .zeroes(2);
  writer.u32LE(message.consoleSessionId);
  if (message.kind === "accepted") writer.bytes(message.managedRandom).bytes(message.managedGuid).bytes(message.code);
  return writer.toBytes();
}

export function encodeRakp3(message: Rakp3): Uint8Array {
  return new ByteWriter(40)
    .u8(message.tag)
    .u8(message.status)
    .zeroes(2)
    .u32LE(message.managedSessionId)
    .bytes(message.code)
    .toBytes();
}

export function decodeRakp3(bytes: Uint8Array): Rakp3 {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("rakp3.tag");
  const status = reader.u8("rakp3.status");
  reader.skip("rakp3.reserved", 2);
  return { tag, status, managedSessionId: reader.u32LE("rakp3.managedSessionId"), code: reader.rest() };
}

export function decodeRakp4(bytes: Uint8Array): Rakp4 {
  const reader = new ByteReader(bytes);
  const tag = reader.u8("rakp4.tag");
  const status = reader.u8("rakp4.status");
  reader.skip("rakp4.reserved", 2);
  return { tag, status, consoleSessionId: reader.u32LE("rakp4.consoleSessionId"), code: reader.rest() };
}

export function encodeRakp4(message: Rakp4): Uint8Array {
  return new ByteWriter(40)
    .u8(message.tag)
    .u8(message.status)
    .zeroes(2)
    .u32LE(message.consoleSessionId)
    .bytes(message.code)
    .toBytes();
}
