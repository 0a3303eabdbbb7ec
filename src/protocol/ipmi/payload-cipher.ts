import { createCipheriv, createDecipheriv } from "node:crypto";
import { ByteWriter } from "../../core/byte-writer.ts";
import { MalformedFault } from "../../core/fault.ts";
import { wrong } from "./rmcp.ts";

const BLOCK = 16;

/*
 * +----------------+---------------------------------------------------+
 * | IV, 16 bytes   | AES-CBC-128( payload | 01h 02h … n | n )          |
 * +----------------+---------------------------------------------------+
 */

/** Encrypts under the first 16 bytes of K2. `iv` has 16 random bytes. @source IPMI 2.0 §13.29, table 13-20 */
export function encryptPayload(k2: Uint8Array, iv: Uint8Array, payload: Uint8Array): Uint8Array {
  const pad = (BLOCK - ((payload.length + 1) % BLOCK)) % BLOCK;
  const plain = new ByteWriter(payload.length + BLOCK).bytes(payload);
  for (let value = 1; value <= pad; value += 1) plain.u8(value);
  const cipher = createCipheriv("aes-128-cbc", k2.subarray(0, BLOCK), iv).setAutoPadding(false);
  const text = cipher.update(plain.u8(pad).toBytes());
  return new ByteWriter(BLOCK + text.length).bytes(iv).bytes(text).bytes(cipher.final()).toBytes();
}

/** Payload and IV of an encrypted payload. @throws MalformedFault on a wrong length or padding */
export function decryptPayload(
  k2: Uint8Array,
  bytes: Uint8Array,
): { readonly iv: Uint8Array; readonly payload: Uint8Array } {
  if (bytes.length < 2 * BLOCK) throw new MalformedFault("session.payload", 0, 2 * BLOCK, bytes.length);
  if (bytes.length % BLOCK !== 0)
    throw wrong("session.payload", 0, `of ${bytes.length} bytes is not whole cipher blocks`);
  const iv = bytes.slice(0, BLOCK);
  const decipher = createDecipheriv("aes-128-cbc", k2.subarray(0, BLOCK), iv).setAutoPadding(false);
  const plain = Buffer.concat([decipher.update(bytes.subarray(BLOCK)), decipher.final()]);
  const pad = plain.at(-1) ?? 0;
  if (pad >= BLOCK) throw wrong("session.confidentialityPad", plain.length - 1, `has length ${pad}`);
  const end = plain.length - 1 - pad;
  for (let value = 1; value <= pad; value += 1) {
    if (plain[end + value - 1] !== value) throw wrong("session.confidentialityPad", end + value - 1, `is not ${value}`);
  }
  return { iv, payload: new Uint8Array(plain.subarray(0, end)) };
}
