import type { Json } from "./json.ts";

/** Text that stands in JSON as it is. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** The name of a member, and the text that was its value last: most lines of a log say mostly what the one before said. */
interface Name {
  /** As JSON, with the comma before and the colon behind. */
  readonly text: string;
  value: string;
  /** Name and value as JSON. */
  member: string;
}

/** Programs have few of them. */
const names = new Map<string, Name>();
const MOST_NAMES = 1024;
/** No longer ones are kept. */
const LONG = 64;

/**
 * The object's members as JSON, each after a comma: what JSON.stringify would write, for small flat objects in a third of
 * the time. undefined members are left out.
 */
export function jsonMembers(object: { readonly [name: string]: Json | undefined }): string {
  const inherits = Object.getPrototypeOf(object) !== Object.prototype;
  let text = "";
  for (const name in object) {
    const value = object[name];
    if (value === undefined || (inherits && !Object.hasOwn(object, name))) continue;
    text += memberText(name, value);
  }
  return text;
}

function memberText(name: string, value: Json): string {
  const known = names.get(name) ?? remember(name);
  if (typeof value !== "string") return known.text + valueText(value);
  if (known.value === value) return known.member;
  const text = known.text + (PLAIN.test(value) ? `"${value}"` : JSON.stringify(value));
  if (value.length > LONG) return text;
  known.value = value;
  known.member = text;
  return text;
}

function remember(name: string): Name {
  const text = `,${JSON.stringify(name)}:`;
  const made = { text, value: "", member: `${text}""` };
  if (names.size < MOST_NAMES) names.set(name, made);
  return made;
}

function valueText(value: Exclude<Json, string>): string {
  if (value === null) return "null";
  if (typeof value === "number" && Number.isSafeInteger(value)) return `${value}`;
  return JSON.stringify(value);
}
