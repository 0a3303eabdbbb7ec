import type { Brand, Ipv4Address } from "./brand.ts";
import { invalid } from "./fault.ts";

export type Ipv6Address = Brand<string, "Ipv6Address">;

/** Which of the two it is. */
export function isIpv6Address(address: Ipv4Address | Ipv6Address): address is Ipv6Address {
  return address.includes(":");
}

const GROUPS = 8;
const LENGTH = 16;

/** An address without zone, in the form of RFC 5952, in which each address is written in one way only. @throws Fault invalid */
export function parseIpv6Address(text: string, field = "address"): Ipv6Address {
  const groups = groupsOf(text);
  if (groups === null) throw invalid(field, `"${text}" is not an IPv6 address`);
  return fromGroups(groups);
}

/** An address as the system writes it, perhaps with a zone (RFC 4007 §11), which is dropped. @throws Fault invalid */
export function parseZonedIpv6Address(text: string): Ipv6Address {
  return parseIpv6Address(text.replace(/%.*$/, ""));
}

function groupsOf(text: string): readonly number[] | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const before = numbers(head ?? [], tail === undefined);
  const after = tail === undefined ? [] : numbers(tail, true);
  if (before === null || after === null) return null;
  const missing = GROUPS - before.length - after.length;
  if (tail === undefined ? missing !== 0 : missing < 1) return null;
  return [...before, ...Array.from({ length: missing }, () => 0), ...after];
}

/** The last part may be dotted decimal where it ends the address (RFC 4291 §2.2). */
function numbers(parts: readonly string[], atEnd: boolean): readonly number[] | null {
  const groups: number[] = [];
  for (const [at, part] of parts.entries()) {
    if (atEnd && at === parts.length - 1 && part.includes(".")) {
      const octets = part.split(".");
      if (octets.length !== 4 || !octets.every((one) => /^(0|[1-9][0-9]{0,2})$/.test(one) && Number(one) <= 255))
        return null;
      const [a = 0, b = 0, c = 0, d = 0] = octets.map(Number);
      groups.push(a * 256 + b, c * 256 + d);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return null;
    }
  }
  return groups;
}

/** The longest run of zeroes, of two groups at least, becomes `::`; of two as long, the first. @source RFC 5952 §4.2 */
function fromGroups(groups: readonly number[]): Ipv6Address {
  let [start, length] = [0, 1];
  for (let at = 0; at < groups.length; at += 1) {
    let run = 0;
    while (groups[at + run] === 0) run += 1;
    if (run > length) [start, length] = [at, run];
    at += run;
  }
  const text = (some: readonly number[]): string => some.map((group) => group.toString(16)).join(":");
  if (length < 2) return text(groups) as Ipv6Address;
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}` as Ipv6Address;
}

export function ipv6FromBytes(bytes: Uint8Array): Ipv6Address {
  if (bytes.length !== LENGTH) throw invalid("address", `an IPv6 address has 16 bytes, not ${bytes.length}`);
  return fromGroups(Array.from({ length: GROUPS }, (_, at) => (bytes[2 * at] ?? 0) * 256 + (bytes[2 * at + 1] ?? 0)));
}

export function ipv6ToBytes(address: Ipv6Address): Uint8Array {
  const groups = groupsOf(address) ?? [];
  return Uint8Array.from({ length: LENGTH }, (_, at) => {
    const group = groups[at >> 1] ?? 0;
    return at % 2 === 0 ? group >> 8 : group & 255;
  });
}

/** The address as an unsigned number of 128 bits. */
export function ipv6ToNumber(address: Ipv6Address): bigint {
  return (groupsOf(address) ?? []).reduce((sum, group) => sum * 65_536n + BigInt(group), 0n);
}

export function ipv6FromNumber(value: bigint): Ipv6Address {
  return fromGroups(
    Array.from({ length: GROUPS }, (_, at) => Number((value >> BigInt(16 * (GROUPS - 1 - at))) & 0xffffn)),
  );
}

/** fe80::/10 @source RFC 4291 §2.5.6 */
export function isLinkLocal(address: Ipv6Address): boolean {
  return ipv6ToNumber(address) >> 118n === 0x3fan;
}
