import { isJsonObject, type Json } from "../core/json.ts";

/** Rows under headings, columns as wide as their longest cell; the last one is cut to `width`. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[], width?: number): string {
  const clean = rows.map((row) => row.map(oneLine));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...clean.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string => {
    const text = cells
      .map((cell, column) => (column === cells.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join("  ");
    return width !== undefined && text.length > width ? `${text.slice(0, Math.max(1, width - 1))}…` : text.trimEnd();
  };
  return [headings, ...clean].map((row) => `${line(row)}\n`).join("");
}

/** Names and values, one a line; what is empty is left out unless `all`. */
export function fields(
  rows: readonly (readonly [string, Json | undefined])[],
  options: { readonly all?: boolean } = {},
): string {
  const shown = rows.filter(([, value]) => options.all === true || !isEmpty(value));
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${name.padEnd(width)}  ${cell(value).replaceAll("\n", `\n${" ".repeat(width + 2)}`)}\n`)
    .join("");
}

function isEmpty(value: Json | undefined): boolean {
  return (
    value === undefined ||
    value === null ||
    value === "" ||
    (isJsonObject(value) && Object.keys(value).length === 0) ||
    (Array.isArray(value) && value.length === 0)
  );
}

/** A JSON value as a person reads it: text as it is, an object as `key=value` lines. */
export function cell(value: Json | undefined): string {
  if (value === undefined || value === null) return "-";
  if (typeof value === "string") return value;
  if (isJsonObject(value))
    return Object.entries(value)
      .map(([key, one]) => `${key}=${typeof one === "string" ? one : JSON.stringify(one)}`)
      .join("\n");
  if (Array.isArray(value))
    return value.map((one: Json) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ");
  return JSON.stringify(value);
}

/** Control characters, which a machine's own text may hold, must not reach the terminal. */
export function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, " ");
}
