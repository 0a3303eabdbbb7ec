import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "../../core/brand.ts";
import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { MalformedFault } from "../../core/fault.ts";
import { joined } from "./option-values.ts";
import { END, PAD, dhcpOptions, type OptionBytes } from "./options.ts";

/*
    0                   1                   2                   3
    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
   +---------------+---------------+---------------+---------------+
   |     op (1)    |   htype (1)   |   hlen (1)    |   hops (1)    |
   +---------------+---------------+---------------+---------------+
   |                            xid (4)                            |
   +-------------------------------+-------------------------------+
   |           secs (2)            |           flags (2)           |
   +-------------------------------+-------------------------------+
   |        ciaddr (4), yiaddr (4), siaddr (4), giaddr (4)         |
   +---------------------------------------------------------------+
   |         chaddr (16), sname (64), file (128), options          |
   +---------------------------------------------------------------+
*/
/** A BOOTP or DHCP message. @source RFC 2131 §2 */
export interface Dhcp4Message {
  readonly op: "request" | "reply";
  readonly htype: number;
  readonly hops: number;
  readonly xid: number;
  readonly secs: number;
  readonly broadcast: boolean;
  readonly ciaddr: Ipv4Address;
  readonly yiaddr: Ipv4Address;
  readonly siaddr: Ipv4Address;
  readonly giaddr: Ipv4Address;
  /** `hlen` bytes of the hardware address; 6 for Ethernet, 0 for InfiniBand (RFC 4390 §2.1). */
  readonly chaddr: Uint8Array;
  /** Latin-1, up to the first NUL; empty when the field carries options (52). */
  readonly sname: string;
  readonly file: string;
  readonly options: OptionBytes;
}

export const UNSPECIFIED = "0.0.0.0" as Ipv4Address;

const FIXED_SIZE = 236;
const COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;
const CHADDR_SIZE = 16;
const SNAME_SIZE = 64;
const FILE_SIZE = 128;
/** What every BOOTP client can receive, and what relays drop below. @source RFC 1542 §2.1; RFC 951 §3 */
const BOOTP_SIZE = 300;
/** A client takes a datagram of 576 bytes whatever it says: less the headers of IP and UDP. @source RFC 2131 §2 */
const DEFAULT_MAXIMUM = 548;

/** @throws MalformedFault naming the field */
export function decodeMessage(bytes: Uint8Array): Dhcp4Message {
  const reader = new ByteReader(bytes);
  const op = reader.u8("op");
  if (op !== 1 && op !== 2)
    throw new MalformedFault("op", 0, 1, bytes.length, `op: ${op} is neither BOOTREQUEST nor BOOTREPLY`);
  const htype = reader.u8("htype");
  const hlen = reader.u8("hlen");
  if (hlen > CHADDR_SIZE)
    throw new MalformedFault("hlen", 2, hlen, CHADDR_SIZE, `hlen: ${hlen} is over ${CHADDR_SIZE}`);
  const hops = reader.u8("hops");
  const xid = reader.u32("xid");
  const secs = reader.u16("secs");
  const flags = reader.u16("flags");
  const ciaddr = ipv4FromNumber(reader.u32("ciaddr"));
  const yiaddr = ipv4FromNumber(reader.u32("yiaddr"));
  const siaddr = ipv4FromNumber(reader.u32("siaddr"));
  const giaddr = ipv4FromNumber(reader.u32("giaddr"));
  const chaddr = reader.bytes("chaddr", hlen);
  reader.skip("chaddr", CHADDR_SIZE - hlen);
  const sname = reader.sub("sname", SNAME_SIZE);
  const file = reader.sub("file", FILE_SIZE);
  const options = new Map<number, Uint8Array>();
  let overload = 0;
  // RFC 951 allowed other contents here; what does not begin with the cookie has no options (RFC 2131 §3).
  if (reader.remaining >= 4 && reader.u32("cookie") === COOKIE) {
    decodeArea(reader, options);
    // Option 52 is honoured only in the options field (RFC 2131 §4.1).
    overload = overloadOf(options);
    if ((overload & 1) !== 0) decodeArea(file, options);
    if ((overload & 2) !== 0) decodeArea(sname, options);
  }
  return {
    op: op === 1 ? "request" : "reply",
    htype,
    hops,
    xid,
    secs,
    broadcast: (flags & BROADCAST_FLAG) !== 0,
    ciaddr,
    yiaddr,
    siaddr,
    giaddr,
    chaddr,
    sname: (overload & 2) !== 0 ? "" : textOf(sname, "sname"),
    file: (overload & 1) !== 0 ? "" : textOf(file, "file"),
    options,
  };
}

function overloadOf(options: OptionBytes): number {
  const value = options.get(dhcpOptions.overload.code);
  if (value === undefined) return 0;
  const which = value[0];
  if (value.length !== 1 || which === undefined || which < 1 || which > 3) {
    throw new MalformedFault("overload", 0, 1, value.length, "overload: neither 1, 2 nor 3");
  }
  return which;
}

function textOf(field: ByteReader, name: string): string {
  if (field.peek() === 0) return ""; // as nearly always
  const bytes = field.bytes(name, field.remaining);
  const value = Buffer.from(bytes).toString("latin1");
  const end = value.indexOf("\0");
  return end < 0 ? value : value.slice(0, end);
}

const fieldNames = Array.from({ length: 256 }, (_, code) => `option ${code}`);

/** Adds the options of one area. Parts of an option that was split are joined in the order of the areas (RFC 3396 §7). */
function decodeArea(reader: ByteReader, options: Map<number, Uint8Array>): void {
  while (reader.remaining > 0) {
    const code = reader.u8("option");
    if (code === PAD) continue;
    if (code === END) return;
    const field = fieldNames[code] ?? "option";
    const value = reader.bytes(field, reader.u8(field));
    const before = options.get(code);
    options.set(code, before === undefined ? value : joined(before, value));
  }
  // A missing END is an error of RFC 2131 §4.1, but old clients end with the datagram; nothing was misread.
}

export interface EncodeRules {
  /** Codes to be written first, in this order; the others follow by rising code. */
  readonly order?: readonly number[];
  readonly minimumSize?: number;
  /** Of the UDP payload; what does not fit goes into `file` and `sname` when they are empty (option 52), then is left out. */
  readonly maximumSize?: number;
}

export interface Encoded {
  readonly bytes: Uint8Array;
  /** Codes for which there was no room. */
  readonly omitted: readonly number[];
}

/** A message but for its options. */
export type Dhcp4Header = Omit<Dhcp4Message, "options">;

/** The message on the wire, END and padding to the least size of BOOTP included. The same message gives the same bytes. */
export function encodeMessage(message: Dhcp4Message, rules: EncodeRules = {}): Encoded {
  const maximum = Math.max(rules.maximumSize ?? DEFAULT_MAXIMUM, BOOTP_SIZE);
  const room = maximum - FIXED_SIZE - 4 - 1;
  const order = orderOf(message.options, rules.order ?? []);
  const packed = pack(message, order, room);
  const least = rules.minimumSize ?? BOOTP_SIZE;
  const writer = new ByteWriter(Math.max(least, FIXED_SIZE + 5 + packed.size));
  writeHeader(writer, message, packed);
  if (packed.main !== null) writer.bytes(packed.main);
  else for (const code of order) writeOption(writer, code, message.options.get(code));
  return { bytes: finish(writer, least), omitted: packed.omitted };
}

/**
 * Options one after the other, as they stand in the options field; the order is that of `encodeMessage`. For what many
 * messages have in common.
 */
export function encodeOptionsField(options: OptionBytes, first: readonly number[]): Uint8Array {
  const writer = new ByteWriter();
  for (const code of orderOf(options, first)) writeOption(writer, code, options.get(code));
  return Uint8Array.from(writer.toBytes());
}

/**
 * A message whose options are `field`, encoded before, and `more` behind it; undefined when they are too many for
 * `maximumSize`, where `encodeMessage` knows what to do.
 */
export function encodeWithField(
  header: Dhcp4Header,
  field: Uint8Array,
  more: readonly (readonly [code: number, value: Uint8Array])[],
  maximumSize: number,
): Uint8Array | undefined {
  let size = FIXED_SIZE + 5 + field.length;
  for (const [, value] of more) size += sizeOf(value.length);
  if (size > Math.max(maximumSize, BOOTP_SIZE)) return undefined;
  const writer = new ByteWriter(Math.max(BOOTP_SIZE, size));
  writeHeader(writer, header, notOverloaded);
  writer.bytes(field);
  for (const [code, value] of more) writeOption(writer, code, value);
  return finish(writer, BOOTP_SIZE);
}

const notOverloaded = { sname: null, file: null };

function writeHeader(writer: ByteWriter, message: Dhcp4Header, packed: Pick<Packed, "sname" | "file">): void {
  writer
    .u8(message.op === "request" ? 1 : 2)
    .u8(message.htype)
    .u8(message.chaddr.length)
    .u8(message.hops)
    .u32(message.xid)
    .u16(message.secs)
    .u16(message.broadcast ? BROADCAST_FLAG : 0)
    .u32(ipv4ToNumber(message.ciaddr))
    .u32(ipv4ToNumber(message.yiaddr))
    .u32(ipv4ToNumber(message.siaddr))
    .u32(ipv4ToNumber(message.giaddr))
    .bytes(message.chaddr)
    .zeroes(CHADDR_SIZE - message.chaddr.length);
  if (packed.sname === null) writer.fixed("sname", message.sname, SNAME_SIZE);
  else
    writer
      .bytes(packed.sname)
      .u8(END)
      .zeroes(SNAME_SIZE - packed.sname.length - 1);
  if (packed.file === null) writer.fixed("file", message.file, FILE_SIZE);
  else
    writer
      .bytes(packed.file)
      .u8(END)
      .zeroes(FILE_SIZE - packed.file.length - 1);
  writer.u32(COOKIE);
}

function finish(writer: ByteWriter, least: number): Uint8Array {
  writer.u8(END);
  if (writer.length < least) writer.zeroes(least - writer.length);
  return writer.toBytes();
}

const RELAY_AGENT_INFORMATION = dhcpOptions.relayAgentInformation.code;
const OVERLOAD = dhcpOptions.overload.code;

/** Codes that are in the order already; empty between calls. Not a Set: this runs for every answer. */
const placed = new Uint8Array(256);

/** Asked-for order first, then rising codes; relay agent information last (RFC 3046 §2.1). */
function orderOf(options: OptionBytes, first: readonly number[]): readonly number[] {
  const order: number[] = [];
  const place = (code: number): void => {
    // Option 52 is written where it is true, and 82 at the end.
    if (placed[code] === 1 || code === OVERLOAD || code === RELAY_AGENT_INFORMATION) return;
    placed[code] = 1;
    order.push(code);
  };
  for (const code of first) if (options.has(code)) place(code);
  const asked = order.length;
  for (const code of options.keys()) place(code);
  for (const code of order) placed[code] = 0;
  if (order.length - asked > 1) order.push(...order.splice(asked).sort((a, b) => a - b));
  if (options.has(RELAY_AGENT_INFORMATION)) order.push(RELAY_AGENT_INFORMATION);
  return order;
}

interface Packed {
  /** Of what stands in the options field. */
  readonly size: number;
  /** null: every option, in order. */
  readonly main: Uint8Array | null;
  readonly file: Uint8Array | null;
  readonly sname: Uint8Array | null;
  readonly omitted: readonly number[];
}

function pack(message: Dhcp4Message, order: readonly number[], room: number): Packed {
  let total = 0;
  for (const code of order) total += sizeOf(message.options.get(code)?.length ?? 0);
  if (total <= room) return { size: total, main: null, file: null, sname: null, omitted: [] };
  // Whole options only, each in the first area with room, so that none depends on joining (RFC 3396 §8 allows it).
  const main = new Area(room - 3);
  const file = message.file === "" ? new Area(FILE_SIZE - 1) : null;
  const sname = message.sname === "" ? new Area(SNAME_SIZE - 1) : null;
  const omitted: number[] = [];
  // Relays look for their option in the options field only: it gets its room before the others are placed.
  const relay = message.options.get(RELAY_AGENT_INFORMATION);
  if (relay !== undefined) main.reserve(sizeOf(relay.length));
  for (const code of order) {
    const value = message.options.get(code);
    if (value === undefined) continue;
    if (code === RELAY_AGENT_INFORMATION) main.add(code, value, true);
    else if (!main.add(code, value) && !(file?.add(code, value) ?? false) && !(sname?.add(code, value) ?? false))
      omitted.push(code);
  }
  const overload = (file?.used === true ? 1 : 0) + (sname?.used === true ? 2 : 0);
  const head = new ByteWriter(room);
  // After the message type, which clients expect first, comes where to look for the rest.
  if (overload !== 0) head.u8(OVERLOAD).u8(1).u8(overload);
  head.bytes(main.toBytes());
  return {
    size: head.length,
    main: head.toBytes(),
    file: file?.used === true ? file.toBytes() : null,
    sname: sname?.used === true ? sname.toBytes() : null,
    omitted,
  };
}

class Area {
  readonly #writer = new ByteWriter();
  #room: number;

  constructor(room: number) {
    this.#room = room;
  }

  get used(): boolean {
    return this.#writer.length > 0;
  }

  reserve(count: number): void {
    this.#room -= count;
  }

  add(code: number, value: Uint8Array, reserved = false): boolean {
    const size = sizeOf(value.length);
    if (!reserved && size > this.#room) return false;
    if (!reserved) this.#room -= size;
    writeOption(this.#writer, code, value);
    return true;
  }

  toBytes(): Uint8Array {
    return this.#writer.toBytes();
  }
}

function sizeOf(length: number): number {
  return length + 2 * Math.max(1, Math.ceil(length / 255));
}

/** Over 255 bytes: one after the other under the same code. @source RFC 3396 §6 */
function writeOption(writer: ByteWriter, code: number, value: Uint8Array | undefined): void {
  if (value === undefined) return;
  if (value.length <= 255) {
    writer.u8(code).u8(value.length).bytes(value);
    return;
  }
  for (let at = 0; at < value.length; at += 255) {
    const part = value.subarray(at, at + 255);
    writer.u8(code).u8(part.length).bytes(part);
  }
}
