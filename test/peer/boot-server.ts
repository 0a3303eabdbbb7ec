/**
 * The three boot services as a program of their own, for tests that run it inside a network namespace: options as JSON in
 * the first argument, log lines on stdout, counters on SIGUSR1, an orderly end on SIGTERM.
 */
import { readFileSync } from "node:fs";
import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIpv4Address,
  parseMacAddress,
} from "../../src/core/brand.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { setPeerHardwareAddress } from "../../src/core/native-addon.ts";
import { parseIpv6Address } from "../../src/core/ipv6-address.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { openLog } from "../../src/core/log.ts";
import { Secret } from "../../src/core/secret.ts";
import { Scope } from "../../src/core/scope.ts";
import { millis, seconds } from "../../src/core/units.ts";
import type { BootTarget } from "../../src/domain/boot-device.ts";
import { BootTrace } from "../../src/domain/boot-trace.ts";
import type { Reservation } from "../../src/domain/subnet.ts";
import { ArpProbe } from "../../src/net/arp-probe.ts";
import { BatchSocket } from "../../src/net/batch-socket.ts";
import { DatagramSocket } from "../../src/net/datagram.ts";
import { addressOwners } from "../../src/service/address-owners.ts";
import { BootFiles } from "../../src/service/boot-files.ts";
import { loadBootTemplates } from "../../src/config/boot-templates.ts";
import type { ServerIdentity } from "../../src/service/boot-listener.ts";
import { BootHttp } from "../../src/service/boot-http.ts";
import { serverDuid } from "../../src/service/dhcp6-duid.ts";
import { ipv6Socket, openDhcp6Link } from "../../src/service/dhcp6-link.ts";
import { Dhcp6Service, type Dhcp6ServiceOptions } from "../../src/service/dhcp6-service.ts";
import { DhcpService, type DhcpServiceOptions, type DhcpSubnet } from "../../src/service/dhcp-service.ts";
import { ProxyDhcpService } from "../../src/service/proxy-dhcp-service.ts";
import { loaderConfigSource } from "../../src/service/loader-config-source.ts";
import { tracedLog } from "../../src/service/traced-log.ts";
import { type TftpLink, TftpService } from "../../src/service/tftp-service.ts";
import { openStore } from "../../src/store/level-store.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";
import { bootSettings } from "../boot-settings.ts";
import { aConnector, aNode, aPort, aTarget } from "../conformance/store-contract.ts";

export interface BootServerOptions {
  readonly interface: string;
  readonly address: string;
  readonly network: string;
  readonly prefixLength: number;
  readonly pool: readonly [string, string];
  /** Subnets behind relays. */
  readonly relayed?: readonly {
    readonly network: string;
    readonly prefixLength: number;
    readonly pool: readonly [string, string];
  }[];
  readonly reservations?: readonly { readonly mac: string; readonly address: string }[];
  /** DHCPv6, and TFTP and HTTP over IPv6, on the same interface. */
  readonly ipv6?: {
    readonly address: string;
    readonly prefixLength: number;
    readonly pool: readonly [string, string];
    /** Links behind relays, and their pools. */
    readonly relayed?: readonly { readonly prefix: string; readonly pool: readonly [string, string] }[];
    readonly reservations?: readonly { readonly mac: string; readonly address: string }[];
    readonly preferredLifetime_s: number;
    readonly validLifetime_s: number;
    readonly rapidCommit?: boolean;
    readonly preference?: number;
  };
  /** Options by code, in hexadecimal digits. */
  readonly otherOptions?: readonly (readonly [number, string])[];
  /** false: another server serves the same network. */
  readonly authoritative?: boolean;
  readonly leaseTime_s: number;
  /** Clients without an address are answered by unicast unless they ask for broadcast. */
  readonly unicast: boolean;
  /** Addresses are probed by ARP before they are offered. */
  readonly probe: boolean;
  readonly nodes: readonly {
    readonly mac: string;
    readonly bootTarget: BootTarget;
    readonly secureBoot?: boolean;
    readonly cpuArch?: string;
    readonly instanceInfo?: JsonObject;
    /** Properties of the volume target that it boots from, and its name there. */
    readonly volume?: JsonObject;
    readonly initiator?: string;
  }[];
  /** Where the ISOs lie that nodes may name by path. */
  readonly isoDirectories?: readonly string[];
  readonly discovery: boolean;
  readonly loaders: Readonly<Record<string, string>>;
  /** The operator's own scripts. */
  readonly templateDirectory?: string;
  readonly tftpRoot: string | null;
  readonly kernel: string;
  readonly initrd: string;
  readonly arm64Ramdisk?: { readonly kernel: string; readonly initrd: string };
  readonly kernelArguments: string;
  readonly httpPort: number;
  /** Boot HTTP over TLS as well, and who is given its URLs. */
  readonly tls?: {
    readonly port: number;
    readonly cert: string;
    readonly key: string;
    readonly for: readonly ("uefi-http" | "ipxe")[];
  };
  /** Addresses come from somebody else's DHCP server. */
  readonly proxy: boolean;
  /** null: in memory. */
  readonly storeDirectory: string | null;
  readonly logLevel: "debug" | "info" | "warn";
}

async function main(options: BootServerOptions): Promise<void> {
  const scope = new Scope();
  const clock = new SystemClock();
  const untraced = openLog({ level: options.logLevel, journal: false });
  const store = scope.use(
    options.storeDirectory === null
      ? openMemoryStore({ clock, log: untraced })
      : await openStore({
          directory: options.storeDirectory,
          clock,
          log: untraced,
          key: new Uint8Array(32).fill(7),
        }),
  );
  const log = tracedLog(untraced, { trace: new BootTrace({ clock }), ports: store.ports });
  await store.commit((tx) => {
    options.nodes.forEach(({ mac, bootTarget, secureBoot, cpuArch, instanceInfo = {}, volume, initiator }, at) => {
      const properties = {
        ...(secureBoot === true ? { capabilities: "boot_mode:uefi,secure_boot:true" } : {}),
        ...(cpuArch === undefined ? {} : { cpu_arch: cpuArch }),
      };
      const interfaces = volume === undefined ? {} : { storage: "external" };
      const node = aNode(at, { bootTarget, properties, instanceInfo, interfaces });
      tx.nodes.put(node);
      tx.ports.put(aPort(at, node.uuid, { address: parseMacAddress(mac) }));
      const own = { nodeUuid: node.uuid };
      if (volume !== undefined) tx.volumes.put(aTarget(at, { ...own, bootIndex: 0, properties: volume }));
      if (initiator !== undefined) tx.volumes.put(aConnector(at, { ...own, connectorId: initiator }));
    });
  });
  const address = parseIpv4Address(options.address);
  const boot = bootSettings({
    policy: {
      discovery: options.discovery,
      ramdisks: ["x86_64" as const, ...(options.arm64Ramdisk === undefined ? [] : ["arm64" as const])],
      httpsFor: options.tls?.for ?? [],
      kernelArguments: options.kernelArguments,
    },
    httpPort: options.httpPort,
    httpsPort: options.tls?.port ?? null,
    ...(options.templateDirectory === undefined ? {} : { templates: loadBootTemplates(options.templateDirectory) }),
    ipv6: { host: null, apiAddress: address },
  });
  const { ipv6 } = options;
  const ramdisk = { kernel: options.kernel, initrd: options.initrd, arm64: options.arm64Ramdisk ?? null };
  const owners = addressOwners(store);
  const files = scope.use(
    new BootFiles({ clock, named: new Map(Object.entries(options.loaders)), root: options.tftpRoot }),
  );
  const http = scope.use(
    new BootHttp({
      clock,
      log,
      store: { nodes: store.nodes, ports: store.ports, volumes: store.volumes, leases: owners },
      boot,
      files,
      ramdisk,
      isoDirectories: options.isoDirectories ?? [],
      listen: [options.address, ...(ipv6 === undefined ? [] : [ipv6.address])].flatMap((one) => [
        { address: one, port: options.httpPort, identity: null },
        ...(options.tls === undefined
          ? []
          : [{ address: one, port: options.tls.port, identity: identityOf(options.tls) }]),
      ]),
      mostConnections: 1024,
    }),
  );
  await http.start();
  const tftpLinks: TftpLink[] = [
    { address, socket: await DatagramSocket.open({ kind: "address", address, port: 69, broadcast: false }) },
  ];
  if (ipv6 !== undefined) {
    const own = parseIpv6Address(ipv6.address);
    tftpLinks.push({ address: own, socket: await ipv6Socket(options.interface, own, 69) });
  }
  const tftp = scope.use(
    new TftpService({
      clock,
      log,
      leases: owners,
      links: tftpLinks,
      // A file that somebody put there goes before one that is made.
      sources: [({ file }) => files.open(file), loaderConfigSource({ store, boot, clock, files, ramdisk })],
      limits: {
        blksize: 1468,
        windowsize: 64,
        transfers: 512,
        transfersPerClient: 32,
        requestsPerClient: { burst: 500, perSecond: 100 },
      },
    }),
  );
  tftp.start();
  const dhcp = scope.use(
    options.proxy
      ? new ProxyDhcpService({
          store,
          clock,
          log,
          boot,
          links: [
            {
              interface: options.interface,
              address,
              discoverSocket: BatchSocket.onInterface({ ...dhcpDoor, interface: options.interface, clock }),
              requestSocket: BatchSocket.onInterface({
                interface: options.interface,
                address,
                port: 4011,
                broadcast: false,
                clock,
              }),
            },
          ],
        })
      : await dhcpService(options, { store, clock, log, boot }),
  );
  dhcp.start();
  const dhcp6 =
    ipv6 === undefined
      ? undefined
      : scope.use(await dhcp6Service(options.interface, ipv6, { store, clock, log, boot }));
  dhcp6?.start();
  process.on("SIGUSR1", () => {
    process.stdout.write(
      `${JSON.stringify({ event: "counters", dhcp: dhcp.counters(), dhcp6: dhcp6?.counters(), tftp: tftp.counters(), http: http.counters() })}\n`,
    );
  });
  process.on("SIGTERM", () => void scope.close());
  process.stdout.write(`${JSON.stringify({ event: "test.ready" })}\n`);
}

function identityOf({ cert, key }: { readonly cert: string; readonly key: string }): ServerIdentity {
  return { cert: readFileSync(cert, "utf8"), key: new Secret(readFileSync(key, "utf8")) };
}

async function dhcpService(
  options: BootServerOptions,
  parts: Pick<DhcpServiceOptions, "store" | "clock" | "log" | "boot">,
): Promise<DhcpService> {
  const { clock } = parts;
  const address = parseIpv4Address(options.address);
  return new DhcpService({
    ...parts,
    links: [
      {
        interface: options.interface,
        address,
        socket: BatchSocket.onInterface({ ...dhcpDoor, interface: options.interface, clock }),
        introduce: options.unicast
          ? (peer, hardwareAddress) =>
              setPeerHardwareAddress({ interface: options.interface, address: peer, hardwareAddress })
          : null,
      },
    ],
    subnets: subnetsOf(options, address),
    authoritative: options.authoritative ?? true,
    rapidCommit: false,
    serveUnknown: true,
    offerTime: seconds(60),
    quarantine: seconds(600),
    probe: options.probe ? new ArpProbe({ clock, wait: millis(300) }) : null,
  });
}

async function dhcp6Service(
  name: string,
  ipv6: NonNullable<BootServerOptions["ipv6"]>,
  parts: Pick<Dhcp6ServiceOptions, "store" | "clock" | "log" | "boot">,
): Promise<Dhcp6Service> {
  const address = parseIpv6Address(ipv6.address);
  const common = {
    excluded: [address],
    preferredLifetime: seconds(ipv6.preferredLifetime_s),
    validLifetime: seconds(ipv6.validLifetime_s),
  };
  const pool = ([first, last]: readonly [string, string]) => ({
    first: parseIpv6Address(first),
    last: parseIpv6Address(last),
  });
  const own = {
    ...common,
    prefix: address,
    prefixLength: ipv6.prefixLength,
    interface: name,
    pool: pool(ipv6.pool),
    reservations: (ipv6.reservations ?? []).map((one) => ({
      key: { kind: "mac" as const, mac: parseMacAddress(one.mac) },
      address: parseIpv6Address(one.address),
    })),
  };
  const relayed = (ipv6.relayed ?? []).map((one) => ({
    ...common,
    prefix: parseIpv6Address(one.prefix),
    prefixLength: 64,
    interface: null,
    pool: pool(one.pool),
    reservations: [],
  }));
  return new Dhcp6Service({
    ...parts,
    links: [await openDhcp6Link(name, address)],
    subnets: [own, ...relayed].map((subnet) => ({
      subnet,
      options: { nameServers: [address], domainSearch: ["rack.test"] },
    })),
    duid: serverDuid(new Uint8Array(32).fill(7)),
    rapidCommit: ipv6.rapidCommit ?? false,
    preference: ipv6.preference ?? 0,
    offerTime: seconds(60),
    quarantine: seconds(600),
  });
}

const dhcpDoor = { address: parseIpv4Address("0.0.0.0"), port: 67, broadcast: true };

function subnetsOf(options: BootServerOptions, address: Ipv4Address): readonly DhcpSubnet[] {
  const reservations: Reservation[] = (options.reservations ?? []).map((one) => ({
    key: { kind: "mac", mac: parseMacAddress(one.mac) },
    address: parseIpv4Address(one.address),
    hostname: null,
  }));
  const common = {
    reservations,
    excluded: [address],
    leaseTime: seconds(options.leaseTime_s),
    maximumLeaseTime: seconds(86_400),
  };
  const own = {
    ...common,
    network: parseIpv4Address(options.network),
    prefixLength: options.prefixLength,
    interface: options.interface,
    pools: [{ first: parseIpv4Address(options.pool[0]), last: parseIpv4Address(options.pool[1]) }],
  };
  const relayed = (options.relayed ?? []).map((one) => ({
    ...common,
    reservations: [],
    network: parseIpv4Address(one.network),
    prefixLength: one.prefixLength,
    interface: null,
    pools: [{ first: parseIpv4Address(one.pool[0]), last: parseIpv4Address(one.pool[1]) }],
  }));
  const named = { domainNameServer: [address], domainName: "rack.test" };
  return [own, ...relayed].map((subnet) => ({
    subnet,
    otherOptions: new Map((options.otherOptions ?? []).map(([code, hex]) => [code, Buffer.from(hex, "hex")])),
    // Behind a relay, which is the router, its first address.
    options: {
      ...named,
      router: [subnet.interface === null ? ipv4FromNumber(ipv4ToNumber(subnet.network) + 1) : address],
    },
  }));
}

const argument = process.argv[2];
if (argument === undefined) throw new Error("options are missing");
await main(JSON.parse(argument) as BootServerOptions);
