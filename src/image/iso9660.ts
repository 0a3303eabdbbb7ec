import { ByteWriter } from "../core/byte-writer.ts";
import { invalid } from "../core/fault.ts";

/** A file of an ISO 9660 image, its directories named by the path. */
export interface IsoFile {
  readonly path: string;
  readonly content: Uint8Array;
}

const SECTOR = 2048;
const FIRST_DESCRIPTOR = 16;
/** Linux reads directory records up to here; identifier and system use share it. */
const LONGEST_RECORD = 254;

interface Directory {
  readonly name: string;
  readonly parent: Directory | undefined;
  readonly directories: Directory[];
  readonly files: { readonly name: string; readonly content: Uint8Array }[];
}

type Child =
  | { readonly kind: "directory"; readonly directory: Directory }
  | { readonly kind: "file"; readonly name: string; readonly content: Uint8Array };

/** One of the two trees over the same files: ISO names with Rock Ridge beside them, or Joliet's UCS-2 names. */
interface Tree {
  readonly joliet: boolean;
  /** By level, then in the order of their parents, as path tables want them. @source ECMA-119 §6.9.1 */
  readonly directories: readonly Directory[];
  readonly identifiers: ReadonlyMap<Directory | Uint8Array, Uint8Array>;
  readonly extents: Map<Directory, { readonly sector: number; readonly length: number }>;
}

/**
 * An ISO 9660 image with Rock Ridge and Joliet names, readable by every system that can mount a CD. The same input gives
 * the same bytes. Files with equal content share it.
 * @source ECMA-119 4th edition; IEEE P1282 (RRIP 1.12), P1281 (SUSP 1.12); Joliet Specification 1.0
 */
export function encodeIso9660(image: {
  readonly label: string;
  readonly files: readonly IsoFile[];
  readonly date: Date;
}): Uint8Array {
  if (!/^[\x20-\x7e]{1,16}$/.test(image.label)) throw invalid("label", "must be 1 to 16 printable characters");
  const root = treeOf(image.files);
  const plain = makeTree(root, false);
  const joliet = makeTree(root, true);
  const pathTables = [plain, joliet].map((tree) => pathTable(tree, true).length);
  let sector = FIRST_DESCRIPTOR + 3;
  const tableSectors = pathTables.flatMap((length) => [length, length]).map((length) => take(length));
  for (const tree of [plain, joliet]) {
    for (const directory of tree.directories) {
      const length = directoryLength(tree, directory);
      tree.extents.set(directory, { sector: take(length), length });
    }
  }
  const contents = new Map<string, { readonly sector: number; readonly content: Uint8Array }>();
  const sectorOf = (content: Uint8Array): number => {
    const key = Buffer.from(content).toString("latin1");
    const place = contents.get(key) ?? { sector: content.length === 0 ? 0 : take(content.length), content };
    contents.set(key, place);
    return place.sector;
  };
  // Files come after all directories, so their places are found while the directories are encoded.
  const bodies = [plain, joliet].map((tree) =>
    tree.directories.map((directory) => encodeDirectory(tree, directory, sectorOf, image.date)),
  );
  const writer = new ByteWriter(sector * SECTOR);
  writer.zeroes(FIRST_DESCRIPTOR * SECTOR);
  for (const [index, tree] of [plain, joliet].entries()) {
    const tables = {
      length: pathTables[index] ?? 0,
      little: tableSectors[index * 2] ?? 0,
      big: tableSectors[index * 2 + 1] ?? 0,
    };
    writer.bytes(volumeDescriptor(tree, image.label, sector, tables, image.date));
  }
  writer.u8(255).latin1("CD001").u8(1);
  for (const tree of [plain, joliet]) {
    for (const little of [true, false]) pad(writer).bytes(pathTable(tree, little));
  }
  for (const body of bodies.flat()) pad(writer).bytes(body);
  for (const { content } of contents.values()) pad(writer).bytes(content);
  return pad(writer).toBytes();

  function take(length: number): number {
    const at = sector;
    sector += Math.ceil(length / SECTOR);
    return at;
  }
}

function pad(writer: ByteWriter): ByteWriter {
  return writer.zeroes((SECTOR - (writer.length % SECTOR)) % SECTOR);
}

function treeOf(files: readonly IsoFile[]): Directory {
  const root: Directory = { name: "", parent: undefined, directories: [], files: [] };
  for (const { path, content } of files) {
    const parts = path.split("/");
    const name = parts.pop() ?? "";
    let directory = root;
    for (const part of parts) {
      const next = directory.directories.find((child) => child.name === part) ?? {
        name: checked(part, path),
        parent: directory,
        directories: [],
        files: [],
      };
      if (!directory.directories.includes(next)) directory.directories.push(next);
      directory = next;
    }
    if (directory.files.some((file) => file.name === name)) throw invalid("path", `${path} is there twice`);
    directory.files.push({ name: checked(name, path), content });
  }
  return root;
}

function checked(name: string, path: string): string {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(name) || name === "." || name === "..")
    throw invalid("path", `"${path}" cannot be a path of an ISO 9660 image`);
  return name;
}

function makeTree(root: Directory, joliet: boolean): Tree {
  const identifiers = new Map<Directory | Uint8Array, Uint8Array>();
  const directories: Directory[] = [root];
  const tree: Tree = { joliet, directories, identifiers, extents: new Map() };
  for (const directory of directories) {
    const taken = new Set<string>();
    for (const child of directory.directories)
      identifiers.set(child, joliet ? ucs2(child.name) : Buffer.from(isoName(child.name, taken, false)));
    directories.push(
      ...directory.directories.toSorted((a, b) => Buffer.compare(identifier(tree, a), identifier(tree, b))),
    );
  }
  return tree;
}

function identifier(tree: Tree, directory: Directory): Uint8Array {
  return tree.identifiers.get(directory) ?? Uint8Array.of(0);
}

function ucs2(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}

/** The name as level 1 has it: eight and three of A-Z, 0-9 and _, with a number where two would be the same. @source ECMA-119 §7.5 */
function isoName(name: string, taken: Set<string>, isFile: boolean): string {
  const dot = isFile ? name.lastIndexOf(".") : -1;
  const clean = (text: string): string => text.toUpperCase().replaceAll(/[^A-Z0-9_]/g, "_");
  const stem = clean(dot < 0 ? name : name.slice(0, dot)).slice(0, 8);
  const ending = dot < 0 ? "" : clean(name.slice(dot + 1)).slice(0, 3);
  for (let number = 0; ; number += 1) {
    const digits = number === 0 ? "" : String(number);
    const candidate = stem.slice(0, 8 - digits.length) + digits + (isFile ? `.${ending};1` : "");
    if (taken.has(candidate)) continue;
    taken.add(candidate);
    return candidate;
  }
}

/** The children of a directory in the order of their identifiers. @source ECMA-119 §9.3 */
function childrenOf(tree: Tree, directory: Directory): readonly { readonly id: Uint8Array; readonly child: Child }[] {
  const taken = new Set(directory.directories.map((child) => Buffer.from(identifier(tree, child)).toString("latin1")));
  const children = [
    ...directory.directories.map((child) => ({
      id: identifier(tree, child),
      child: { kind: "directory" as const, directory: child },
    })),
    ...directory.files.map(({ name, content }) => ({
      id: tree.joliet ? ucs2(name) : Buffer.from(isoName(name, taken, true)),
      child: { kind: "file" as const, name, content },
    })),
  ];
  return children.sort((a, b) => Buffer.compare(a.id, b.id));
}

function directoryLength(tree: Tree, directory: Directory): number {
  return encodeDirectory(tree, directory, () => 0, new Date(0)).length;
}

/** No record crosses a sector's end, and a directory fills whole sectors. @source ECMA-119 §6.8.1 */
function encodeDirectory(
  tree: Tree,
  directory: Directory,
  sectorOf: (content: Uint8Array) => number,
  date: Date,
): Uint8Array {
  const writer = new ByteWriter();
  const put = (record: Uint8Array): void => {
    if ((writer.length % SECTOR) + record.length > SECTOR) pad(writer);
    writer.bytes(record);
  };
  const own = extentOf(tree, directory);
  const above = extentOf(tree, directory.parent ?? directory);
  const rock = (attributes: Uint8Array): Uint8Array => (tree.joliet ? new Uint8Array() : attributes);
  put(
    record(
      Uint8Array.of(0),
      own,
      true,
      date,
      rock(directory.parent === undefined ? rootAttributes(directory) : attributesOf(directory)),
    ),
  );
  put(record(Uint8Array.of(1), above, true, date, rock(attributesOf(directory.parent ?? directory))));
  for (const { id, child } of childrenOf(tree, directory)) {
    if (child.kind === "directory")
      put(
        record(
          id,
          extentOf(tree, child.directory),
          true,
          date,
          rock(named(child.directory.name, attributesOf(child.directory))),
        ),
      );
    else {
      const extent = { sector: sectorOf(child.content), length: child.content.length };
      put(record(id, extent, false, date, rock(named(child.name, posix(0o100444, 1)))));
    }
  }
  return pad(writer).toBytes();
}

interface Extent {
  readonly sector: number;
  readonly length: number;
}

function extentOf(tree: Tree, directory: Directory): Extent {
  return tree.extents.get(directory) ?? { sector: 0, length: 0 };
}

/**
 *    0    1    2          10         18      25     26    27   28      32    33
 *  +----+----+----------+----------+-------+------+-----+----+-------+-----+------------+-----+------------+
 *  | len| 0  | extent   | length   | date  | flags| 0   | 0  | volume| len | identifier | pad | system use |
 *  +----+----+----------+----------+-------+------+-----+----+-------+-----+------------+-----+------------+
 * @source ECMA-119 §9.1
 */
function record(id: Uint8Array, extent: Extent, isDirectory: boolean, date: Date, systemUse: Uint8Array): Uint8Array {
  const odd = id.length % 2 === 0 ? 1 : 0; // the identifier's field begins at an odd offset
  const length = 33 + id.length + odd + systemUse.length;
  const whole = length + (length % 2);
  if (whole > LONGEST_RECORD) throw invalid("path", "a name is too long for ISO 9660");
  const writer = new ByteWriter(whole).u8(whole).u8(0);
  both32(both32(writer, extent.sector), extent.length).bytes(shortDate(date));
  writer.u8(isDirectory ? 2 : 0).zeroes(2);
  both16(writer, 1).u8(id.length).bytes(id).zeroes(odd).bytes(systemUse);
  return writer.zeroes(whole - length).toBytes();
}

function both16(writer: ByteWriter, value: number): ByteWriter {
  return writer.u16LE(value).u16(value);
}

function both32(writer: ByteWriter, value: number): ByteWriter {
  return writer.u32LE(value).u32(value);
}

/** PX: mode, links, owner and group. @source RRIP 1.12 §4.1.1; in the form of 1.09, which everybody reads */
function posix(mode: number, links: number): Uint8Array {
  const writer = new ByteWriter(36).latin1("PX").u8(36).u8(1);
  for (const value of [mode, links, 0, 0]) both32(writer, value);
  return writer.toBytes();
}

function attributesOf(directory: Directory): Uint8Array {
  return posix(0o040555, 2 + directory.directories.length);
}

/** SP says that system use follows SUSP, ER that it is Rock Ridge; both in the root's own record. @source SUSP 1.12 §5.3, §5.5 */
function rootAttributes(directory: Directory): Uint8Array {
  const extension = "RRIP_1991A";
  const writer = new ByteWriter().latin1("SP").u8(7).u8(1).u8(0xbe).u8(0xef).u8(0).bytes(attributesOf(directory));
  return writer
    .latin1("ER")
    .u8(8 + extension.length)
    .u8(1)
    .u8(extension.length)
    .u8(0)
    .u8(0)
    .u8(1)
    .latin1(extension)
    .toBytes();
}

/** NM: the name as it is. @source RRIP 1.12 §4.1.4 */
function named(name: string, attributes: Uint8Array): Uint8Array {
  return new ByteWriter()
    .bytes(attributes)
    .latin1("NM")
    .u8(5 + name.length)
    .u8(1)
    .u8(0)
    .latin1(name)
    .toBytes();
}

/** @source ECMA-119 §9.4 */
function pathTable(tree: Tree, little: boolean): Uint8Array {
  const writer = new ByteWriter();
  for (const directory of tree.directories) {
    const id = identifier(tree, directory);
    const parent = tree.directories.indexOf(directory.parent ?? directory) + 1;
    const { sector } = extentOf(tree, directory);
    writer.u8(id.length).u8(0);
    if (little) writer.u32LE(sector).u16LE(parent);
    else writer.u32(sector).u16(parent);
    writer.bytes(id).zeroes(id.length % 2);
  }
  return writer.toBytes();
}

/** The primary volume descriptor, or Joliet's supplementary one. @source ECMA-119 §8.4, §8.5 */
function volumeDescriptor(
  tree: Tree,
  label: string,
  sectors: number,
  tables: { readonly length: number; readonly little: number; readonly big: number },
  date: Date,
): Uint8Array {
  const root = tree.directories[0];
  const text = (value: string, width: number): Uint8Array => {
    const encoded = tree.joliet ? ucs2(value) : Buffer.from(value, "latin1");
    const blank = tree.joliet ? ucs2(" ".repeat(Math.ceil(width / 2))) : Buffer.from(" ".repeat(width));
    return Buffer.concat([encoded, blank]).subarray(0, width);
  };
  const writer = new ByteWriter(SECTOR)
    .u8(tree.joliet ? 2 : 1)
    .latin1("CD001")
    .u8(1)
    .u8(0);
  writer.bytes(text("", 32)).bytes(text(label, 32)).zeroes(8);
  both32(writer, sectors);
  // UCS-2 level 3. @source Joliet 1.0, "SVD Escape Sequences Field"
  if (tree.joliet) writer.latin1("%/E").zeroes(29);
  else writer.zeroes(32);
  both16(both16(writer, 1), 1); // one volume, the first
  both32(both16(writer, SECTOR), tables.length);
  writer.u32LE(tables.little).u32LE(0).u32(tables.big).u32(0);
  writer.bytes(
    record(
      Uint8Array.of(0),
      root === undefined ? { sector: 0, length: 0 } : extentOf(tree, root),
      true,
      date,
      new Uint8Array(),
    ),
  );
  for (const width of [128, 128, 128, 128, 37, 37, 37]) writer.bytes(text("", width));
  writer.bytes(longDate(date)).bytes(longDate(date)).latin1("0".repeat(16)).u8(0).latin1("0".repeat(16)).u8(0);
  return writer
    .u8(1)
    .zeroes(SECTOR - writer.length)
    .toBytes();
}

/** @source ECMA-119 §9.1.5 */
function shortDate(date: Date): Uint8Array {
  return Uint8Array.of(
    date.getUTCFullYear() - 1900,
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
    0,
  );
}

/** @source ECMA-119 §8.4.26.1 */
function longDate(date: Date): Uint8Array {
  const digits = date
    .toISOString()
    .replaceAll(/[^0-9]/g, "")
    .slice(0, 16);
  return Buffer.concat([Buffer.from(digits, "latin1"), Buffer.alloc(1)]);
}
