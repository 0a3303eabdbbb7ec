const LF = 10;
const CR = 13;
const NUL = 0;

/** Text in the form of the wire: LF becomes CR LF, CR becomes CR NUL. @source RFC 1350 §1, RFC 764 */
export function toNetascii(bytes: Uint8Array): Uint8Array {
  let extra = 0;
  for (const byte of bytes) if (byte === LF || byte === CR) extra += 1;
  if (extra === 0) return bytes;
  const out = new Uint8Array(bytes.length + extra);
  let at = 0;
  for (const byte of bytes) {
    if (byte === LF) out[at++] = CR;
    out[at++] = byte;
    if (byte === CR) out[at++] = NUL;
  }
  return out;
}
