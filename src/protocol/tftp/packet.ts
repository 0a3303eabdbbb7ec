import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import { assertNever, MalformedFault } from "../../core/fault.ts";

/*
   RRQ/WRQ  | 01/02 | filename | 0 | mode | 0 | option | 0 | value | 0 | ...
   DATA     | 03 | block (2) | up to blksize bytes |
   ACK      | 04 | block (2) |
   ERROR    | 05 | code (2)  | message | 0 |
   OACK     | 06 | option | 0 | value | 0 | ...
*/
/** A TFTP packet. Option names are lower-case, in the order of the wire. @source RFC 1350 §5, RFC 2347 */
export type TftpPacket =
  | {
      readonly kind: "rrq" | "wrq";
      readonly file: string;
      /** Lower-case. */
      readonly mode: string;
      readonly options: TftpOptions;
    }
  | { readonly kind: "data"; readonly block: number; readonly bytes: Uint8Array }
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "error"; readonly code: number; readonly message: string }
  | { readonly kind: "oack"; readonly options: TftpOptions };

export type TftpOptions = ReadonlyMap<string, string>;

const OPCODE = { rrq: 1, wrq: 2, data: 3, ack: 4, error: 5, oack: 6 } as const;

/** @throws MalformedFault */
export function decodeTftp(bytes: Uint8Array): TftpPacket {
  const reader = new ByteReader(bytes);
  const opcode = reader.u16("opcode");
  switch (opcode) {
    case OPCODE.rrq:
    case OPCODE.wrq: {
      const file = reader.cString("filename");
      const mode = reader.cString("mode").toLowerCase();
      return { kind: opcode === OPCODE.rrq ? "rrq" : "wrq", file, mode, options: decodeOptions(reader) };
    }
    case OPCODE.data:
      return { kind: "data", block: reader.u16("block"), bytes: reader.rest() };
    case OPCODE.ack:
      // Some clients' ACKs carry bytes after the block; they mean nothing.
      return { kind: "ack", block: reader.u16("block") };
    case OPCODE.error: {
      const code = reader.u16("error code");
      // The text is for people, and some clients forget its NUL.
      return { kind: "error", code, message: reader.latin1("message", reader.remaining) };
    }
    case OPCODE.oack:
      return { kind: "oack", options: decodeOptions(reader) };
    default:
      throw new MalformedFault("opcode", 0, 2, bytes.length, `opcode: ${opcode} is not one of TFTP`);
  }
}

function decodeOptions(reader: ByteReader): TftpOptions {
  const options = new Map<string, string>();
  while (reader.remaining > 0) {
    const name = reader.cString("option").toLowerCase();
    // Firmware has been seen to fill its request with NULs to an even size.
    if (name === "" && reader.remaining === 0) break;
    const value = reader.cString(`option ${name}`);
    // RFC 2347: an option may be given once; the first stands.
    if (name !== "" && !options.has(name)) options.set(name, value);
  }
  return options;
}

export function encodeTftp(packet: TftpPacket): Uint8Array {
  const writer = new ByteWriter(64);
  writer.u16(OPCODE[packet.kind]);
  switch (packet.kind) {
    case "rrq":
    case "wrq":
      writer.cString(packet.file).cString(packet.mode);
      encodeOptions(writer, packet.options);
      break;
    case "data":
      writer.u16(packet.block).bytes(packet.bytes);
      break;
    case "ack":
      writer.u16(packet.block);
      break;
    case "error":
      writer.u16(packet.code).cString(packet.message);
      break;
    case "oack":
      encodeOptions(writer, packet.options);
      break;
    default:
      assertNever(packet);
  }
  return writer.toBytes();
}

function encodeOptions(writer: ByteWriter, options: TftpOptions): void {
  for (const [name, value] of options) writer.cString(name).cString(value);
}
