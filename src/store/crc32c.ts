const POLYNOMIAL = 0x82f63b78; // Castagnoli, reflected

/** Tables for four bytes at a time: TABLES[n] carries a byte over n more bytes. */
const TABLES: readonly Int32Array[] = makeTables();

function makeTables(): readonly Int32Array[] {
  const first = Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ POLYNOMIAL;
    return crc;
  });
  const tables = [first];
  for (let index = 1; index < 4; index += 1) {
    const before = tables[index - 1] ?? first;
    tables.push(before.map((crc) => (crc >>> 8) ^ (first[crc & 255] ?? 0)));
  }
  return tables;
}

const [T0 = new Int32Array(), T1 = new Int32Array(), T2 = new Int32Array(), T3 = new Int32Array()] = TABLES;

/** CRC-32C over bytes[start, end), going on from `crc`. @source RFC 3720 §B.4; leveldb util/crc32c.h */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, crc = 0): number {
  let state = ~crc;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const word =
      state ^
      ((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24));
    state =
      (T3[word & 255] ?? 0) ^ (T2[(word >>> 8) & 255] ?? 0) ^ (T1[(word >>> 16) & 255] ?? 0) ^ (T0[word >>> 24] ?? 0);
  }
  for (; at < end; at += 1) state = (state >>> 8) ^ (T0[(state ^ (bytes[at] ?? 0)) & 255] ?? 0);
  return ~state >>> 0;
}

/** The form in which LevelDB stores a sum, as it sums data that hold sums. @source leveldb util/crc32c.h */
export function maskSum(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
