import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { decodeRmcp, encodeRmcp, wrong } from "./rmcp.ts";

/** The authentication type that says: this is an RMCP+ header. @source IPMI 2.0 table 13-8 */
const RMCP_PLUS = 0x06;
/** @source IPMI 2.0 table 13-8: "next header" is always 07h */
const NEXT_HEADER = 0x07;

/** @source IPMI 2.0 table 13-16 */
export const payloadTypes = {
  ipmi: 0x00,
  sol: 0x01,
  "open-session-request": 0x10,
  "open-session-response": 0x11,
  "rakp-1": 0x12,
  "rakp-2": 0x13,
  "rakp-3": 0x14,
  "rakp-4": 0x15,
} as const;

export type PayloadType = keyof typeof payloadTypes;

const payloadNames: ReadonlyMap<number, PayloadType> = new Map(
  (Object.keys(payloadTypes) as PayloadType[]).map((name) => [payloadTypes[name], name]),
);

/** A packet outside a session in the form of IPMI 1.5, which asks for a BMC's abilities before a session exists. */
export interface PlainPacket {
  readonly kind: "1.5";
  readonly sequence: number;
  readonly sessionId: number;
  readonly payload: Uint8Array;
}

/** An RMCP+ packet. Its payload is as on the wire: encrypted where `encrypted` says so. */
export interface SessionPacket {
  readonly kind: "2.0";
  readonly type: PayloadType;
  readonly encrypted: boolean;
  readonly sessionId: number;
  /** 0 outside a session. */
  readonly sequence: number;
  readonly payload: Uint8Array;
  /** Present if the packet is authenticated. */
  readonly trailer?: { readonly pad: number; readonly code: Uint8Array };
}

/**
 * Decodes an RMCP datagram of class IPMI. `codeLength` is the length of the session's integrity code.
 * @source IPMI 2.0 table 13-8
 */
export function decodeSessionPacket(bytes: Uint8Array, codeLength: number): PlainPacket | SessionPacket {
  const packet = decodeRmcp(bytes);
  if (packet.class !== "ipmi") throw wrong("rmcp.class", 3, "is not IPMI");
  const reader = new ByteReader(packet.body);
  const format = reader.u8("session.authType");
  if (format === 0) return decodePlain(reader);
  if (format !== RMCP_PLUS) throw wrong("session.authType", 0, `${format} is neither none nor RMCP+`);

  const typeByte = reader.u8("session.payloadType");
  const type = payloadNames.get(typeByte & 0x3f);
  if (type === undefined) throw wrong("session.payloadType", 1, `0x${(typeByte & 0x3f).toString(16)} is not known`);
  const encrypted = (typeByte & 0x80) !== 0;
  const authenticated = (typeByte & 0x40) !== 0;
  const sessionId = reader.u32LE("session.id");
  const sequence = reader.u32LE("session.sequence");
  const payload = reader.bytes("session.payload", reader.u16LE("session.payloadLength"));
  if (!authenticated) {
    reader.expectEnd("session");
    return { kind: "2.0", type, encrypted, sessionId, sequence, payload };
  }
  const padding = reader.remaining - 2 - codeLength;
  for (const byte of reader.bytes("session.integrityPad", padding)) {
    if (byte !== 0xff) throw wrong("session.integrityPad", reader.offset, "is not FFh");
  }
  const pad = reader.u8("session.padLength");
  if (pad !== padding) throw wrong("session.padLength", reader.offset - 1, `is ${pad}, but ${padding} bytes are there`);
  const next = reader.u8("session.nextHeader");
  if (next !== NEXT_HEADER) throw wrong("session.nextHeader", reader.offset - 1, `is ${next}, not ${NEXT_HEADER}`);
  return {
    kind: "2.0",
    type,
    encrypted,
    sessionId,
    sequence,
    payload,
    trailer: { pad, code: reader.bytes("session.code", codeLength) },
  };
}

/*
 * +----------+---------+----+-----+--------+-------------+---------- -+-------+-----+-----------+
 * | RMCP     | authType| session  | session| auth code   | length u8  | payload                 |   IPMI 1.5
 * | 4 bytes  | = 0     | seq  u32 | id u32 | (absent)    |            |                         |
 * +----------+---------+----------+--------+-------------+------------+-------------------------+
 */
function decodePlain(reader: ByteReader): PlainPacket {
  const sequence = reader.u32LE("session.sequence");
  const sessionId = reader.u32LE("session.id");
  const payload = reader.bytes("session.payload", reader.u8("session.payloadLength"));
  // One byte may follow: the "legacy pad" that keeps some packet lengths off the wire. @source IPMI 2.0 table 13-8
  if (reader.remaining === 1) reader.skip("session.legacyPad", 1);
  reader.expectEnd("session");
  return { kind: "1.5", sequence, sessionId, payload };
}

export function encodePlainPacket(packet: Omit<PlainPacket, "kind">): Uint8Array {
  const body = new ByteWriter(10 + packet.payload.length)
    .u8(0)
    .u32LE(packet.sequence)
    .u32LE(packet.sessionId)
    .u8(packet.payload.length)
    .bytes(packet.payload)
    .toBytes();
  return encodeRmcp({ class: "ipmi", body });
}

/*
 * +--------+-----------+---------------+---------+---------+----------+---------+---- -+-----+------+------------+
 * | RMCP   | authType  | E|A| payload  | session | session | length   | payload | FFh…  | pad | next | code       |
 * |        | = 06h     | 7 6  type 5:0 | id  u32 | seq u32 | u16      |         | 0..3  | len | 07h  | 12 or 16   |
 * +--------+-----------+---------------+---------+---------+----------+---------+-------+-----+------+------------+
 *          \__________________ the code covers these, a multiple of four bytes _________________________/
 */

/** An RMCP+ packet; `sign` computes the integrity code of the covered bytes, and without it the packet is not authenticated. */
export function encodeSessionPacket(
  packet: Pick<SessionPacket, "type" | "encrypted" | "sessionId" | "sequence" | "payload">,
  sign?: (covered: Uint8Array) => Uint8Array,
): Uint8Array {
  const flags = (packet.encrypted ? 0x80 : 0) | (sign === undefined ? 0 : 0x40);
  const writer = new ByteWriter(48 + packet.payload.length)
    .u8(RMCP_PLUS)
    .u8(flags | payloadTypes[packet.type])
    .u32LE(packet.sessionId)
    .u32LE(packet.sequence)
    .u16LE(packet.payload.length)
    .bytes(packet.payload);
  if (sign === undefined) return encodeRmcp({ class: "ipmi", body: writer.toBytes() });
  const pad = (4 - ((writer.length + 2) % 4)) % 4;
  for (let count = 0; count < pad; count += 1) writer.u8(0xff);
  writer.u8(pad).u8(NEXT_HEADER);
  writer.bytes(sign(writer.toBytes()));
  return encodeRmcp({ class: "ipmi", body: writer.toBytes() });
}

/** The bytes of an authenticated datagram that its integrity code covers. */
export function coveredBytes(datagram: Uint8Array, codeLength: number): Uint8Array {
  return datagram.subarray(4, datagram.length - codeLength);
}
