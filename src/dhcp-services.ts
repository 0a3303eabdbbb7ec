import type { Clock } from "./core/clock.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "./core/brand.ts";
import type { Ipv6Address } from "./core/ipv6-address.ts";
import type { JsonObject } from "./core/json.ts";
import type { Log } from "./core/log.ts";
import type { Scope } from "./core/scope.ts";
import { millis } from "./core/units.ts";
import type { Config } from "./config/config.ts";
import type { Store } from "./domain/store.ts";
import type { Subnet6 } from "./domain/subnet6.ts";
import { ArpProbe } from "./net/arp-probe.ts";
import { BatchSocket } from "./net/batch-socket.ts";
import type { BootSettings } from "./service/boot-lookup.ts";
import { serverDuid } from "./service/dhcp6-duid.ts";
import { openDhcp6Link } from "./service/dhcp6-link.ts";
import { Dhcp6Service } from "./service/dhcp6-service.ts";
import { DhcpService } from "./service/dhcp-service.ts";
import type { DhcpSubnet } from "./service/dhcp-subnet.ts";
import { ProxyDhcpService } from "./service/proxy-dhcp-service.ts";

const DHCP_DOOR = { address: "0.0.0.0" as Ipv4Address, port: 67, broadcast: true };
/** @source PXE 2.1 §2.2.2 */
const PROXY_DHCP_PORT = 4011;
const ARP_WAIT = millis(300);
/** How long an address is left alone that a machine found in use. */
const QUARANTINE = millis(600_000);

export interface ServiceParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  /** The store's. */
  readonly key: Uint8Array;
}

/** Those of DHCP, ProxyDHCP and DHCPv6 that the configuration asks for, serving; returns their counters. */
export async function openDhcp(parts: ServiceParts, boot: BootSettings, scope: Scope): Promise<() => JsonObject> {
  const { dhcp, dhcp6 } = parts.config;
  const four = dhcp.enabled ? scope.use(dhcp.proxy ? openProxyDhcp(parts, boot) : openDhcp4(parts, boot)) : undefined;
  four?.start();
  const ownAddress = dhcp6.enabled ? dhcp6.address?.address : undefined;
  const six = ownAddress === undefined ? undefined : scope.use(await openDhcp6(parts, boot, ownAddress));
  six?.start();
  return () => ({
    ...(four === undefined ? {} : { dhcp: { ...four.counters() } }),
    ...(six === undefined ? {} : { dhcp6: { ...six.counters() } }),
  });
}

/** The DHCP server of the provisioning network. */
function openDhcp4({ config, clock, log, store }: ServiceParts, boot: BootSettings): DhcpService {
  const { dhcp } = config;
  const name = config.boot.interface;
  const { address } = config.boot.address;
  const socket = BatchSocket.onInterface({ ...DHCP_DOOR, interface: name, clock });
  return new DhcpService({
    store,
    clock,
    log,
    links: [{ interface: name, address, socket, introduce: null }],
    subnets: [
      {
        subnet: subnetOf(config),
        options: dhcpOptionsOf(config),
        otherOptions: dhcp.options,
        reservedOptions: new Map(dhcp.reservations.map(({ address: fixed, options }) => [fixed, options ?? new Map()])),
      },
    ],
    boot,
    authoritative: dhcp.authoritative,
    rapidCommit: false,
    serveUnknown: true,
    offerTime: dhcp.offerTime,
    quarantine: QUARANTINE,
    probe: dhcp.probe ? new ArpProbe({ clock, wait: ARP_WAIT }) : null,
  });
}

/** What to boot, for machines whose addresses another server gives out. */
function openProxyDhcp({ config, clock, log, store }: ServiceParts, boot: BootSettings): ProxyDhcpService {
  const name = config.boot.interface;
  const { address } = config.boot.address;
  const discoverSocket = BatchSocket.onInterface({ ...DHCP_DOOR, interface: name, clock });
  const own = { interface: name, address, port: PROXY_DHCP_PORT, broadcast: false, clock };
  const requestSocket = BatchSocket.onInterface(own);
  return new ProxyDhcpService({
    store,
    clock,
    log,
    boot,
    links: [{ interface: name, address, discoverSocket, requestSocket }],
  });
}

/** DHCPv6 on the same interface; `address` is ours on it. */
async function openDhcp6(
  { config, clock, log, store, key }: ServiceParts,
  boot: BootSettings,
  address: Ipv6Address,
): Promise<Dhcp6Service> {
  const { dhcp, dhcp6 } = config;
  const name = config.boot.interface;
  return new Dhcp6Service({
    store,
    clock,
    log,
    links: [await openDhcp6Link(name, address)],
    subnets: [
      { subnet: subnet6Of(config, address), options: { nameServers: dhcp6.dns, domainSearch: dhcp6.domainSearch } },
    ],
    boot,
    duid: serverDuid(key),
    rapidCommit: dhcp6.rapidCommit,
    preference: dhcp6.preference,
    offerTime: dhcp.offerTime,
    quarantine: QUARANTINE,
  });
}

function subnetOf({ boot, dhcp }: Config): DhcpSubnet["subnet"] {
  const { address, prefix } = boot.address;
  const mask = (0xffffffff << (32 - prefix)) >>> 0;
  return {
    network: ipv4FromNumber((ipv4ToNumber(address) & mask) >>> 0),
    prefixLength: prefix,
    interface: boot.interface,
    pools: dhcp.poolStart === null || dhcp.poolEnd === null ? [] : [{ first: dhcp.poolStart, last: dhcp.poolEnd }],
    reservations: dhcp.reservations.map((one) => ({
      key: { kind: "mac" as const, mac: one.mac },
      address: one.address,
      hostname: one.hostname,
    })),
    excluded: [address, ...(dhcp.gateway === null ? [] : [dhcp.gateway])],
    leaseTime: dhcp.leaseTime,
    maximumLeaseTime: dhcp.leaseTime,
  };
}

function dhcpOptionsOf({ dhcp }: Config): DhcpSubnet["options"] {
  return {
    ...(dhcp.gateway === null ? {} : { router: [dhcp.gateway] }),
    ...(dhcp.dns.length === 0 ? {} : { domainNameServer: dhcp.dns }),
    ...(dhcp.domain === null ? {} : { domainName: dhcp.domain }),
    ...(dhcp.ntp.length === 0 ? {} : { ntpServer: dhcp.ntp }),
  };
}

function subnet6Of({ boot, dhcp6 }: Config, address: Ipv6Address): Subnet6 {
  const { poolStart: first, poolEnd: last } = dhcp6;
  return {
    prefix: address,
    prefixLength: dhcp6.address?.prefix ?? 64,
    interface: boot.interface,
    pool: first === null || last === null ? null : { first, last },
    reservations: dhcp6.reservations.map(({ address: fixed, mac, duid }) => ({
      // One of the two is there: config/relations.ts demands it.
      key: mac === null ? { kind: "duid", hex: duid ?? "" } : { kind: "mac", mac },
      address: fixed,
    })),
    excluded: [address],
    preferredLifetime: dhcp6.preferredLifetime,
    validLifetime: dhcp6.validLifetime,
  };
}
