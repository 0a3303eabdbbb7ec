import { crc32 } from "node:zlib";
import { Fault } from "../core/fault.ts";
import { isJsonObject, type JsonObject, numberProperty, objectProperty, stringProperty } from "../core/json.ts";
import { jsonMembers } from "../core/json-text.ts";
import { isSecretKey } from "../core/secret.ts";
import type { Seal } from "./seal.ts";
import { giveSecrets, type SecretAt, takeSecrets } from "./secret-paths.ts";

const SUM_DIGITS = 8;

/**
 * The form of every value on disk: eight hexadecimal digits of CRC-32 over key and text, a space, and JSON
 * `{"v": schema, "d": the record, "s": its secrets, sealed}`.
 */
export class RecordCodec {
  readonly #seal: Seal;
  readonly #version: number;

  constructor(seal: Seal, version: number) {
    this.#seal = seal;
    this.#version = version;
  }

  encode(key: string, value: object): string {
    // What is stored is JSON: undefined properties and prototypes end here.
    const text = holdsNoSecrets(key) ? this.#open(value) : this.#sealed(key, value);
    return `${sum(key, text)} ${text}`;
  }

  #open(value: object): string {
    return `{"v":${this.#version},"d":{${jsonMembers(value as JsonObject).slice(1)}}}`;
  }

  #sealed(key: string, value: object): string {
    const { open, secrets } = takeSecrets(value as JsonObject, secretTest(key));
    const sealed = secrets.length === 0 ? {} : { s: this.#seal.close(JSON.stringify(secrets), key) };
    return JSON.stringify({ v: this.#version, d: open, ...sealed });
  }

  /** The record and the schema it was written with. @throws Fault malformed */
  decode(key: string, stored: Buffer | string): { readonly version: number; readonly value: JsonObject } {
    const whole = typeof stored === "string" ? stored : stored.toString("utf8");
    const text = whole.slice(SUM_DIGITS + 1);
    if (whole.slice(0, SUM_DIGITS) !== sum(key, text)) throw corrupt(key, "its check sum is wrong");
    const parsed: unknown = JSON.parse(text);
    const version = isJsonObject(parsed) ? numberProperty(parsed, "v") : undefined;
    const value = isJsonObject(parsed) ? objectProperty(parsed, "d") : undefined;
    const sealed = isJsonObject(parsed) ? stringProperty(parsed, "s") : undefined;
    if (version === undefined || value === undefined) throw corrupt(key, "it has another form");
    if (version > this.#version) throw corrupt(key, `it has version ${version}, newer than ${this.#version}`);
    if (sealed !== undefined) this.#unseal(key, value, sealed);
    return { version, value };
  }

  #unseal(key: string, value: JsonObject, sealed: string): void {
    try {
      giveSecrets(value, JSON.parse(this.#seal.open(sealed, key)) as SecretAt[]);
    } catch (error) {
      throw corrupt(key, "its secrets cannot be decrypted", error);
    }
  }
}

function sum(key: string, text: string): string {
  return crc32(`${key}\0${text}`).toString(16).padStart(SUM_DIGITS, "0");
}

function corrupt(key: string, why: string, cause?: unknown): Fault {
  return new Fault("malformed", "store.corrupt", `the record ${key} cannot be read: ${why}`, { cause });
}

/** Leases are written by the hundred, and none of their keys names a secret. */
function holdsNoSecrets(key: string): boolean {
  return key.startsWith("lease/") || key.startsWith("lease6/");
}

/** The parameters of a command may hold anything, so they are sealed whole. */
function secretTest(key: string): (name: string) => boolean {
  return key.startsWith("command/") ? (name) => name === "params" || isSecretKey(name) : isSecretKey;
}
