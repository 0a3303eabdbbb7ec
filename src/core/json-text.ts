import type { Json } from "./json.ts";

/** Text that stands in JSON as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** Names of members as JSON, with the comma before and the colon behind; programs have few of them. */
const names = new Map<string, string>();
const MOST_NAMES = 1024;

/**
 * The object's members as JSON, each after a comma: what JSON.stringify would write, for small flat objects in half the
 * time. undefined members are left out.
 */
export function jsonMembers(object: { readonly [name: string]: Json | undefined }): string {
  let text = "";
  for (const name in object) {
    const value = object[name];
    if (value === undefined || !Object.hasOwn(object, name)) continue;
    text += nameText(name) + valueText(value);
  }
  return text;
}

function nameText(name: string): string {
  const known = names.get(name);
  if (known !== undefined) return known;
  const text = `,${JSON.stringify(name)}:`;
  if (names.size < MOST_NAMES) names.set(name, text);
  return text;
}

function valueText(value: Json): string {
  if (typeof value === "string") return PLAIN.test(value) ? `"${value}"` : JSON.stringify(value);
  if (value === null) return "null";
  if (typeof value === "number" && Number.isSafeInteger(value)) return `${value}`;
  return JSON.stringify(value);
}
