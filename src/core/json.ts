export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The own property `key` of an object that came from outside, or undefined. */
export function property(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

export function stringProperty(object: JsonObject, key: string): string | undefined {
  const value = property(object, key);
  return typeof value === "string" ? value : undefined;
}

export function numberProperty(object: JsonObject, key: string): number | undefined {
  const value = property(object, key);
  return typeof value === "number" ? value : undefined;
}

export function objectProperty(object: JsonObject, key: string): JsonObject | undefined {
  const value = property(object, key);
  return isJsonObject(value) ? value : undefined;
}

/** An object from text that came from outside; undefined when it is none. */
export function parseJsonObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
