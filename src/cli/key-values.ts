import { readFileSync } from "node:fs";
import { InvalidArgumentError } from "commander";
import type { Json, JsonObject } from "../core/json.ts";
import { isSecretKey } from "../core/secret.ts";

/**
 * A repeatable `KEY=VALUE` option. The value is text, except that what begins with { or [ is JSON, and that `numbers` makes
 * true, false and plain whole numbers what they look like. `@FILE` reads the value from a file, so that a password need
 * not stand in the process list.
 */
export function keyValue(options: {
  readonly numbers: boolean;
}): (text: string, previous: JsonObject | undefined) => JsonObject {
  return (text, previous) => {
    const cut = text.indexOf("=");
    if (cut <= 0) throw new InvalidArgumentError("It must be KEY=VALUE.");
    const key = text.slice(0, cut);
    return { ...previous, [key]: parseValue(key, text.slice(cut + 1), options.numbers) };
  };
}

function parseValue(key: string, text: string, numbers: boolean): Json {
  if (text.startsWith("@")) return readValue(text.slice(1));
  if (/^[[{]/.test(text) && !isSecretKey(key)) {
    try {
      return JSON.parse(text) as Json;
    } catch {
      throw new InvalidArgumentError(`${key}: begins like JSON and is not.`);
    }
  }
  if (!numbers || isSecretKey(key)) return text;
  if (text === "true" || text === "false") return text === "true";
  return /^(0|-?[1-9][0-9]{0,14})$/.test(text) ? Number(text) : text;
}

function readValue(path: string): string {
  try {
    return readFileSync(path, "utf8").replace(/\r?\n$/, "");
  } catch {
    throw new InvalidArgumentError(`The file ${path} cannot be read.`);
  }
}
