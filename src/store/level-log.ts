import { crc32c, maskSum } from "./crc32c.ts";

/**
 * What LevelDB's log files look like: blocks of 32 KiB, in them records, cut where a block ends:
 *
 *   0       4        6      7
 *  +-------+--------+------+------+
 *  | sum   | length | type | data |
 *  +-------+--------+------+------+
 *
 * LevelDB's repair does not look at the sums of a log and is ended by what it then finds in it; so before a repair a log is
 * written anew with what is whole.
 * @source leveldb doc/log_format.md, db/repair.cc
 */
const BLOCK = 32_768;
const HEADER = 7;
const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;

/** The records of a log that are whole, and whether there is anything else in it. */
export function readLog(log: Buffer): { readonly records: readonly Buffer[]; readonly damaged: boolean } {
  const records: Buffer[] = [];
  let damaged = false;
  let parts: Buffer[] | undefined;
  for (let start = 0; start < log.length; start += BLOCK) {
    const block = log.subarray(start, start + BLOCK);
    for (let at = 0; at + HEADER <= block.length; ) {
      const type = block.readUInt8(at + 6);
      const end = at + HEADER + block.readUInt16LE(at + 4);
      if (end > block.length || maskSum(crc32c(block, at + 6, end)) !== block.readUInt32LE(at)) {
        damaged = true;
        parts = undefined;
        break; // where the next record begins is not known
      }
      const data = block.subarray(at + HEADER, end);
      at = end;
      if (type === FULL || type === FIRST) {
        damaged ||= parts !== undefined;
        parts = [data];
      } else if (parts !== undefined && (type === MIDDLE || type === LAST)) parts.push(data);
      else {
        damaged = true;
        parts = undefined;
      }
      if ((type === FULL || type === LAST) && parts !== undefined) {
        records.push(Buffer.concat(parts));
        parts = undefined;
      }
    }
  }
  return { records, damaged: damaged || parts !== undefined };
}

/** A log of these records. */
export function writeLog(records: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [];
  let length = 0;
  const put = (part: Uint8Array): void => {
    parts.push(part);
    length += part.length;
  };
  for (const record of records) {
    let at = 0;
    let begun = false; // a first part may be empty
    do {
      const room = BLOCK - (length % BLOCK);
      if (room < HEADER) put(new Uint8Array(room));
      const fits = BLOCK - (length % BLOCK) - HEADER;
      const end = Math.min(record.length, at + fits);
      const type = end === record.length ? (begun ? LAST : FULL) : begun ? MIDDLE : FIRST;
      put(logRecord(type, record.subarray(at, end)));
      at = end;
      begun = true;
    } while (at < record.length);
  }
  return Buffer.concat(parts);
}

function logRecord(type: number, data: Uint8Array): Uint8Array {
  const record = Buffer.alloc(HEADER + data.length);
  record.set(data, HEADER);
  record.writeUInt16LE(data.length, 4);
  record.writeUInt8(type, 6);
  record.writeUInt32LE(maskSum(crc32c(record, 6)), 0);
  return record;
}
