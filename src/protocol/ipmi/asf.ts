import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { decodeRmcp, encodeRmcp, wrong } from "./rmcp.ts";

/** The enterprise number under which ASF messages travel. */
const ASF_IANA = 4542;

const asfTypes = { pong: 0x40, ping: 0x80 } as const;

/** Presence Ping, and the Pong by which a managed machine says that it speaks IPMI. @source IPMI 2.0 §13.2.3, §13.2.4; DSP0136 §3.2.4 */
export type AsfMessage =
  | { readonly kind: "ping"; readonly tag: number }
  | {
      readonly kind: "pong";
      readonly tag: number;
      readonly iana: number;
      readonly oem: number;
      readonly supportsIpmi: boolean;
      /** Low seven bits of the supported entities: 1 is ASF 1.0. */
      readonly entities: number;
      readonly interactions: number;
    };

/** A ping or pong with its RMCP header. A ping's sequence number is 255, so that nobody sends an RMCP acknowledgement. */
export function decodeAsf(bytes: Uint8Array): AsfMessage {
  const packet = decodeRmcp(bytes);
  if (packet.class !== "asf") throw wrong("rmcp.class", 3, "is not ASF");
  const reader = new ByteReader(packet.body);
  const iana = reader.u32("asf.iana");
  if (iana !== ASF_IANA) throw wrong("asf.iana", 0, `is ${iana}, not ${ASF_IANA}`);
  const type = reader.u8("asf.type");
  const tag = reader.u8("asf.tag");
  reader.skip("asf.reserved", 1);
  const data = reader.sub("asf.data", reader.u8("asf.length"));
  reader.expectEnd("asf");
  if (type === asfTypes.ping) {
    data.expectEnd("asf.ping");
    return { kind: "ping", tag };
  }
  if (type !== asfTypes.pong) throw wrong("asf.type", 4, `0x${type.toString(16)} is neither ping nor pong`);
  const pongIana = data.u32("asf.pong.iana");
  const oem = data.u32("asf.pong.oem");
  const entities = data.u8("asf.pong.entities");
  const interactions = data.u8("asf.pong.interactions");
  data.skip("asf.pong.reserved", 6);
  data.expectEnd("asf.pong");
  return {
    kind: "pong",
    tag,
    iana: pongIana,
    oem,
    supportsIpmi: (entities & 0x80) !== 0,
    entities: entities & 0x7f,
    interactions,
  };
}

export function encodeAsf(message: AsfMessage): Uint8Array {
  const writer = new ByteWriter(24).u32(ASF_IANA);
  if (message.kind === "ping") writer.u8(asfTypes.ping).u8(message.tag).u8(0).u8(0);
  else {
    writer.u8(asfTypes.pong).u8(message.tag).u8(0).u8(16);
    writer.u32(message.iana).u32(message.oem);
    writer
      .u8((message.supportsIpmi ? 0x80 : 0) | message.entities)
      .u8(message.interactions)
      .zeroes(6);
  }
  return encodeRmcp({ class: "asf", body: writer.toBytes() });
}
