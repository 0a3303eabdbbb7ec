import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { wrong } from "./rmcp.ts";

/** The BMC's slave address on the IPMB. @source IPMI 2.0 table 5-4 */
export const BMC_ADDRESS = 0x20;
/** The first software id of remote console software; the lowest bit says that it is a software id. @source IPMI 2.0 §5.5 */
export const CONSOLE_ADDRESS = 0x81;

/** An IPMI request (even netFn) or response (odd netFn; its data begins with the completion code). */
export interface LanMessage {
  readonly toAddress: number;
  readonly netFn: number;
  readonly toLun: number;
  readonly fromAddress: number;
  /** rqSeq: six bits that tie a response to its request. */
  readonly sequence: number;
  readonly fromLun: number;
  readonly command: number;
  readonly data: Uint8Array;
}

/*
 * +---------+----------+-------+----------+-----------+-----+------ - -+-------+
 * | rsAddr  | netFn 7:2| chk 1 | rqAddr   | rqSeq 7:2 | cmd | data      | chk 2 |
 * |         | LUN 1:0  |       |          | LUN   1:0 |     |           |       |
 * +---------+----------+-------+----------+-----------+-----+------ - -+-------+
 *  \__ chk 1 makes these 0 __/  \______________ chk 2 makes these 0 ___________/
 */

/** @source IPMI 2.0 figure 13-4 and table 13-8 */
export function decodeLanMessage(bytes: Uint8Array): LanMessage {
  const reader = new ByteReader(bytes);
  const toAddress = reader.u8("message.rsAddr");
  const netFnLun = reader.u8("message.netFn");
  const headerChecksum = reader.u8("message.checksum1");
  if (headerChecksum !== checksum([toAddress, netFnLun])) throw wrong("message.checksum1", 2, "does not match");
  const bodyStart = reader.offset;
  const fromAddress = reader.u8("message.rqAddr");
  const sequenceLun = reader.u8("message.rqSeq");
  const command = reader.u8("message.cmd");
  if (reader.remaining < 1) reader.skip("message.checksum2", 1);
  const data = reader.bytes("message.data", reader.remaining - 1);
  const at = reader.offset;
  if (reader.u8("message.checksum2") !== checksum(bytes.subarray(bodyStart, at)))
    throw wrong("message.checksum2", at, "does not match");
  return {
    toAddress,
    netFn: netFnLun >> 2,
    toLun: netFnLun & 3,
    fromAddress,
    sequence: sequenceLun >> 2,
    fromLun: sequenceLun & 3,
    command,
    data,
  };
}

export function encodeLanMessage(message: LanMessage): Uint8Array {
  const netFnLun = (message.netFn << 2) | message.toLun;
  const body = new ByteWriter(3 + message.data.length)
    .u8(message.fromAddress)
    .u8((message.sequence << 2) | message.fromLun)
    .u8(message.command)
    .bytes(message.data)
    .toBytes();
  return new ByteWriter(body.length + 4)
    .u8(message.toAddress)
    .u8(netFnLun)
    .u8(checksum([message.toAddress, netFnLun]))
    .bytes(body)
    .u8(checksum(body))
    .toBytes();
}

/** The byte that makes the sum of all a multiple of 256. @source IPMI 2.0 §13.8 (two's complement checksum of the IPMB) */
function checksum(bytes: Iterable<number>): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return -sum & 0xff;
}
