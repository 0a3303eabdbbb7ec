import { ByteReader } from "../../../core/byte-reader.ts";
import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";
import { wrong } from "../rmcp.ts";

const THIS_CHANNEL = 0x0e;
/** A chunk shorter than this is the last. */
export const CIPHER_SUITE_CHUNK = 16;

/** One of up to 64 pieces of the record list: ask with index 0, 1, … until a piece is shorter than 16 bytes. */
export const getChannelCipherSuites: IpmiCommand<{ readonly index: number }, Uint8Array> = {
  name: "Get Channel Cipher Suites",
  netFn: netFns.app,
  command: 0x54,
  effect: "read",
  privilege: "none",
  source: "IPMI 2.0 §22.15, table 22-17",
  // Payload type IPMI; bit 7: list by cipher suite.
  encode: ({ index }) =>
    new ByteWriter(3)
      .u8(THIS_CHANNEL)
      .u8(0)
      .u8(0x80 | index)
      .toBytes(),
  decode(data) {
    data.skip("channel", 1);
    return data.rest();
  },
};

export interface CipherSuiteRecord {
  readonly id: number;
  /** IANA number, for suites of a manufacturer's own. */
  readonly oem: number | undefined;
  /** Algorithm numbers with their tag bits: 7:6 = 0 authentication, 1 integrity, 2 confidentiality. */
  readonly algorithms: readonly number[];
}

/** The joined pieces as records. @source IPMI 2.0 table 22-18 */
export function decodeCipherSuiteRecords(bytes: Uint8Array): readonly CipherSuiteRecord[] {
  const reader = new ByteReader(bytes);
  const records: CipherSuiteRecord[] = [];
  while (reader.remaining > 0) {
    const at = reader.offset;
    const start = reader.u8("cipherSuite.start");
    if (start !== 0xc0 && start !== 0xc1)
      throw wrong("cipherSuite.start", at, `0x${start.toString(16)} begins no record`);
    const id = reader.u8("cipherSuite.id");
    const oem =
      start === 0xc1
        ? reader.u8("cipherSuite.oem") | (reader.u8("cipherSuite.oem") << 8) | (reader.u8("cipherSuite.oem") << 16)
        : undefined;
    const algorithms: number[] = [];
    while (reader.remaining > 0 && (bytes[reader.offset] ?? 0xc0) < 0xc0)
      algorithms.push(reader.u8("cipherSuite.algorithm"));
    records.push({ id, oem, algorithms });
  }
  return records;
}
