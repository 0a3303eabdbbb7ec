import { type Ipv4Address, ipv4ToNumber } from "../core/brand.ts";
import { type Ipv6Address, ipv6ToNumber } from "../core/ipv6-address.ts";
import type { Config } from "./config.ts";
import type { ConfigProblem } from "./load.ts";
import type { Place } from "./toml.ts";

/** What keys demand of one another. */
export function relations(config: Config, placeOf: (key: string) => Place): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const problem = (key: string, message: string, at = placeOf(key)): void => void problems.push({ at, key, message });
  networkRelations(config, problem);
  ipv6Relations(config, problem);
  if (config.mqtt.enabled && config.mqtt.url === null) problem("mqtt.url", "is missing: mqtt.enabled is true");
  if ((config.mqtt.certFile === null) !== (config.mqtt.keyFile === null)) {
    problem(config.mqtt.certFile === null ? "mqtt.key_file" : "mqtt.cert_file", "cert_file and key_file come together");
  }
  if (config.mqtt.password !== null && config.mqtt.username === null)
    problem("mqtt.password_file", "a password needs mqtt.username");
  bootHttpsRelations(config, problem);
  const { arm64Kernel, arm64Initrd } = config.boot;
  if ((arm64Kernel === null) !== (arm64Initrd === null))
    problem(
      arm64Kernel === null ? "boot.arm64_initrd" : "boot.arm64_kernel",
      "arm64_kernel and arm64_initrd come together",
    );
  if (config.api.port === config.boot.httpPort) problem("api.port", `is boot.http_port as well: ${config.api.port}`);
  return problems;
}

type Report = (key: string, message: string, at?: Place) => void;

function bootHttpsRelations({ boot, api }: Config, problem: Report): void {
  const { httpsCertFile: cert, httpsKeyFile: key, httpsPort: port } = boot;
  if ((cert === null) !== (key === null)) {
    const given = cert === null ? "boot.https_key_file" : "boot.https_cert_file";
    problem(given, "https_cert_file and https_key_file come together");
  }
  if (cert === null || key === null) {
    if (boot.httpsFor.length > 0) problem("boot.https_for", "needs boot.https_cert_file and boot.https_key_file");
    return;
  }
  if (port === boot.httpPort) problem("boot.https_port", `is boot.http_port as well: ${port}`);
  if (port === api.port) problem("boot.https_port", `is api.port as well: ${port}`);
}

function networkRelations({ boot, dhcp }: Config, problem: Report): void {
  const { address, prefix } = boot.address;
  const size = 2 ** (32 - prefix);
  const network = ipv4ToNumber(address) - (ipv4ToNumber(address) % size);
  const check = (key: string, candidate: Ipv4Address, at?: Place): void => {
    const offset = ipv4ToNumber(candidate) - network;
    if (offset < 0 || offset >= size)
      problem(key, `${candidate} is not in the network of boot.address ${address}/${prefix}`, at);
    else if (offset === 0 || offset === size - 1)
      problem(key, `${candidate} is the network's own or its broadcast address`, at);
  };
  check("boot.address", address);
  if ((dhcp.poolStart === null) !== (dhcp.poolEnd === null)) {
    problem(dhcp.poolStart === null ? "dhcp.pool_end" : "dhcp.pool_start", "pool_start and pool_end come together");
  }
  if (dhcp.poolStart !== null && dhcp.poolEnd !== null) {
    check("dhcp.pool_start", dhcp.poolStart);
    check("dhcp.pool_end", dhcp.poolEnd);
    if (ipv4ToNumber(dhcp.poolStart) > ipv4ToNumber(dhcp.poolEnd))
      problem("dhcp.pool_end", `${dhcp.poolEnd} is below pool_start ${dhcp.poolStart}`);
  }
  if (dhcp.gateway !== null) check("dhcp.gateway", dhcp.gateway);
  const seen = new Set<string>();
  for (const reservation of dhcp.reservations) {
    check("dhcp.reservations", reservation.address, reservation.at);
    if (reservation.address === address)
      problem("dhcp.reservations", `${address} is the appliance's own address`, reservation.at);
    for (const value of [reservation.mac, reservation.address]) {
      if (seen.has(value)) problem("dhcp.reservations", `${value} is reserved twice`, reservation.at);
      seen.add(value);
    }
  }
}

/** Mended together with domain/subnet6.ts. */
const LARGEST_IPV6_POOL = 16_384n;

function ipv6Relations({ dhcp6 }: Config, problem: Report): void {
  const { address: own, poolStart, poolEnd } = dhcp6;
  if (!dhcp6.enabled) return;
  if (own === null) {
    problem("dhcp6.address", "is missing: dhcp6.enabled is true");
    return;
  }
  const host = BigInt(128 - own.prefix);
  const check = (key: string, candidate: Ipv6Address, at?: Place): void => {
    if (ipv6ToNumber(candidate) >> host !== ipv6ToNumber(own.address) >> host)
      problem(key, `${candidate} is not in the network of dhcp6.address ${own.address}/${own.prefix}`, at);
  };
  if ((poolStart === null) !== (poolEnd === null))
    problem(poolStart === null ? "dhcp6.pool_end" : "dhcp6.pool_start", "pool_start and pool_end come together");
  if (poolStart !== null && poolEnd !== null) {
    check("dhcp6.pool_start", poolStart);
    check("dhcp6.pool_end", poolEnd);
    const size = ipv6ToNumber(poolEnd) - ipv6ToNumber(poolStart) + 1n;
    if (size < 1n) problem("dhcp6.pool_end", `${poolEnd} is below pool_start ${poolStart}`);
    if (size > LARGEST_IPV6_POOL) problem("dhcp6.pool_end", `the pool has more than ${LARGEST_IPV6_POOL} addresses`);
  }
  if (dhcp6.preferredLifetime > dhcp6.validLifetime)
    problem("dhcp6.preferred_lifetime", "is longer than dhcp6.valid_lifetime");
  const seen = new Set<string>();
  for (const { address, mac, duid, at } of dhcp6.reservations) {
    check("dhcp6.reservations", address, at);
    if ((mac === null) === (duid === null)) problem("dhcp6.reservations", "needs one of mac and duid", at);
    if (address === own.address) problem("dhcp6.reservations", `${address} is the appliance's own address`, at);
    for (const value of [address, mac, duid]) {
      if (value !== null && seen.has(value)) problem("dhcp6.reservations", `${value} is reserved twice`, at);
      if (value !== null) seen.add(value);
    }
  }
}
