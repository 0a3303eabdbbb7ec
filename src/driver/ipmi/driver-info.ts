import { Fault, invalid } from "../../core/fault.ts";
import { property, type Json, type JsonObject } from "../../core/json.ts";
import { Secret } from "../../core/secret.ts";
import type { IpmiTarget } from "../../client/ipmi-session.ts";
import { findCipherSuite, preferredCipherSuites } from "../../protocol/ipmi/cipher-suite.ts";
import { isPrivilegeLevel, privilegeLevels, type PrivilegeLevel } from "../../protocol/ipmi/privilege-level.ts";
import { MAX_PASSWORD, MAX_USERNAME } from "../../protocol/ipmi/rakp-keys.ts";
import { RMCP_PORT } from "../../protocol/ipmi/rmcp.ts";

/** driver_info of hardware type `ipmi`, parsed. */
export interface IpmiDriverInfo {
  readonly target: IpmiTarget;
  /** The boot device is set again before each power-on, for BMCs that forget it. */
  readonly forceBootDevice: boolean;
  /** The BMC is told to keep the boot flags longer than 60 s. */
  readonly disableBootTimeout: boolean;
}

/** The keys, for people. @source Ironic drivers/modules/ipmitool.py */
export const ipmiProperties = {
  ipmi_address: "IP address or host name of the BMC. Required.",
  ipmi_port: "UDP port of IPMI over LAN; 623 if absent.",
  ipmi_username: "User name, at most 16 bytes; the nameless user if absent.",
  ipmi_password: "Password, at most 20 bytes; empty if absent.",
  ipmi_priv_level: "Privilege level of the session: ADMINISTRATOR (the default), OPERATOR, USER or CALLBACK.",
  ipmi_cipher_suite: "Cipher suite to use; if absent, 17 is tried and then 3.",
  ipmi_hex_kg_key: "K_G key of the BMC, 40 hexadecimal digits; absent if the BMC has none.",
  ipmi_force_boot_device:
    "true: set the boot device again before each power-on, for BMCs that forget it; false if absent.",
  ipmi_disable_boot_timeout: "false: leave the BMC's 60 s limit on boot flags alone; true if absent.",
  ipmi_protocol_version: "2.0, the only one supported.",
  ipmi_bridging: "no, the only one supported.",
} as const satisfies Record<string, string>;

/** @throws Fault invalid naming the field, or unsupported */
export function parseIpmiDriverInfo(info: JsonObject): IpmiDriverInfo {
  const version = text(info, "ipmi_protocol_version") ?? "2.0";
  if (version !== "2.0") {
    if (version !== "1.5") throw invalid("ipmi_protocol_version", `"${version}" is not a version; it is 2.0`);
    throw unsupported(
      "ipmi_protocol_version",
      "IPMI 1.5 sessions are not supported, they are not encrypted; enable IPMI 2.0 over LAN in the BMC and set 2.0",
    );
  }
  const bridging = text(info, "ipmi_bridging") ?? "no";
  if (bridging !== "no") {
    if (bridging !== "single" && bridging !== "dual")
      throw invalid("ipmi_bridging", `"${bridging}" is not one of no, single, dual`);
    throw unsupported("ipmi_bridging", `${bridging} bridging is not supported`);
  }
  return {
    target: {
      host: address(info),
      port: integer(info, "ipmi_port", 1, 65535) ?? RMCP_PORT,
      username: username(info),
      password: password(info),
      bmcKey: bmcKey(info),
      privilege: privilege(info),
      cipherSuites: suites(info),
    },
    forceBootDevice: flag(info, "ipmi_force_boot_device") ?? false,
    disableBootTimeout: flag(info, "ipmi_disable_boot_timeout") ?? true,
  };
}

function address(info: JsonObject): string {
  const host = text(info, "ipmi_address")?.trim();
  if (host === undefined || host === "")
    throw invalid("ipmi_address", "is missing; set it to the BMC's IP address or host name");
  if (!/^[0-9A-Za-z._:%-]{1,253}$/.test(host))
    throw invalid("ipmi_address", `"${host}" is neither an IP address nor a host name`);
  return host;
}

function username(info: JsonObject): string {
  const name = text(info, "ipmi_username") ?? "";
  if (Buffer.byteLength(name) > MAX_USERNAME)
    throw invalid("ipmi_username", `is longer than IPMI's ${MAX_USERNAME} bytes`);
  return name;
}

/** The value stands in no message. */
function password(info: JsonObject): Secret {
  const value = text(info, "ipmi_password") ?? "";
  if (Buffer.byteLength(value) > MAX_PASSWORD)
    throw invalid("ipmi_password", `is longer than IPMI's ${MAX_PASSWORD} bytes`);
  return new Secret(value);
}

function bmcKey(info: JsonObject): Secret | undefined {
  const value = text(info, "ipmi_hex_kg_key");
  if (value === undefined || value === "") return undefined;
  if (!/^[0-9A-Fa-f]{40}$/.test(value)) throw invalid("ipmi_hex_kg_key", "is not 40 hexadecimal digits");
  // A K_G of zeroes is how a BMC says that it has none. @source IPMI 2.0 §13.33
  return /^0+$/.test(value) ? undefined : new Secret(value);
}

function privilege(info: JsonObject): PrivilegeLevel {
  const level = (text(info, "ipmi_priv_level") ?? "ADMINISTRATOR").toUpperCase();
  if (isPrivilegeLevel(level) && level !== "OEM") return level;
  const known = Object.keys(privilegeLevels).filter((name) => name !== "OEM");
  throw invalid("ipmi_priv_level", `"${level}" is not one of ${known.join(", ")}`);
}

function suites(info: JsonObject): readonly number[] {
  const id = integer(info, "ipmi_cipher_suite", 0, 255);
  if (id === undefined) return preferredCipherSuites;
  if (findCipherSuite(id) === undefined) {
    const reason = id === 0 ? "authenticates nobody" : "is not supported";
    throw invalid("ipmi_cipher_suite", `${id} ${reason}; use 17 or 3, or leave it out`);
  }
  return [id];
}

/** A string, or a number where people write one without quotes. */
function text(info: JsonObject, field: string): string | undefined {
  const value = property(info, field);
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  if (typeof value === "number") return field === "ipmi_protocol_version" ? value.toFixed(1) : String(value);
  throw invalid(field, `is ${kindOf(value)}, not text`);
}

function integer(info: JsonObject, field: string, least: number, most: number): number | undefined {
  const value = text(info, field);
  if (value === undefined || value === "") return undefined;
  const number = /^[0-9]{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= least && number <= most))
    throw invalid(field, `"${value}" is not a whole number from ${least} to ${most}`);
  return number;
}

/** As Ironic reads booleans. @source oslo.utils strutils.bool_from_string */
const WORDS: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "true", "on", "y", "yes"].map((word) => [word, true] as const),
  ...["0", "f", "false", "off", "n", "no"].map((word) => [word, false] as const),
]);

function flag(info: JsonObject, field: string): boolean | undefined {
  const value = property(info, field);
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "boolean") return value;
  const word = typeof value === "object" ? undefined : WORDS.get(String(value).trim().toLowerCase());
  if (word === undefined) throw invalid(field, "is neither true nor false");
  return word;
}

function kindOf(value: Json): string {
  return Array.isArray(value) ? "a list" : typeof value === "boolean" ? "a boolean" : "an object";
}

function unsupported(field: string, sentence: string): Fault {
  return new Fault("unsupported", "ipmi.unsupported", `${field}: ${sentence}`, { detail: { field } });
}
