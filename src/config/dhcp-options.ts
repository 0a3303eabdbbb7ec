import { parseIpv4Address } from "../core/brand.ts";
import { ByteWriter } from "../core/byte-writer.ts";
import { isFault } from "../core/fault.ts";
import type { ClasslessRoute, Ipv4Pair } from "../protocol/dhcp4/option-values.ts";
import { dhcpOptions, isOptionName, type OptionBytes, type OptionName } from "../protocol/dhcp4/options.ts";
import { uint16, uint32, uint8, type ValueCodec } from "../protocol/value-codec.ts";
import { FieldError, FieldErrors, type Kind } from "./field.ts";
import { nearest } from "./suggestion.ts";
import type { TomlEntry, TomlValue } from "./toml.ts";

/** Options that follow from something else, which is where they are set. */
const SET_ELSEWHERE: { readonly [Name in OptionName]?: string } = {
  subnetMask: "it follows from boot.address",
  broadcastAddress: "it follows from boot.address",
  router: "set dhcp.gateway",
  domainNameServer: "set dhcp.dns",
  domainName: "set dhcp.domain",
  ntpServer: "set dhcp.ntp",
  hostName: "set hostname of the reservation",
  leaseTime: "set dhcp.lease_time",
  renewalTime: "it follows from dhcp.lease_time",
  rebindingTime: "it follows from dhcp.lease_time",
  tftpServerName: "what is booted follows from the node",
  bootfileName: "what is booted follows from the node",
  ipxe: "what is booted follows from the node",
  requestedAddress: "only clients send it",
  overload: "it is used where options need the room",
  messageType: "it is in every message",
  serverIdentifier: "it is in every message",
  parameterRequestList: "only clients send it",
  message: "it tells why a client is refused",
  maximumMessageSize: "only clients send it",
  vendorClassIdentifier: "firmware tells by it whose answer it is",
  clientIdentifier: "only clients send it",
  userClass: "only clients send it",
  rapidCommit: "a server answers with it, when it is asked",
  relayAgentInformation: "only relays send it",
  clientSystemArchitecture: "only clients send it",
  clientNetworkInterface: "only clients send it",
  clientMachineIdentifier: "only clients send it",
  subnetSelection: "only clients send it",
};

/** `domainNameServer` as it stands in the file: `domain_name_server`. */
export function optionKey(name: OptionName): string {
  return name.replace(/[A-Z]/g, (part) => `_${part.toLowerCase()}`);
}

const settable = new Map<string, OptionName>(
  Object.keys(dhcpOptions).flatMap((name) =>
    isOptionName(name) && SET_ELSEWHERE[name] === undefined ? [[optionKey(name), name]] : [],
  ),
);

const elsewhere = new Map<string, string>(
  Object.entries(SET_ELSEWHERE).flatMap(([name, why]) => (isOptionName(name) ? [[optionKey(name), why]] : [])),
);

const codesElsewhere = new Map<number, string>(
  Object.entries(SET_ELSEWHERE).flatMap(([name, why]) => (isOptionName(name) ? [[dhcpOptions[name].code, why]] : [])),
);

type Reader = (value: TomlValue) => unknown;

/** How a value of each form stands in the file. */
const READERS: Readonly<Record<string, { readonly written: string; readonly read: Reader }>> = {
  "8-bit number": { written: "0 to 255", read: (value) => whole(value, 0, 0xff) },
  "16-bit number": { written: "0 to 65535", read: (value) => whole(value, 0, 0xffff) },
  "32-bit number": { written: "0 to 4294967295", read: (value) => whole(value, 0, 0xffffffff) },
  "signed 32-bit number": {
    written: "-2147483648 to 2147483647",
    read: (value) => whole(value, -0x80000000, 0x7fffffff),
  },
  "true or false": { written: "true or false", read: truth },
  "IPv4 address": { written: '"10.20.0.5"', read: address },
  text: { written: '"text"', read: latin1 },
  bytes: { written: '"0a:0b:0c" or "0a0b0c"', read: octets },
  "list of 8-bit number": { written: "[1, 2]", read: (value) => listOf(value, (one) => whole(one, 0, 0xff)) },
  "list of 16-bit number": { written: "[68, 1500]", read: (value) => listOf(value, (one) => whole(one, 0, 0xffff)) },
  "list of IPv4 address": { written: '["10.20.0.5", "10.20.0.6"]', read: (value) => listOf(value, address) },
  "list of pair of IPv4 addresses": {
    written: '[["10.30.0.0", "10.20.0.254"]]',
    read: (value) => listOf(value, pair),
  },
  "list of route": { written: '["10.30.0.0/16 via 10.20.0.254"]', read: (value) => listOf(value, route) },
  "list of domain names": { written: '["rack.example.org"]', read: (value) => listOf(value, domainName) },
};

function readerOf(form: string): { readonly written: string; readonly read: Reader } | undefined {
  return READERS[form] ?? (/^at least \d+ bytes$/.test(form) ? READERS["bytes"] : undefined);
}

/** How an option that has no name here says what its bytes are: `224 = { u16 = 5 }`. */
const TYPED: Readonly<Record<string, (value: TomlValue) => Uint8Array>> = {
  hex: octets,
  text: (value) => Buffer.from(latin1(value), "latin1"),
  ip: (value) => encoded(dhcpOptions.router.value, value.kind === "array" ? listOf(value, address) : [address(value)]),
  u8: (value) => encoded(uint8, whole(value, 0, 0xff)),
  u16: (value) => encoded(uint16, whole(value, 0, 0xffff)),
  u32: (value) => encoded(uint32, whole(value, 0, 0xffffffff)),
};

/** A table of DHCPv4 options, by name or by number, as the bytes that stand on the wire. */
export const dhcpOptionTable: Kind<OptionBytes> = {
  type: "table of DHCP options",
  range: "see docs/dhcp-options.md",
  parse: (value) => {
    if (value.kind !== "table") throw new FieldError(value.at, "must be a table of options: write [dhcp.options]");
    const options = new Map<number, Uint8Array>();
    const errors: FieldError[] = [];
    for (const [key, entry] of value.entries) {
      try {
        const { code, bytes } = /^\d+$/.test(key) ? byNumber(key, entry) : byName(key, entry);
        if (options.has(code)) throw new FieldError(entry.at, `option ${code} is given twice`);
        options.set(code, bytes);
      } catch (error) {
        if (!(error instanceof FieldError)) throw error;
        errors.push(new FieldError(error.at, error.message, key));
      }
    }
    if (errors.length > 0) throw new FieldErrors(errors);
    return options;
  },
};

/** Every option that may be set by name: how it is written, its number and where it is defined. */
export function optionRows(): readonly {
  readonly key: string;
  readonly code: number;
  readonly written: string;
  readonly source: string;
}[] {
  return [...settable].flatMap(([key, name]) => {
    const { code, value, source } = dhcpOptions[name];
    const reader = readerOf(value.form);
    return reader === undefined ? [] : [{ key, code, written: reader.written, source }];
  });
}

function byName(key: string, { at, value }: TomlEntry): { readonly code: number; readonly bytes: Uint8Array } {
  const why = elsewhere.get(key);
  if (why !== undefined) throw new FieldError(at, `cannot be set here: ${why}`);
  const name = settable.get(key);
  const row = name === undefined ? undefined : dhcpOptions[name];
  const reader = row === undefined ? undefined : readerOf(row.value.form);
  if (row === undefined || reader === undefined) {
    throw new FieldError(at, `unknown option${nearest(key, [...settable.keys()])}; others are set by number`);
  }
  const bytes = encoded(row.value as unknown as ValueCodec<unknown>, reader.read(value));
  return { code: row.code, bytes: checked(row.value, bytes, value) };
}

/** What a client that reads by the same table would reject is not sent. */
function checked(codec: { readonly form: string }, bytes: Uint8Array, value: TomlValue): Uint8Array {
  const least = /^at least (\d+) bytes$/.exec(codec.form)?.[1];
  if (least !== undefined && bytes.length < Number(least)) throw new FieldError(value.at, `needs ${codec.form}`);
  return bytes;
}

function byNumber(key: string, { at, value }: TomlEntry): { readonly code: number; readonly bytes: Uint8Array } {
  const code = Number(key);
  if (code < 1 || code > 254) throw new FieldError(at, "an option's number is 1 to 254");
  const why = codesElsewhere.get(code);
  if (why !== undefined) throw new FieldError(at, `cannot be set here: ${why}`);
  const types = Object.keys(TYPED);
  const entries = value.kind === "table" ? [...value.entries] : [];
  const [type, entry] = entries[0] ?? [];
  if (entries.length !== 1 || type === undefined || entry === undefined) {
    throw new FieldError(
      value.at,
      `must say what its bytes are: ${key} = { TYPE = … }, TYPE one of ${types.join(", ")}`,
    );
  }
  const read = Object.hasOwn(TYPED, type) ? TYPED[type] : undefined;
  if (read === undefined) {
    throw new FieldError(entry.at, `unknown type "${type}"${nearest(type, types)}: one of ${types.join(", ")}`);
  }
  return { code, bytes: read(entry.value) };
}

function encoded<T>(codec: ValueCodec<T>, value: T): Uint8Array {
  const writer = new ByteWriter(codec.size ?? 16);
  codec.encode(value, writer);
  return writer.toBytes();
}

function whole(value: TomlValue, least: number, most: number): number {
  if (value.kind !== "integer") throw new FieldError(value.at, `must be a whole number, ${least} to ${most}`);
  if (value.value < least || value.value > most) {
    throw new FieldError(value.at, `${value.value} is out of range: ${least} to ${most}`);
  }
  return value.value;
}

function truth(value: TomlValue): boolean {
  if (value.kind !== "boolean") throw new FieldError(value.at, "must be true or false");
  return value.value;
}

function latin1(value: TomlValue): string {
  if (value.kind !== "string" || value.value === "") throw new FieldError(value.at, "must be text that is not empty");
  const carried = Array.from(value.value, (letter) => letter.codePointAt(0) ?? 0);
  if (carried.some((code) => code < 1 || code > 255))
    throw new FieldError(value.at, "must be Latin-1 text without NUL");
  return value.value;
}

function address(value: TomlValue): Ipv4Pair["first"] {
  if (value.kind !== "string") throw new FieldError(value.at, "must be an IPv4 address in quotes");
  return addressIn(value.value, value);
}

function addressIn(found: string, { at }: TomlValue): Ipv4Pair["first"] {
  try {
    return parseIpv4Address(found);
  } catch (error) {
    if (!isFault(error)) throw error;
    throw new FieldError(at, `"${found}" is not an IPv4 address`);
  }
}

function octets(value: TomlValue): Uint8Array {
  const found = value.kind === "string" ? value.value : "";
  if (!/^(?:[0-9a-fA-F]{2}|[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2})+)$/.test(found)) {
    throw new FieldError(value.at, 'must be bytes in hexadecimal digits, like "0a:0b" or "0a0b"');
  }
  return Uint8Array.from(Buffer.from(found.replaceAll(":", ""), "hex"));
}

function listOf<T>(value: TomlValue, read: (one: TomlValue) => T): readonly T[] {
  if (value.kind !== "array" || value.values.length === 0) {
    throw new FieldError(value.at, "must be a list, with at least one element");
  }
  return value.values.map(read);
}

function pair(value: TomlValue): Ipv4Pair {
  const [first, second] = value.kind === "array" && value.values.length === 2 ? value.values.map(address) : [];
  if (first === undefined || second === undefined) throw new FieldError(value.at, "must be a pair of IPv4 addresses");
  return { first, second };
}

function route(value: TomlValue): ClasslessRoute {
  const found = value.kind === "string" ? value.value : "";
  const parts = /^([0-9.]+)\/([0-9]{1,2}) via ([0-9.]+)$/.exec(found);
  const prefixLength = Number(parts?.[2]);
  if (parts === null || prefixLength > 32) {
    throw new FieldError(value.at, 'must be a route, like "10.30.0.0/16 via 10.20.0.254"');
  }
  return { destination: addressIn(parts[1] ?? "", value), prefixLength, router: addressIn(parts[3] ?? "", value) };
}

function domainName(value: TomlValue): string {
  const found = value.kind === "string" ? value.value : "";
  if (found.length > 253 || !/^(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$/.test(found)) {
    throw new FieldError(value.at, "must be a domain name in quotes");
  }
  return found;
}
