import { readFileSync, statfsSync } from "node:fs";
import { join, normalize } from "node:path";
import { sdNotify } from "./core/native-addon.ts";
import { type Clock, instant } from "./core/clock.ts";
import { environment } from "./core/environment.ts";
import { toFault } from "./core/fault.ts";
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
import type { Config } from "./config/config.ts";
import { ControlServer } from "./control/control-server.ts";
import { BootTrace } from "./domain/boot-trace.ts";
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
import { tracedLog } from "./service/traced-log.ts";
import { openStore } from "./store/level-store.ts";
import { readStoreKey } from "./store/seal.ts";
import { openBootServices } from "./boot-services.ts";

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
  const conductor = { store, clock, random, settings, log, drivers, locks: new NodeLocks({ clock }), bootTrace };
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
    commands: allCommands({ ...conductor, runner, power }, status),
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
