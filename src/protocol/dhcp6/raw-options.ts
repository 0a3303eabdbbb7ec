import type { ByteReader } from "../../core/byte-reader.ts";
import type { ByteWriter } from "../../core/byte-writer.ts";

/** An option as it stands on the wire: its number and its value. Unlike in DHCPv4, one number may come several times. */
export interface RawOption {
  readonly code: number;
  readonly bytes: Uint8Array;
}

/** All options to the reader's end, in order. @throws MalformedFault @source RFC 8415 §21.1 */
export function readRawOptions(reader: ByteReader): readonly RawOption[] {
  const options: RawOption[] = [];
  while (reader.remaining > 0) {
    const code = reader.u16("option-code");
    const length = reader.u16("option-len");
    options.push({ code, bytes: reader.bytes(`option ${code}`, length) });
  }
  return options;
}

export function writeRawOptions(writer: ByteWriter, options: readonly RawOption[]): void {
  for (const { code, bytes } of options) writer.u16(code).u16(bytes.length).bytes(bytes);
}
