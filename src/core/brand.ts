import { invalid } from "./fault.ts";

declare const brand: unique symbol;
/** A value that only its parse function makes, so that it cannot be mixed with others of the same form. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

export type NodeUuid = Brand<string, "NodeUuid">;
export type PortUuid = Brand<string, "PortUuid">;
export type VolumeUuid = Brand<string, "VolumeUuid">;
export type MacAddress = Brand<string, "MacAddress">;
export type Ipv4Address = Brand<string, "Ipv4Address">;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(text: string): boolean {
  return UUID.test(text.toLowerCase());
}

/** A UUID in canonical lower-case form. @throws Fault invalid */
export function parseNodeUuid(text: string, field = "uuid"): NodeUuid {
  return parseUuid(text, field) as NodeUuid;
}

export function parsePortUuid(text: string, field = "uuid"): PortUuid {
  return parseUuid(text, field) as PortUuid;
}

export function parseVolumeUuid(text: string, field = "uuid"): VolumeUuid {
  return parseUuid(text, field) as VolumeUuid;
}

function parseUuid(text: string, field: string): string {
  const lower = text.toLowerCase();
  if (!UUID.test(lower)) throw invalid(field, `"${text}" is not a UUID`);
  return lower;
}

/** An EUI-48 address, lower-case with colons; hyphens and upper case are accepted. @throws Fault invalid */
export function parseMacAddress(text: string, field = "address"): MacAddress {
  const lower = text.toLowerCase().replaceAll("-", ":");
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(lower)) throw invalid(field, `"${text}" is not a MAC address`);
  return lower as MacAddress;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hexOf(byte: number): string {
  return HEX[byte & 255] ?? "";
}

/** Eight digits. */
export function hexOfWord(word: number): string {
  return hexOf(word >>> 24) + hexOf(word >>> 16) + hexOf(word >>> 8) + hexOf(word);
}

export function macAddressFromBytes(bytes: Uint8Array): MacAddress {
  if (bytes.length !== 6) throw invalid("address", `a MAC address has 6 bytes, not ${bytes.length}`);
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes;
  const high = (a << 16) | (b << 8) | c;
  const low = (d << 16) | (e << 8) | f;
  const at = (low ^ high) & (REMEMBERED - 1);
  const known = macAddresses[at];
  if (known !== undefined && known.high === high && known.low === low) return known.address;
  const address = `${hexOf(a)}:${hexOf(b)}:${hexOf(c)}:${hexOf(d)}:${hexOf(e)}:${hexOf(f)}` as MacAddress;
  macAddresses[at] = { high, low, address };
  return address;
}

/** Addresses named lately, by some of their bits: those of one rack are named again and again, several times in each exchange. */
const REMEMBERED = 2048;
const macAddresses: ({ readonly high: number; readonly low: number; readonly address: MacAddress } | undefined)[] = [];
const ipv4Addresses: ({ readonly value: number; readonly address: Ipv4Address } | undefined)[] = [];
for (let at = 0; at < REMEMBERED; at += 1) {
  macAddresses.push(undefined);
  ipv4Addresses.push(undefined);
}

export function macAddressToBytes(address: MacAddress): Uint8Array {
  return Uint8Array.from(address.split(":"), (part) => Number.parseInt(part, 16));
}

/** Dotted decimal without leading zeroes. @throws Fault invalid */
export function parseIpv4Address(text: string, field = "address"): Ipv4Address {
  const parts = text.split(".");
  const good = parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255);
  if (!good) throw invalid(field, `"${text}" is not an IPv4 address`);
  return text as Ipv4Address;
}

export function ipv4FromNumber(value: number): Ipv4Address {
  if (value === 0) return "0.0.0.0" as Ipv4Address;
  const at = (value ^ (value >>> 16)) & (REMEMBERED - 1);
  const known = ipv4Addresses[at];
  if (known !== undefined && known.value === value) return known.address;
  const address = `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as Ipv4Address;
  ipv4Addresses[at] = { value, address };
  return address;
}

/** The address as an unsigned 32-bit number. */
export function ipv4ToNumber(address: Ipv4Address): number {
  // In every DHCP message many times: no parts are cut out.
  let number = 0;
  let part = 0;
  for (let at = 0; at < address.length; at += 1) {
    const code = address.charCodeAt(at);
    if (code === 0x2e) {
      number = number * 256 + part;
      part = 0;
    } else {
      part = part * 10 + code - 0x30;
    }
  }
  return number * 256 + part;
}
