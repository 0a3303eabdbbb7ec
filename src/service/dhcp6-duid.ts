import { createHmac } from "node:crypto";

/** DUID-UUID. @source RFC 6355 §4 */
const DUID_UUID = 4;

/**
 * What clients know this server by: a DUID of the kind UUID, made of the store's key. So it is the same for as long as there
 * is the store with the leases, which opens with no other key, and another store has another one. The UUID is of
 * version 8, whose bits are the maker's own (RFC 9562 §5.8).
 */
export function serverDuid(key: Uint8Array): Uint8Array {
  const uuid = createHmac("sha256", key).update("DHCPv6 server").digest().subarray(0, 16);
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x80;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  return Uint8Array.of(0, DUID_UUID, ...uuid);
}
