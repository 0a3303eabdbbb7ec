import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { MalformedFault } from "../../core/fault.ts";

/** The UDP port on which BMCs listen. @source IPMI 2.0 rev 1.1 §13.1.2 */
export const RMCP_PORT = 623;

const RMCP_VERSION = 0x06;
/** No RMCP acknowledgement is wanted: the value for all IPMI messages. @source IPMI 2.0 §13.1.3 */
const NO_ACKNOWLEDGE = 0xff;

const rmcpClasses = { asf: 0x06, ipmi: 0x07 } as const;

export type RmcpClass = keyof typeof rmcpClasses;

/** A datagram on the RMCP port, without what is inside. */
export interface RmcpPacket {
  readonly class: RmcpClass;
  readonly sequence: number;
  readonly body: Uint8Array;
}

/*
 *  0             1             2             3
 * +-------------+-------------+-------------+-------------+
 * | version = 6 | reserved    | sequence    | class       |   class: bit 7 acknowledge, 4:0 class
 * +-------------+-------------+-------------+-------------+
 */

/** @source IPMI 2.0 table 13-1; DSP0136 §3.2.2 */
export function decodeRmcp(bytes: Uint8Array): RmcpPacket {
  const reader = new ByteReader(bytes);
  const version = reader.u8("rmcp.version");
  if (version !== RMCP_VERSION) throw wrong("rmcp.version", 0, `is ${version}, not ${RMCP_VERSION}`);
  reader.skip("rmcp.reserved", 1);
  const sequence = reader.u8("rmcp.sequence");
  const code = reader.u8("rmcp.class");
  if (code === rmcpClasses.ipmi) return { class: "ipmi", sequence, body: reader.rest() };
  if (code === rmcpClasses.asf) return { class: "asf", sequence, body: reader.rest() };
  throw wrong("rmcp.class", 3, `0x${code.toString(16)} is neither ASF nor IPMI`);
}

export function encodeRmcp(packet: {
  readonly class: RmcpClass;
  readonly body: Uint8Array;
  readonly sequence?: number;
}): Uint8Array {
  return new ByteWriter(4 + packet.body.length)
    .u8(RMCP_VERSION)
    .u8(0)
    .u8(packet.sequence ?? NO_ACKNOWLEDGE)
    .u8(rmcpClasses[packet.class])
    .bytes(packet.body)
    .toBytes();
}

/** A value that its format does not allow. */
export function wrong(field: string, offset: number, what: string): MalformedFault {
  return new MalformedFault(field, offset, 0, 0, `${field} ${what}`);
}
