import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { Fault } from "../core/fault.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Encrypts what must not be readable on disk: AES-256-GCM, bound to the key of its record. @source NIST SP 800-38D */
export class Seal {
  readonly #key: Uint8Array;
  /** Tells keys apart without telling the key. */
  readonly fingerprint: string;

  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES)
      throw new Fault("storage", "store.key", `the store's key has ${key.length} bytes, not ${KEY_BYTES}`);
    this.#key = Uint8Array.from(key);
    this.fingerprint = createHash("sha256").update("ironrack store key\0").update(key).digest("hex").slice(0, 16);
  }

  close(text: string, recordKey: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv("aes-256-gcm", this.#key, nonce).setAAD(Buffer.from(recordKey));
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString("base64");
  }

  /** @throws when it was sealed with another key, for another record, or was changed */
  open(sealed: string, recordKey: string): string {
    const bytes = Buffer.from(sealed, "base64");
    if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error("sealed text is too short");
    const decipher = createDecipheriv("aes-256-gcm", this.#key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.from(recordKey)).setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
    const text = decipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES));
    return Buffer.concat([text, decipher.final()]).toString("utf8");
  }
}

/** Name of the systemd credential that may hold the key instead of a file of ours. */
const CREDENTIAL = "store-key";

/**
 * The store's key (64 hexadecimal digits) from the systemd credential `store-key`, if there is one, else from `path`; made
 * there, with mode 0600 and on disk, when the file is not there. @throws Fault storage
 */
export function readStoreKey(path: string, credentialsDirectory?: string): Uint8Array {
  const credential = credentialsDirectory === undefined ? undefined : readKey(join(credentialsDirectory, CREDENTIAL));
  const present = credential ?? readKey(path);
  if (present !== undefined) return present;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  makeKey(path);
  const made = readKey(path);
  if (made === undefined) throw new Fault("storage", "store.key", `${path} vanished`);
  return made;
}

function readKey(path: string): Uint8Array | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new Fault("storage", "store.key", `${path} cannot be read: ${code}`, { cause: error });
  }
  if (!/^[0-9a-fA-F]{64}$/.test(text)) {
    throw new Fault(
      "storage",
      "store.key",
      `${path} does not hold a key of 64 hexadecimal digits; restore it from a copy`,
    );
  }
  return Uint8Array.from(Buffer.from(text, "hex"));
}

/** The file appears under its name only when it is whole and on disk; a second maker loses and uses the first's. */
function makeKey(path: string): void {
  const draft = `${path}.${process.pid}.new`;
  try {
    const file = openSync(draft, "w", 0o600);
    try {
      writeSync(file, `${randomBytes(KEY_BYTES).toString("hex")}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    try {
      linkSync(draft, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    unlinkSync(draft);
    const directory = openSync(dirname(path), "r");
    fsyncSync(directory);
    closeSync(directory);
  } catch (error) {
    throw new Fault(
      "storage",
      "store.key",
      `${path} cannot be written: ${String((error as NodeJS.ErrnoException).code)}`,
      { cause: error },
    );
  }
}
