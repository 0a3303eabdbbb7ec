import { crc32c, maskSum } from "./crc32c.ts";

/**
 * What LevelDB's table files look like, as far as it takes to check them:
 *
 *   data block … data block | filter block | metaindex block | index block | footer (48 bytes)
 *
 * Each block is followed by its compression (1 byte) and a masked CRC-32C (4 bytes) that LevelDB writes, and never looks at:
 * one wrong bit in a key makes it abort the process when it merges tables. So they are checked before it opens them.
 * @source leveldb doc/table_format.md, table/format.h
 */
const FOOTER_BYTES = 48;
const TRAILER_BYTES = 5;
const MAGIC = 0xdb4775248b80fb57n;
const UNCOMPRESSED = 0;

interface BlockHandle {
  readonly offset: number;
  readonly size: number;
}

interface IndexEntry extends BlockHandle {
  /** At least the last key of the block, and below the first one of the next. */
  readonly key: Buffer;
}

export type TableCheck =
  | { readonly kind: "sound" }
  /** `table` is of the same size and finds all blocks that are whole. */
  | {
      readonly kind: "mended";
      readonly table: Buffer;
      readonly kept: number;
      readonly lost: number;
      /** Its end is missing, so the file may have been longer. */
      readonly cut: boolean;
    }
  | { readonly kind: "unreadable" };

/** Whether all blocks of a table are whole, and if not, the same table without those that are not. */
export function checkTable(table: Buffer): TableCheck {
  if (table.length < FOOTER_BYTES) return { kind: "unreadable" };
  const footer = readFooter(table);
  const index = footer === undefined ? undefined : readIndex(table, footer.index);
  if (index === "compressed") return { kind: "sound" }; // not written by this store; left to LevelDB
  if (index === undefined) return rebuild(table, scanBlocks(table), { lost: 0, cut: footer === undefined });
  const whole = index.filter((entry) => isWhole(table, entry));
  const metaIsWhole =
    footer !== undefined && metaBlocks(table, footer.metaindex).every((block) => isWhole(table, block));
  if (whole.length === index.length && metaIsWhole) return { kind: "sound" };
  return rebuild(table, whole, { lost: index.length - whole.length, cut: false });
}

function readFooter(table: Buffer): { readonly metaindex: BlockHandle; readonly index: BlockHandle } | undefined {
  const start = table.length - FOOTER_BYTES;
  if (table.readBigUInt64LE(table.length - 8) !== MAGIC) return undefined;
  const reader = new VarintReader(table, start, table.length - 8);
  const metaindex = readHandle(reader);
  const index = readHandle(reader);
  return metaindex === undefined || index === undefined ? undefined : { metaindex, index };
}

function readHandle(reader: VarintReader): BlockHandle | undefined {
  const offset = reader.next();
  const size = reader.next();
  return offset === undefined || size === undefined ? undefined : { offset, size };
}

/** Whether the block lies in the file and its check sum is right. */
function isWhole(table: Buffer, { offset, size }: BlockHandle): boolean {
  const end = offset + size;
  if (end + TRAILER_BYTES > table.length - FOOTER_BYTES) return false;
  return maskSum(crc32c(table, offset, end + 1)) === table.readUInt32LE(end + 1);
}

function readIndex(table: Buffer, handle: BlockHandle): readonly IndexEntry[] | "compressed" | undefined {
  if (!isWhole(table, handle)) return undefined;
  if (table[handle.offset + handle.size] !== UNCOMPRESSED) return "compressed";
  const entries: IndexEntry[] = [];
  for (const { key, value } of readEntries(table, handle) ?? []) {
    const block = readHandle(new VarintReader(value, 0, value.length));
    if (block === undefined) return undefined;
    entries.push({ key, ...block });
  }
  return entries;
}

/** The metaindex block and, if it is whole, what it names. */
function metaBlocks(table: Buffer, metaindex: BlockHandle): readonly BlockHandle[] {
  const blocks = [metaindex];
  if (!isWhole(table, metaindex) || table[metaindex.offset + metaindex.size] !== UNCOMPRESSED) return blocks;
  for (const { value } of readEntries(table, metaindex) ?? []) {
    blocks.push(readHandle(new VarintReader(value, 0, value.length)) ?? { offset: table.length, size: 0 });
  }
  return blocks;
}

/** The entries of a block, keys completed; undefined when it is not of that form. */
function readEntries(
  table: Buffer,
  { offset, size }: BlockHandle,
): readonly { readonly key: Buffer; readonly value: Buffer }[] | undefined {
  if (size < 4) return undefined;
  const restarts = table.readUInt32LE(offset + size - 4);
  const end = offset + size - 4 - restarts * 4;
  if (end < offset) return undefined;
  const entries: { key: Buffer; value: Buffer }[] = [];
  const reader = new VarintReader(table, offset, end);
  let key: Buffer = Buffer.alloc(0);
  while (reader.at < end) {
    const shared = reader.next();
    const unshared = reader.next();
    const length = reader.next();
    if (shared === undefined || unshared === undefined || length === undefined) return undefined;
    if (shared > key.length || reader.at + unshared + length > end) return undefined;
    key = Buffer.concat([key.subarray(0, shared), table.subarray(reader.at, reader.at + unshared)]);
    entries.push({ key, value: table.subarray(reader.at + unshared, reader.at + unshared + length) });
    reader.at += unshared + length;
  }
  return entries;
}

/** Without an index: blocks follow one another from the start, each as long as it takes for its sum to be right. */
function scanBlocks(table: Buffer): readonly IndexEntry[] {
  const blocks: IndexEntry[] = [];
  const end = table.length - FOOTER_BYTES;
  let offset = 0;
  while (offset < end) {
    const size = blockSize(table, offset, end);
    if (size === undefined) break;
    const last = readEntries(table, { offset, size })?.at(-1);
    // Filters and the metaindex have no keys with a sequence number, and come after all data.
    if (last === undefined || last.key.length < 8 || last.key.subarray(0, 7).toString("latin1") === "filter.") break;
    blocks.push({ key: last.key, offset, size });
    offset += size + TRAILER_BYTES;
  }
  return blocks;
}

function blockSize(table: Buffer, offset: number, end: number): number | undefined {
  let crc = 0;
  for (let at = offset; at + TRAILER_BYTES <= end; at += 1) {
    crc = crc32c(table, at, at + 1, crc);
    if (table[at] === UNCOMPRESSED && maskSum(crc) === table.readUInt32LE(at + 1)) return at - offset;
  }
  return undefined;
}

/** Leaves the blocks where they are and writes an empty metaindex and a new index behind the last of them. */
function rebuild(
  table: Buffer,
  blocks: readonly IndexEntry[],
  damage: { readonly lost: number; readonly cut: boolean },
): TableCheck {
  const metaindex = sealBlock(encodeBlock([]));
  const index = sealBlock(
    encodeBlock(
      blocks.map(({ key, offset, size }) => ({ key, value: Buffer.from([...varint(offset), ...varint(size)]) })),
    ),
  );
  const start = blocks.reduce((end, block) => Math.max(end, block.offset + block.size + TRAILER_BYTES), 0);
  if (blocks.length === 0 || start + metaindex.length + index.length > table.length - FOOTER_BYTES)
    return { kind: "unreadable" };
  const mended = Buffer.from(table);
  metaindex.copy(mended, start);
  index.copy(mended, start + metaindex.length);
  const handles = [
    start,
    metaindex.length - TRAILER_BYTES,
    start + metaindex.length,
    index.length - TRAILER_BYTES,
  ].flatMap(varint);
  mended.fill(0, table.length - FOOTER_BYTES);
  mended.set(handles, table.length - FOOTER_BYTES);
  mended.writeBigUInt64LE(MAGIC, table.length - 8);
  return { kind: "mended", table: mended, kept: blocks.length, ...damage };
}

/** Every entry with its whole key, as index blocks have them. */
function encodeBlock(entries: readonly { readonly key: Buffer; readonly value: Buffer }[]): Buffer {
  const parts: Buffer[] = [];
  const restarts: number[] = [];
  let length = 0;
  for (const { key, value } of entries) {
    const entry = Buffer.concat([
      Buffer.from([...varint(0), ...varint(key.length), ...varint(value.length)]),
      key,
      value,
    ]);
    restarts.push(length);
    parts.push(entry);
    length += entry.length;
  }
  if (restarts.length === 0) restarts.push(0);
  const tail = Buffer.alloc(restarts.length * 4 + 4);
  for (const [at, restart] of [...restarts, restarts.length].entries()) tail.writeUInt32LE(restart, at * 4);
  return Buffer.concat([...parts, tail]);
}

function sealBlock(block: Buffer): Buffer {
  const sealed = Buffer.concat([block, Buffer.alloc(TRAILER_BYTES)]);
  sealed.writeUInt32LE(maskSum(crc32c(sealed, 0, block.length + 1)), block.length + 1);
  return sealed;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}

class VarintReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.at = start;
    this.#end = end;
  }

  /** undefined when there is no number below 2^53 before the end. */
  next(): number | undefined {
    let value = 0;
    for (let factor = 1; factor < 2 ** 53; factor *= 128) {
      const byte = this.at < this.#end ? this.#bytes[this.at] : undefined;
      if (byte === undefined) return undefined;
      this.at += 1;
      value += (byte & 127) * factor;
      if (byte < 128) return Number.isSafeInteger(value) ? value : undefined;
    }
    return undefined;
  }
}
