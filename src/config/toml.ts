import { assertNever } from "../core/fault.ts";
import { ParseError, parseTOML } from "toml-eslint-parser";
import type { AST } from "toml-eslint-parser";

/** Where something stands in a file; both count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A value of a TOML file with the place where it stands. */
export type TomlValue = { readonly at: Place } & (
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "integer"; readonly value: number }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "date" }
  | { readonly kind: "array"; readonly values: TomlValue[] }
  | TomlTable
);

export interface TomlTable {
  readonly kind: "table";
  readonly entries: Map<string, TomlEntry>;
}

export interface TomlEntry {
  /** Where the key stands. */
  readonly at: Place;
  readonly value: TomlValue;
}

/** The text is not TOML. */
export class TomlError extends Error {
  readonly at: Place;

  constructor(at: Place, message: string) {
    super(message);
    this.at = at;
  }
}

/** The content of a TOML file, every key and value with its place. @throws TomlError */
export function parseToml(file: string, text: string): Map<string, TomlEntry> {
  const root = new Map<string, TomlEntry>();
  for (const node of parse(file, text).body[0].body) {
    if (node.type === "TOMLKeyValue") putEntry(file, root, node);
    else putTable(file, root, node);
  }
  return root;
}

function parse(file: string, text: string): AST.TOMLProgram {
  try {
    return parseTOML(text, { tomlVersion: "1.0" });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    throw new TomlError({ file, line: error.lineNumber, column: error.column + 1 }, error.message);
  }
}

function place(file: string, node: { readonly loc: AST.SourceLocation }): Place {
  return { file, line: node.loc.start.line, column: node.loc.start.column + 1 };
}

function putTable(file: string, root: Map<string, TomlEntry>, table: AST.TOMLTable): void {
  let entries = root;
  for (const [index, key] of table.key.keys.entries()) {
    const last = index === table.key.keys.length - 1;
    entries = last && table.kind === "array" ? appendTable(file, entries, key) : descend(file, entries, key);
  }
  for (const node of table.body) putEntry(file, entries, node);
}

function appendTable(
  file: string,
  entries: Map<string, TomlEntry>,
  key: AST.TOMLBare | AST.TOMLQuoted,
): Map<string, TomlEntry> {
  const at = place(file, key);
  const table: TomlValue = { kind: "table", entries: new Map(), at };
  const present = entries.get(nameOf(key))?.value;
  if (present?.kind === "array") present.values.push(table);
  else entries.set(nameOf(key), { at, value: { kind: "array", values: [table], at } });
  return table.entries;
}

/** The table under `key`, made if it is not there; of an array of tables, its last one. */
function descend(
  file: string,
  entries: Map<string, TomlEntry>,
  key: AST.TOMLBare | AST.TOMLQuoted,
): Map<string, TomlEntry> {
  const present = entries.get(nameOf(key))?.value;
  const target = present?.kind === "array" ? present.values.at(-1) : present;
  if (target?.kind === "table") return target.entries;
  const at = place(file, key);
  const made: TomlValue = { kind: "table", entries: new Map(), at };
  entries.set(nameOf(key), { at, value: made });
  return made.entries;
}

function putEntry(file: string, root: Map<string, TomlEntry>, node: AST.TOMLKeyValue): void {
  let entries = root;
  for (const key of node.key.keys.slice(0, -1)) entries = descend(file, entries, key);
  const key = node.key.keys.at(-1);
  if (key !== undefined) entries.set(nameOf(key), { at: place(file, key), value: valueOf(file, node.value) });
}

function nameOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return key.type === "TOMLBare" ? key.name : key.value;
}

function valueOf(file: string, node: AST.TOMLContentNode): TomlValue {
  const at = place(file, node);
  if (node.type === "TOMLArray")
    return { kind: "array", values: node.elements.map((element) => valueOf(file, element)), at };
  if (node.type === "TOMLInlineTable") {
    const entries = new Map<string, TomlEntry>();
    for (const entry of node.body) putEntry(file, entries, entry);
    return { kind: "table", entries, at };
  }
  switch (node.kind) {
    case "string":
      return { kind: "string", value: node.value, at };
    case "integer":
      return { kind: "integer", value: Number(node.bigint), at };
    case "float":
      return { kind: "float", value: node.value, at };
    case "boolean":
      return { kind: "boolean", value: node.value, at };
    case "offset-date-time":
    case "local-date-time":
    case "local-date":
    case "local-time":
      return { kind: "date", at };
    default:
      return assertNever(node);
  }
}
