import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";

/** Where a secret stood in its record, and what it was. */
export type SecretAt = readonly [path: readonly (string | number)[], secret: Json];

/** A copy of `value` with null for everything that stands under a secret key, and what stood there. */
export function takeSecrets(
  value: JsonObject,
  isSecret: (key: string) => boolean,
): { readonly open: JsonObject; readonly secrets: readonly SecretAt[] } {
  const secrets: SecretAt[] = [];
  const open = take(value, [], isSecret, secrets);
  return { open: open as JsonObject, secrets };
}

function take(
  value: Json,
  path: readonly (string | number)[],
  isSecret: (key: string) => boolean,
  secrets: SecretAt[],
): Json {
  if (Array.isArray(value))
    return value.map((element: Json, index) => take(element, [...path, index], isSecret, secrets));
  if (!isJsonObject(value)) return value;
  const open = Object.entries(value).map(([key, child]): [string, Json] => {
    if (child === null || !isSecret(key)) return [key, take(child, [...path, key], isSecret, secrets)];
    secrets.push([[...path, key], child]);
    return [key, null];
  });
  return Object.fromEntries(open);
}

/** Puts secrets back where they were taken from; `open` is changed. @throws when it has no such place */
export function giveSecrets(open: JsonObject, secrets: readonly SecretAt[]): void {
  for (const [path, secret] of secrets) {
    let place: unknown = open;
    for (const part of path.slice(0, -1)) place = own(place, part);
    const last = path.at(-1);
    if (last === undefined || own(place, last) !== null) throw new Error("a secret has no place");
    // Object.defineProperty also takes the key __proto__, which JSON may hold.
    Object.defineProperty(place, last, { value: secret, writable: true, enumerable: true, configurable: true });
  }
}

function own(place: unknown, part: string | number): unknown {
  if (typeof place !== "object" || place === null || !Object.hasOwn(place, part))
    throw new Error("a secret has no place");
  return (place as Readonly<Record<string | number, unknown>>)[part];
}
