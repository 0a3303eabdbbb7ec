import { readdirSync, readFileSync, statfsSync } from "node:fs";
import { join, normalize } from "node:path";
import { bindUdpToInterface, sdNotify } from "./core/native-addon.ts";
import { type Clock, instant } from "./core/clock.ts";
import { environment } from "./core/environment.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber } from "./core/brand.ts";
import { Fault, toFault } from "./core/fault.ts";
import type { Ipv6Address } from "./core/ipv6-address.ts";
import type { JsonObject } from "./core/json.ts";
import type { Log } from "./core/log.ts";
import { type Random, SystemRandom } from "./core/random.ts";
import { Scope } from "./core/scope.ts";
import { Secret } from "./core/secret.ts";
import { millis } from "./core/units.ts";
import { VERSION } from "./core/version.ts";
import { ApiServer } from "./api/api-server.ts";
import { AgentClient } from "./client/agent-client.ts";
import { IpmiBmcs } from "./client/ipmi-bmcs.ts";
import { Catalogue } from "./conductor/catalogue.ts";
import { allCommands } from "./conductor/commands/all-commands.ts";
import { DriverRegistry } from "./conductor/driver-registry.ts";
import { NodeLocks } from "./conductor/node-lock.ts";
import { OperationRunner } from "./conductor/operation-runner.ts";
import { PowerControl } from "./conductor/power.ts";
import { recover } from "./conductor/recovery.ts";
import type { ConductorSettings } from "./conductor/settings.ts";
import { loadBootTemplates } from "./config/boot-templates.ts";
import { type Certificate, certificateDoubts, loadCertificate } from "./config/certificate.ts";
import type { Config } from "./config/config.ts";
import { ControlServer } from "./control/control-server.ts";
import { type BootPolicy, defaultSignedLoaders, memoryTests } from "./domain/boot-plan.ts";
import { BootTrace } from "./domain/boot-trace.ts";
import type { Store } from "./domain/store.ts";
import type { Subnet6 } from "./domain/subnet6.ts";
import { agentInspect } from "./driver/agent-inspect.ts";
import { fakeHardware } from "./driver/fake/hardware-type.ts";
import type { AgentConnector } from "./driver/agent.ts";
import { ramdiskDeploy } from "./driver/ramdisk-deploy.ts";
import type { HardwareType } from "./driver/interfaces.ts";
import { ipmiHardwareType } from "./driver/ipmi/hardware-type.ts";
import { ipxeBoot } from "./driver/ipxe-boot.ts";
import { iscsiDeploy } from "./driver/iscsi-deploy.ts";
import { storageInterfaces } from "./driver/storage.ts";
import { ImageCache } from "./image/cache.ts";
import { buildConfigDrive } from "./image/config-drive.ts";
import { DeployableImages } from "./image/deployable-images.ts";
import { ImageShelf } from "./image/image-shelf.ts";
import { SharedStreams } from "./image/shared-streams.ts";
import { SiteSession } from "./mqtt/site-session.ts";
import { ArpProbe } from "./net/arp-probe.ts";
import { BatchSocket } from "./net/batch-socket.ts";
import { DatagramSocket } from "./net/datagram.ts";
import { addressOwners } from "./service/address-owners.ts";
import { BootFiles } from "./service/boot-files.ts";
import { BootHttp } from "./service/boot-http.ts";
import type { BootSettings } from "./service/boot-lookup.ts";
import { bootSecrets } from "./service/boot-secret.ts";
import { serverDuid } from "./service/dhcp6-duid.ts";
import { ipv6Socket, openDhcp6Link } from "./service/dhcp6-link.ts";
import { Dhcp6Service } from "./service/dhcp6-service.ts";
import { DhcpService } from "./service/dhcp-service.ts";
import { loaderConfigSource } from "./service/loader-config-source.ts";
import { ProxyDhcpService } from "./service/proxy-dhcp-service.ts";
import { tracedLog } from "./service/traced-log.ts";
import { type TftpLink, TftpService } from "./service/tftp-service.ts";
import { openStore } from "./store/level-store.ts";
import { readStoreKey } from "./store/seal.ts";

const DHCP_DOOR = { address: "0.0.0.0" as Ipv4Address, port: 67, broadcast: true };
/** @source PXE 2.1 §2.2.2 */
const PROXY_DHCP_PORT = 4011;
const ARP_WAIT = millis(300);
/** How long an address is left alone that a machine found in use. */
const QUARANTINE = millis(600_000);
/** A block of TFTP in one Ethernet frame: 1500 less IP, UDP and TFTP headers. */
const TFTP_LIMITS = {
  blksize: 1468,
  windowsize: 64,
  transfers: 256,
  transfersPerClient: 8,
  // GRUB asks for a hundred small files within a second.
  requestsPerClient: { burst: 500, perSecond: 100 },
};
const MOST_HTTP_CONNECTIONS = 1024;
const MQTT_SESSION_EXPIRY_S = 7 * 86_400;
const LOW_DISK = 256 * 2 ** 20;
const WATCHDOG_INTERVAL = millis(20_000);

export interface ApplianceOptions {
  readonly config: Config;
  readonly log: Log;
  readonly clock: Clock;
}

/** Everything the daemon is made of, opened in the order in which it is needed and closed in reverse. */
export class Appliance implements AsyncDisposable {
  readonly #scope: Scope;
  readonly #reload: () => void;

  private constructor(scope: Scope, reload: () => void) {
    this.#scope = scope;
    this.#reload = reload;
  }

  /** Takes up files that were renewed: the certificate of boot HTTP. What cannot be read stays as it is, and is logged. */
  reload(): void {
    this.#reload();
  }

  /** Serves when it resolves. What was opened is closed again when a part fails to. */
  static async open(options: ApplianceOptions): Promise<Appliance> {
    const scope = new Scope();
    let reload: () => void;
    try {
      reload = await openParts(options, scope);
    } catch (error) {
      await scope
        .close()
        .catch((closing: unknown) => options.log.error("daemon.bug", { reason: toFault(closing).message }, closing));
      throw error;
    }
    return new Appliance(scope, reload);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    sdNotify("STOPPING=1");
    await this.#scope.close();
  }
}

/** Returns what `reload` does. */
async function openParts({ config, log: untraced, clock }: ApplianceOptions, scope: Scope): Promise<() => void> {
  const random = new SystemRandom();
  const startedAt = instant(clock);
  const stateDir = config.appliance.stateDir;
  const key = readStoreKey(join(stateDir, "store.key"), environment("CREDENTIALS_DIRECTORY"));
  const store = scope.use(
    await openStore({
      directory: join(stateDir, "store"),
      clock,
      log: untraced,
      key,
    }),
  );
  const bootTrace = new BootTrace({ clock });
  const log = tracedLog(untraced, { trace: bootTrace, ports: store.ports });
  const bmcs = scope.use(new IpmiBmcs({ clock, random }));
  const shelf = new ImageShelf({
    directory: config.image.cacheDir ?? join(stateDir, "images"),
    maximumBytes: config.image.cacheSize,
    clock,
    random,
  });
  await shelf.open();
  const fileDirectories = config.image.fileDirs;
  const caFile = config.image.caFile ?? undefined;
  const cache = scope.use(new ImageCache({ shelf, fileDirectories, caFile, clock, log }));
  const images = scope.use(new DeployableImages({ cache, shelf, fileDirectories, clock, log }));

  const settings = conductorSettings(config);
  const drivers = new DriverRegistry(hardwareTypes({ config, clock, random, bmcs, images }));
  const conductor = { store, clock, random, settings, log, drivers, locks: new NodeLocks({ clock }) };
  const runner = scope.use(new OperationRunner(conductor));
  const power = scope.use(new PowerControl(conductor));
  const parts: { site?: SiteSession; counters: () => JsonObject } = { counters: () => ({}) };
  const status = (): JsonObject => ({
    name: config.appliance.name,
    site: config.appliance.site,
    rack: config.appliance.rack,
    version: VERSION,
    started_at: startedAt,
    uptime_s: Math.round((clock.wall().getTime() - Date.parse(startedAt)) / 1000),
    mqtt: parts.site === undefined ? { enabled: false } : { enabled: true, ...siteStatus(parts.site) },
    disk: diskStatus(stateDir),
    store: {
      last_event: store.history.lastSeq,
      acknowledged_event: store.outbox.acknowledged,
      unanswered_commands: store.commands.unanswered().length,
    },
    services: parts.counters(),
  });
  const catalogue = new Catalogue({
    commands: allCommands({ ...conductor, runner, power, bootTrace }, status),
    store,
    log,
  });

  // The doors that machines and people use stand open before old work goes on: its agents may report at once.
  const bootServices = await openBootServices({ config, clock, log, store, key }, scope);
  parts.counters = bootServices.counters;
  const api = scope.use(
    new ApiServer({
      catalogue,
      log,
      address: config.api.address ?? config.boot.address.address,
      port: config.api.port,
    }),
  );
  await api.start();
  scope.use(
    await ControlServer.open({
      path: config.control.socket,
      group: config.control.group ?? undefined,
      catalogue,
      log,
    }),
  );

  await store.commit((tx) =>
    tx.history.append({
      type: "daemon.started",
      severity: "INFO",
      node: null,
      name: null,
      operation: null,
      data: { version: VERSION },
    }),
  );
  await recover({ ...conductor, runner });
  if (settings.powerSyncInterval > 0) power.watch();

  if (config.mqtt.enabled) {
    parts.site = scope.use(new SiteSession({ settings: siteSettings(config), catalogue, store, clock, random, log }));
    parts.site.start();
  }
  log.info("daemon.ready", { elapsed_ms: Math.round(clock.wall().getTime() - Date.parse(startedAt)) });
  sdNotify(`READY=1\nSTATUS=Serving ${config.boot.interface}`);
  scope.defer(keepWatchdog(clock));
  return bootServices.reload;
}

/** Free space where the state is kept; the store needs some to promise anything. */
function diskStatus(directory: string): JsonObject {
  const { bsize, blocks, bavail } = statfsSync(directory);
  return { total_bytes: blocks * bsize, free_bytes: bavail * bsize, low: bavail * bsize < LOW_DISK };
}

/** systemd restarts a daemon whose event loop stands still. */
function keepWatchdog(clock: Clock): () => void {
  if (environment("WATCHDOG_USEC") === undefined) return () => {};
  let cancel = (): void => {};
  const beat = (): void => {
    sdNotify("WATCHDOG=1");
    cancel = clock.after(WATCHDOG_INTERVAL, beat);
  };
  beat();
  return () => cancel();
}

function conductorSettings({ appliance, conductor }: Config): ConductorSettings {
  return {
    name: appliance.name,
    automatedClean: conductor.automatedClean,
    fastTrack: conductor.fastTrack,
    fastTrackTimeout: conductor.fastTrackTimeout,
    heartbeatTimeout: conductor.heartbeatTimeout,
    powerSyncInterval: conductor.powerSyncInterval,
    powerSyncWorkers: conductor.powerSyncWorkers,
    lockWait: conductor.lockWait,
    powerOffAfterDeployFailure: conductor.powerOffAfterDeployFailure,
  };
}

interface DriverParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly bmcs: IpmiBmcs;
  readonly images: DeployableImages;
}

/** The hardware types of this appliance, the first the most usual. */
function hardwareTypes({ config, clock, bmcs, images }: DriverParts): readonly HardwareType[] {
  const { conductor, deploy, iscsi } = config;
  const streams = new SharedStreams();
  const powerLimits = { hard: conductor.powerChangeTimeout, soft: conductor.softPowerOffTimeout };
  const cleanPriorities: Record<string, number> = {};
  if (deploy.eraseDevicesMetadataPriority !== null)
    cleanPriorities["erase_devices_metadata"] = deploy.eraseDevicesMetadataPriority;
  if (deploy.eraseDevicesPriority !== null) cleanPriorities["erase_devices"] = deploy.eraseDevicesPriority;
  const connect: AgentConnector = (address) => new AgentClient({ address, clock });
  const clean = { connect, callbackTimeout: conductor.cleanCallbackTimeout, priorities: cleanPriorities };
  const network = {
    boot: new Map([["ipxe", ipxeBoot]]),
    deploy: new Map([
      [
        "iscsi",
        iscsiDeploy({
          connect,
          callbackTimeout: conductor.deployCallbackTimeout,
          cleanCallbackTimeout: conductor.cleanCallbackTimeout,
          cleanPriorities,
          policy: deploy.holePolicy,
          verify: deploy.verify,
          initiatorIqn: iscsi.initiatorIqn,
          streamDownloads: config.image.streamDownloads,
          fetchImage: (image, options) => images.fetch(image, options),
          buildConfigDrive,
          write: (content, target, options) => streams.write(content, target, options),
        }),
      ],
      ["ramdisk", ramdiskDeploy({ ...clean, isServed: (path) => liesIn(config.image.fileDirs, path) })],
    ]),
    inspect: new Map([
      ["agent", agentInspect({ waitTimeout: conductor.inspectCallbackTimeout, fastTrack: conductor.fastTrack })],
    ]),
    storage: storageInterfaces,
  };
  return [ipmiHardwareType({ bmcs, clock, powerLimits, ...network }), fakeHardware()];
}

function liesIn(directories: readonly string[], path: string): boolean {
  return directories.some((directory) => normalize(path).startsWith(`${directory}/`));
}

interface ServiceParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
}

interface BootServicesHandle {
  readonly counters: () => JsonObject;
  /** Reads the certificate of boot HTTP again. */
  readonly reload: () => void;
}

/** DHCP, TFTP and boot HTTP on the provisioning network. */
async function openBootServices(
  { config, clock, log, store, key }: ServiceParts & { readonly key: Uint8Array },
  scope: Scope,
): Promise<BootServicesHandle> {
  const { boot, dhcp } = config;
  const { address } = boot.address;
  const certificate = loadCertificate(boot);
  const files = scope.use(new BootFiles({ clock, named: loaderFiles(boot.loaderDirs), root: null }));
  const settings: BootSettings = {
    policy: bootPolicy(config),
    httpPort: boot.httpPort,
    httpsPort: certificate === null ? null : boot.httpsPort,
    apiPort: config.api.port,
    templates: loadBootTemplates(boot.templateDir),
    secrets: bootSecrets(key),
    ipv6: { host: config.dhcp6.bootHost, apiAddress: address },
  };
  const ipv6 = config.dhcp6.enabled ? (config.dhcp6.address?.address ?? null) : null;
  const owners = addressOwners(store);

  const http = scope.use(
    new BootHttp({
      clock,
      log,
      store: { nodes: store.nodes, ports: store.ports, volumes: store.volumes, leases: owners },
      boot: settings,
      files,
      ramdisk: { kernel: boot.kernel, initrd: boot.initrd },
      isoDirectories: config.image.fileDirs,
      listen: [address, ...(ipv6 === null ? [] : [ipv6])].flatMap((one) => [
        { address: one, port: boot.httpPort, identity: null },
        ...(certificate === null ? [] : [{ address: one, port: boot.httpsPort, identity: certificate }]),
      ]),
      mostConnections: MOST_HTTP_CONNECTIONS,
    }),
  );
  await http.start();
  const tellCertificate = (read: Certificate): void => {
    const fields = { file: boot.httpsCertFile ?? "", valid_to: read.own.validTo };
    log.info("http.certificate", fields);
    for (const reason of certificateDoubts(read, config, clock.wall()))
      log.warn("http.certificate", { ...fields, reason });
  };
  if (certificate !== null) tellCertificate(certificate);
  const reload = (): void => {
    if (certificate === null) return;
    try {
      const renewed = loadCertificate(boot);
      if (renewed === null) return;
      http.renew(renewed);
      tellCertificate(renewed);
    } catch (error) {
      log.error("http.certificate-refused", { reason: toFault(error).message });
    }
  };

  const tftpFd = bindUdpToInterface({ interface: boot.interface, address, port: boot.tftpPort, broadcast: false });
  const tftpLinks: TftpLink[] = [
    { address, socket: await DatagramSocket.open({ kind: "fd", fd: tftpFd, broadcast: false }) },
  ];
  if (ipv6 !== null) tftpLinks.push({ address: ipv6, socket: await ipv6Socket(boot.interface, ipv6, boot.tftpPort) });
  const tftp = scope.use(
    new TftpService({
      clock,
      log,
      leases: owners,
      links: tftpLinks,
      // A file that the operator put there goes before one that is made.
      sources: [
        ({ file }) => files.open(file),
        loaderConfigSource({
          store,
          boot: settings,
          clock,
          files,
          ramdisk: { kernel: boot.kernel, initrd: boot.initrd },
        }),
      ],
      limits: TFTP_LIMITS,
    }),
  );
  tftp.start();

  const dhcp6 = ipv6 === null ? null : scope.use(await openDhcp6({ config, clock, log, store, key }, settings, ipv6));
  dhcp6?.start();
  const common = (): JsonObject => ({
    ...(dhcp6 === null ? {} : { dhcp6: { ...dhcp6.counters() } }),
    http: { ...http.counters() },
    tftp: { ...tftp.counters() },
  });
  if (!dhcp.enabled) return { counters: common, reload };
  if (dhcp.proxy) {
    const proxy = scope.use(openProxyDhcp({ config, clock, log, store }, settings));
    proxy.start();
    return { counters: () => ({ dhcp: { ...proxy.counters() }, ...common() }), reload };
  }
  const dhcpSocket = BatchSocket.onInterface({ ...DHCP_DOOR, interface: boot.interface, clock });
  const service = scope.use(
    new DhcpService({
      store,
      clock,
      log,
      links: [{ interface: boot.interface, address, socket: dhcpSocket, introduce: null }],
      subnets: [
        {
          subnet: subnetOf(config),
          options: dhcpOptionsOf(config),
          otherOptions: dhcp.options,
          reservedOptions: new Map(
            dhcp.reservations.map(({ address: fixed, options }) => [fixed, options ?? new Map()]),
          ),
        },
      ],
      boot: settings,
      authoritative: dhcp.authoritative,
      rapidCommit: false,
      serveUnknown: true,
      offerTime: dhcp.offerTime,
      quarantine: QUARANTINE,
      probe: dhcp.probe ? new ArpProbe({ clock, wait: ARP_WAIT }) : null,
    }),
  );
  service.start();
  return { counters: () => ({ dhcp: { ...service.counters() }, ...common() }), reload };
}

/** DHCPv6 on the same interface; `address` is ours on it. */
async function openDhcp6(
  { config, clock, log, store, key }: ServiceParts & { readonly key: Uint8Array },
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

/** Where Debian's packages shim-signed, grub-efi-amd64-signed and memtest86+ put their programs, by the names they are asked for. */
const PACKAGED_LOADERS: readonly (readonly [string, string])[] = [
  ["shimx64.efi", "/usr/lib/shim/shimx64.efi.signed"],
  ["grubx64.efi", "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"],
  [memoryTests.bios, "/boot/memtest86+x64.bin"],
  [memoryTests.efi, "/boot/memtest86+x64.efi"],
];

/** The files of the loader directories by name; of the same name in two, the first directory's; then those of other packages. */
function loaderFiles(directories: readonly string[]): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const directory of directories) {
    let names: readonly string[];
    try {
      names = readdirSync(directory);
    } catch (error) {
      throw new Fault(
        "invalid",
        "boot.loader_dirs",
        `boot.loader_dirs: ${directory} cannot be read; install the package ipxe or name another directory`,
        { cause: error },
      );
    }
    for (const name of names) if (!files.has(name)) files.set(name, join(directory, name));
  }
  for (const [name, path] of PACKAGED_LOADERS) if (!files.has(name)) files.set(name, path);
  return files;
}

function bootPolicy({ boot, dhcp }: Config): BootPolicy {
  const console = boot.console === "" ? "" : `console=${boot.console}`;
  return {
    discovery: dhcp.discovery === "on",
    loaders: [
      { platform: "bios", processor: "i386", file: boot.biosLoader },
      { platform: "efi", processor: "x86_64", file: boot.uefiLoader },
      { platform: "efi", processor: "arm64", file: boot.uefiArm64Loader },
    ],
    signedLoaders: defaultSignedLoaders,
    ramdisks: ["i386", "x86_64"],
    httpsFor: boot.httpsFor,
    kernelArguments: [console, boot.kernelArguments].filter((part) => part !== "").join(" "),
    debug: false,
  };
}

function subnetOf({ boot, dhcp }: Config): ConstructorParameters<typeof DhcpService>[0]["subnets"][number]["subnet"] {
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

function dhcpOptionsOf({ dhcp }: Config): ConstructorParameters<typeof DhcpService>[0]["subnets"][number]["options"] {
  return {
    ...(dhcp.gateway === null ? {} : { router: [dhcp.gateway] }),
    ...(dhcp.dns.length === 0 ? {} : { domainNameServer: dhcp.dns }),
    ...(dhcp.domain === null ? {} : { domainName: dhcp.domain }),
    ...(dhcp.ntp.length === 0 ? {} : { ntpServer: dhcp.ntp }),
  };
}

function siteSettings({ appliance, mqtt }: Config): ConstructorParameters<typeof SiteSession>[0]["settings"] {
  const read = (path: string | null): string | undefined => (path === null ? undefined : readFileSync(path, "utf8"));
  const key = read(mqtt.keyFile);
  return {
    site: appliance.site,
    rack: appliance.rack,
    server: {
      url: mqtt.url ?? "",
      clientId: mqtt.clientId ?? `ironrack-${appliance.site}-${appliance.rack}`,
      username: mqtt.username ?? undefined,
      password: mqtt.password ?? undefined,
      tls: { ca: read(mqtt.caFile), cert: read(mqtt.certFile), key: key === undefined ? undefined : new Secret(key) },
      keepalive_s: mqtt.keepalive / 1000,
      sessionExpiry_s: MQTT_SESSION_EXPIRY_S,
    },
  };
}

function siteStatus(site: SiteSession): JsonObject {
  const { connected, since, lastError, queuedEvents, queuedCommands, malformed } = site.state;
  return {
    connected,
    since,
    last_error: lastError,
    queued_events: queuedEvents,
    queued_commands: queuedCommands,
    malformed,
  };
}
