import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { MalformedFault } from "../../core/fault.ts";
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../../core/ipv6-address.ts";
import {
  type ClientServerType,
  clientServerTypeOf,
  clientServerTypes,
  type RelayType,
  relayTypeOf,
  relayTypes,
} from "./message-type.ts";
import { type RawOption, readRawOptions, writeRawOptions } from "./raw-options.ts";

/**
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *  |    msg-type   |               transaction-id                  |
 *  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *  |                            options                            |
 *
 * @source RFC 8415 §8
 */
export interface ClientServerMessage {
  readonly kind: "client-server";
  readonly type: ClientServerType;
  /** 24 bits. */
  readonly transactionId: number;
  readonly options: readonly RawOption[];
}

/**
 *  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *  |    msg-type   |   hop-count   |                               |
 *  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+    link-address (16 bytes)    |
 *  |                                 peer-address (16 bytes)       |
 *  |                            options                            |
 *
 * @source RFC 8415 §9
 */
export interface RelayMessage {
  readonly kind: "relay";
  readonly type: RelayType;
  readonly hopCount: number;
  readonly linkAddress: Ipv6Address;
  readonly peerAddress: Ipv6Address;
  readonly options: readonly RawOption[];
}

export type Dhcp6Message = ClientServerMessage | RelayMessage;

/** The message, its options as bytes: `readOption` and `readOptions` read them. @throws MalformedFault */
export function decodeMessage(bytes: Uint8Array): Dhcp6Message {
  const reader = new ByteReader(bytes);
  const code = reader.u8("msg-type");
  const relay = relayTypeOf.get(code);
  if (relay !== undefined) {
    const hopCount = reader.u8("hop-count");
    const linkAddress = ipv6FromBytes(reader.bytes("link-address", 16));
    const peerAddress = ipv6FromBytes(reader.bytes("peer-address", 16));
    return { kind: "relay", type: relay, hopCount, linkAddress, peerAddress, options: readRawOptions(reader) };
  }
  const type = clientServerTypeOf.get(code);
  if (type === undefined) throw new MalformedFault("msg-type", 0, 1, 1, `msg-type: ${code} is not known`);
  const transactionId = (reader.u8("transaction-id") << 16) | reader.u16("transaction-id");
  return { kind: "client-server", type, transactionId, options: readRawOptions(reader) };
}

export function encodeMessage(message: Dhcp6Message): Uint8Array {
  const writer = new ByteWriter(512);
  if (message.kind === "relay") {
    writer.u8(relayTypes[message.type]).u8(message.hopCount);
    writer.bytes(ipv6ToBytes(message.linkAddress)).bytes(ipv6ToBytes(message.peerAddress));
  } else {
    writer.u8(clientServerTypes[message.type]);
    writer.u8(message.transactionId >>> 16).u16(message.transactionId & 0xffff);
  }
  writeRawOptions(writer, message.options);
  return writer.toBytes();
}
