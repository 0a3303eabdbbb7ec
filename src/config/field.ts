import { type Ipv4Address, type MacAddress, parseIpv4Address, parseMacAddress } from "../core/brand.ts";
import { isFault } from "../core/fault.ts";
import { type Ipv6Address, isLinkLocal, parseIpv6Address } from "../core/ipv6-address.ts";
import { type Bytes, bytes, type Millis, seconds } from "../core/units.ts";
import { SecretFile } from "./secret-file.ts";
import { nearest } from "./suggestion.ts";
import type { Place, TomlValue } from "./toml.ts";

/** One key of the configuration: what it may be and what it means. */
export interface Field<T> {
  readonly type: string;
  readonly unit: string | null;
  /** As it would stand in the file; null: the key is required, `absent`: it may be left out and has no value then. */
  readonly written: string | null | typeof absent;
  readonly fallback: T | undefined;
  readonly range: string | null;
  readonly sentence: string;
  /** A value for documents where there is no default. */
  readonly example: string | null;
  /** The value is read from a file, and its key without `_file` names it in Config. */
  readonly secret: boolean;
  /** Whether the daemon must be restarted for a change to take effect. */
  readonly restart: boolean;
  /** @throws FieldError */
  parse(value: TomlValue): T;
}

export const absent = Symbol("absent");

/** A value that its key does not allow. */
export class FieldError extends Error {
  readonly at: Place;
  /** Of what is wrong within the value of a key that is a table; null: the value itself. */
  readonly within: string | null;

  constructor(at: Place, message: string, within: string | null = null) {
    super(message);
    this.at = at;
    this.within = within;
  }
}

/** Several of them in one value. */
export class FieldErrors extends Error {
  readonly errors: readonly FieldError[];

  constructor(errors: readonly FieldError[]) {
    super(errors.map(({ message }) => message).join("; "));
    this.errors = errors;
  }
}

export interface Kind<T> {
  readonly type: string;
  readonly unit?: string;
  readonly range?: string;
  readonly secret?: boolean;
  parse(value: TomlValue): T;
}

/** A key that must be given. */
export function required<T>(kind: Kind<T>, example: string, sentence: string): Field<T> {
  return { ...describe(kind, sentence), example: JSON.stringify(example), written: null, fallback: undefined };
}

/** A key that may be left out, with nothing in its place. */
export function optional<T>(kind: Kind<T>, example: string | number, sentence: string): Field<T | null> {
  return { ...describe<T | null>(kind, sentence), example: JSON.stringify(example), written: absent, fallback: null };
}

/** A key with a default, given as it would stand in the file. */
export function defaulted<T>(
  kind: Kind<T>,
  written: string | number | boolean | readonly string[],
  sentence: string,
): Field<T> {
  const at: Place = { file: "default", line: 1, column: 1 };
  const value = (plain: string | number | boolean): TomlValue => {
    if (typeof plain === "string") return { kind: "string", value: plain, at };
    if (typeof plain === "number") return { kind: "integer", value: plain, at };
    return { kind: "boolean", value: plain, at };
  };
  const given: TomlValue =
    typeof written === "object"
      ? { kind: "array", values: written.map((element) => value(element)), at }
      : value(written);
  return { ...describe(kind, sentence), written: JSON.stringify(written), fallback: kind.parse(given) };
}

function describe<T>(kind: Kind<T>, sentence: string): Omit<Field<T>, "written" | "fallback"> {
  return {
    type: kind.type,
    unit: kind.unit ?? null,
    range: kind.range ?? null,
    sentence,
    example: null,
    secret: kind.secret ?? false,
    restart: true,
    parse: (value) => kind.parse(value),
  };
}

function wrongType(value: TomlValue, wanted: string): FieldError {
  const found = value.kind === "integer" || value.kind === "array" ? `an ${value.kind}` : `a ${value.kind}`;
  return new FieldError(value.at, `must be ${wanted}, not ${found}`);
}

function stringOf(value: TomlValue, wanted = "a string"): string {
  if (value.kind !== "string") throw wrongType(value, wanted);
  return value.value;
}

/** Text; with a pattern, `range` says in words what it demands. */
export function text(pattern?: RegExp, range?: string): Kind<string> {
  return {
    type: "string",
    ...(range === undefined ? {} : { range }),
    parse: (value) => {
      const found = stringOf(value);
      if (found === "") throw new FieldError(value.at, "must not be empty");
      if (pattern !== undefined && !pattern.test(found))
        throw new FieldError(value.at, `"${found}" is not ${range ?? "allowed"}`);
      return found;
    },
  };
}

/** Text that may be empty. */
export const freeText: Kind<string> = { type: "string", parse: (value) => stringOf(value) };

export const flag: Kind<boolean> = {
  type: "boolean",
  parse: (value) => {
    if (value.kind !== "boolean") throw wrongType(value, "true or false");
    return value.value;
  },
};

export function integer(least: number, most: number, unit?: string): Kind<number> {
  return {
    type: "integer",
    ...(unit === undefined ? {} : { unit }),
    range: `${least} to ${most}`,
    parse: (value) => {
      if (value.kind !== "integer") throw wrongType(value, unit === undefined ? "an integer" : `an integer (${unit})`);
      if (value.value < least || value.value > most) {
        throw new FieldError(
          value.at,
          `${value.value} is out of range: ${least} to ${most}${unit === undefined ? "" : ` ${unit}`}`,
        );
      }
      return value.value;
    },
  };
}

export function duration(least: number, most: number): Kind<Millis> {
  const whole = integer(least, most, "s");
  return { ...whole, parse: (value) => seconds(whole.parse(value)) };
}

export function mebibytes(least: number, most: number): Kind<Bytes> {
  const whole = integer(least, most, "MiB");
  return { ...whole, parse: (value) => bytes(whole.parse(value) * 1024 * 1024) };
}

export function oneOf<const T extends string>(...choices: readonly T[]): Kind<T> {
  const list = choices.map((choice) => `"${choice}"`).join(", ");
  return {
    type: "string",
    range: list,
    parse: (value) => {
      const found = stringOf(value, `one of ${list}`);
      const choice = choices.find((candidate) => candidate === found);
      if (choice !== undefined) return choice;
      throw new FieldError(value.at, `"${found}" is not one of ${list}${nearest(found, choices)}`);
    },
  };
}

export const absolutePath: Kind<string> = {
  type: "path",
  range: "absolute",
  parse: (value) => {
    const found = stringOf(value, "a path");
    if (!found.startsWith("/") || found.includes("\0"))
      throw new FieldError(value.at, `"${found}" is not an absolute path`);
    return found;
  },
};

/** A file that holds a secret, or the name of a systemd credential that does. It is read when the configuration is loaded. */
export const secretFile: Kind<SecretFile> = {
  type: "path",
  secret: true,
  range: "an absolute path, or the name of a systemd credential",
  parse: (value) => {
    const found = stringOf(value, "a path");
    if (!/^(\/.*|[A-Za-z0-9._-]+)$/.test(found)) {
      throw new FieldError(value.at, `"${found}" is neither an absolute path nor the name of a systemd credential`);
    }
    return new SecretFile(found, value.at);
  },
};

/** A value of core's, whose parse function says what is wrong. */
function parsed<T>(type: string, parse: (text: string) => T): Kind<T> {
  return {
    type,
    parse: (value) => {
      const found = stringOf(value, `an ${type}`);
      try {
        return parse(found);
      } catch (error) {
        if (!isFault(error)) throw error;
        throw new FieldError(value.at, error.message.replace(/^address: /, ""));
      }
    },
  };
}

export const ipv4: Kind<Ipv4Address> = parsed("IPv4 address", (found) => parseIpv4Address(found));
export const ipv6: Kind<Ipv6Address> = parsed("IPv6 address", (found) => parseIpv6Address(found));
export const mac: Kind<MacAddress> = { ...parsed("MAC address", (found) => parseMacAddress(found)) };

/** An address and the length of its network's prefix. */
export interface Ipv4Interface {
  readonly address: Ipv4Address;
  readonly prefix: number;
}

export const ipv4Interface: Kind<Ipv4Interface> = {
  type: "IPv4 address/prefix",
  range: "prefix 8 to 30",
  parse: (value) => {
    const found = stringOf(value, "an IPv4 address with its prefix");
    const match = /^([^/]+)\/([0-9]{1,2})$/.exec(found);
    if (match === null)
      throw new FieldError(value.at, `"${found}" is not an address with its prefix, like 10.0.0.1/24`);
    const prefix = Number(match[2]);
    if (prefix < 8 || prefix > 30) throw new FieldError(value.at, `the prefix /${prefix} is out of range: 8 to 30`);
    return { address: ipv4.parse({ kind: "string", value: match[1] ?? "", at: value.at }), prefix };
  },
};

/** An address and the length of its network's prefix. */
export interface Ipv6Interface {
  readonly address: Ipv6Address;
  readonly prefix: number;
}

export const ipv6Interface: Kind<Ipv6Interface> = {
  type: "IPv6 address/prefix",
  range: "prefix 48 to 124, not link-local",
  parse: (value) => {
    const found = stringOf(value, "an IPv6 address with its prefix");
    const match = /^([^/]+)\/([0-9]{1,3})$/.exec(found);
    if (match === null)
      throw new FieldError(value.at, `"${found}" is not an address with its prefix, like fd00:20::1/64`);
    const prefix = Number(match[2]);
    if (prefix < 48 || prefix > 124) throw new FieldError(value.at, `the prefix /${prefix} is out of range: 48 to 124`);
    const address = ipv6.parse({ kind: "string", value: match[1] ?? "", at: value.at });
    if (isLinkLocal(address)) throw new FieldError(value.at, `${address} is link-local: machines need a routable one`);
    return { address, prefix };
  },
};

/** A DUID in hexadecimal digits, in lower case without separators. */
export const duid: Kind<string> = {
  type: "DUID",
  range: "3 to 130 bytes in hexadecimal digits",
  parse: (value) => {
    const found = stringOf(value, "a DUID").toLowerCase().replaceAll(":", "");
    if (!/^(?:[0-9a-f]{2}){3,130}$/.test(found)) throw new FieldError(value.at, `"${found}" is not a DUID`);
    return found;
  },
};

export function url(...schemes: readonly string[]): Kind<string> {
  const range = schemes.map((scheme) => `${scheme}://`).join(" or ");
  return {
    type: "URL",
    range,
    parse: (value) => {
      const found = stringOf(value, "a URL");
      const valid =
        URL.canParse(found) && schemes.includes(new URL(found).protocol.slice(0, -1)) && new URL(found).hostname !== "";
      if (!valid) throw new FieldError(value.at, `"${found}" is not a URL with ${range}`);
      if (new URL(found).password !== "")
        throw new FieldError(value.at, "a password does not belong into the URL; use password_file");
      return found;
    },
  };
}

export function list<T>(kind: Kind<T>): Kind<readonly T[]> {
  return {
    type: `list of ${kind.type}`,
    ...(kind.range === undefined ? {} : { range: kind.range }),
    parse: (value) => {
      if (value.kind !== "array") throw wrongType(value, `a list of ${kind.type}`);
      return value.values.map((element) => kind.parse(element));
    },
  };
}

type Row<Needed, Further> = { readonly [K in keyof Needed]: Needed[K] extends Kind<infer T> ? T : never } & {
  readonly [K in keyof Further]: Further[K] extends Kind<infer T> ? T | null : never;
} & { readonly at: Place };

/** An array of tables with these keys, `further` ones null where they are left out. */
export function tables<
  Needed extends Readonly<Record<string, Kind<unknown>>>,
  Further extends Readonly<Record<string, Kind<unknown>>>,
>(needed: Needed, further: Further): Kind<readonly Row<Needed, Further>[]> {
  const names = [...Object.keys(needed), ...Object.keys(further)];
  return {
    type: `tables of ${names.join(", ")}`,
    parse: (value) => {
      if (value.kind !== "array") throw wrongType(value, "an array of tables");
      return value.values.map((row) => {
        if (row.kind !== "table") throw wrongType(row, "a table");
        for (const [name, entry] of row.entries) {
          if (!names.includes(name)) throw new FieldError(entry.at, `unknown key "${name}"${nearest(name, names)}`);
        }
        const pairs = Object.entries({ ...needed, ...further }).map(([name, kind]) => {
          const entry = row.entries.get(name);
          if (entry !== undefined) return [name, kind.parse(entry.value)] as const;
          if (Object.hasOwn(needed, name)) throw new FieldError(row.at, `the key "${name}" is missing`);
          return [name, null] as const;
        });
        return { ...Object.fromEntries(pairs), at: row.at } as Row<Needed, Further>;
      });
    },
  };
}

/** A table within a section; left out, it is an empty one. `example`: lines as they may stand in it. */
export function subtable<T>(kind: Kind<T>, example: string, sentence: string): Field<T> {
  const empty: TomlValue = { kind: "table", entries: new Map(), at: { file: "default", line: 1, column: 1 } };
  return { ...describe(kind, sentence), example, written: absent, fallback: kind.parse(empty) };
}
