import { readFile, stat, statfs } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import {
  isJsonObject,
  numberProperty,
  objectProperty,
  property,
  stringProperty,
  type JsonObject,
} from "../core/json.ts";
import { seconds } from "../core/units.ts";
import type { Config } from "../config/config.ts";
import { certificateDoubts, readCertificate } from "../config/certificate.ts";
import { checkWithFiles } from "../config/check.ts";
import { problemLine } from "../config/load.ts";
import { durationWords, sizeWords } from "./event-words.ts";
import { SocketTransport } from "./socket-transport.ts";
import { objects } from "./verbs/node-reading.ts";

/** `bad` needs somebody to act; `warning` is worth a look. */
export interface Finding {
  readonly check: string;
  readonly state: "good" | "warning" | "bad";
  readonly says: string;
}

export interface DoctorParts {
  readonly configPath: string;
  /** Other than the configured one only when it was asked for. */
  readonly socket: string | undefined;
  readonly defaultSocket: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Looks at everything that commonly keeps an appliance from working, and says of each how it is and what to do. */
export async function examine(parts: DoctorParts): Promise<readonly Finding[]> {
  const { config, problems } = checkWithFiles(parts.configPath);
  const findings: Finding[] = problems.map((problem) => bad("config", problemLine(problem)));
  if (config !== undefined && problems.length === 0) findings.push(good("config", `${parts.configPath} is right`));
  const socket = parts.socket ?? config?.control.socket ?? parts.defaultSocket;
  const daemon = await examineDaemon(socket, parts);
  findings.push(...daemon.findings);
  if (config !== undefined) {
    findings.push(...(await examineNetwork(config, daemon.status !== undefined)));
    findings.push(...(await examineFiles(config)));
    findings.push(...examineCertificate(config, parts.clock));
    findings.push(...(await examineStore(config)));
  }
  findings.push(await examineClock(parts.clock));
  return findings;
}

const good = (check: string, says: string): Finding => ({ check, state: "good", says });
const warning = (check: string, says: string): Finding => ({ check, state: "warning", says });
const bad = (check: string, says: string): Finding => ({ check, state: "bad", says });

async function examineDaemon(
  socket: string,
  { clock, signal }: DoctorParts,
): Promise<{ readonly status: JsonObject | undefined; readonly findings: readonly Finding[] }> {
  try {
    await using transport = new SocketTransport(socket, clock);
    const options = { signal, timeout: seconds(10) };
    const status = await transport.call("conductor.status", {}, options);
    if (!isJsonObject(status)) return { status: undefined, findings: [bad("daemon", `${socket} answers nonsense`)] };
    const nodes = await transport.call("node.list", {}, options);
    const up = durationWords((numberProperty(status, "uptime_s") ?? 0) * 1000);
    const findings = [
      good("daemon", `ironrackd ${stringProperty(status, "version") ?? "?"} answers on ${socket}, up ${up}`),
      ...examineSite(objectProperty(status, "mqtt") ?? {}),
      ...examineNodes(objects(isJsonObject(nodes) ? property(nodes, "nodes") : undefined)),
    ];
    return { status, findings };
  } catch (error) {
    return { status: undefined, findings: [bad("daemon", toFault(error).message)] };
  }
}

function examineSite(mqtt: JsonObject): readonly Finding[] {
  if (mqtt["enabled"] === false) return [warning("site", "the channel to the site is off (mqtt.enabled)")];
  const queued = numberProperty(mqtt, "queued_events") ?? 0;
  const waiting = queued > 0 ? `; ${queued} events wait for it` : "";
  if (mqtt["connected"] === true)
    return [queued > 1000 ? warning("site", `connected${waiting}`) : good("site", `connected${waiting}`)];
  return [bad("site", `not connected: ${stringProperty(mqtt, "last_error") ?? "no attempt has ended yet"}${waiting}`)];
}

function examineNodes(nodes: readonly JsonObject[]): readonly Finding[] {
  const named = (node: JsonObject): string => stringProperty(node, "name") ?? stringProperty(node, "uuid") ?? "?";
  const failed = nodes.filter((node) => /failed$|^error$/.test(stringProperty(node, "provision_state") ?? ""));
  const kept = nodes.filter((node) => node["maintenance"] === true);
  const findings = [
    ...failed.map((node) =>
      warning(
        "nodes",
        `${named(node)} is "${stringProperty(node, "provision_state") ?? ""}": ${stringProperty(node, "last_error") ?? "no reason was recorded"}`,
      ),
    ),
    ...kept.map((node) =>
      warning(
        "nodes",
        `${named(node)} is in maintenance: ${stringProperty(node, "maintenance_reason") ?? "no reason was given"}`,
      ),
    ),
  ];
  return findings.length > 0 ? findings : [good("nodes", `${nodes.length}, none failed`)];
}

function examineCertificate(config: Config, clock: Clock): readonly Finding[] {
  const { boot } = config;
  const { certificate } = readCertificate(boot, "optional");
  if (certificate === null) return [];
  const doubts = certificateDoubts(certificate, config, clock.wall());
  return doubts.length === 0
    ? [good("certificate", `${boot.httpsCertFile} is valid until ${certificate.own.validTo}`)]
    : doubts.map((doubt) => warning("certificate", `${boot.httpsCertFile}: ${doubt}`));
}

async function examineNetwork(config: Config, running: boolean): Promise<readonly Finding[]> {
  const { boot, dhcp, dhcp6, api } = config;
  const findings: Finding[] = [];
  const present = networkInterfaces()[boot.interface];
  const state = await readFile(`/sys/class/net/${boot.interface}/operstate`, "utf8").catch(() => undefined);
  if (state === undefined) findings.push(bad("network", `there is no interface ${boot.interface} (boot.interface)`));
  else if (present?.some((one) => one.address === boot.address.address) !== true) {
    findings.push(bad("network", `${boot.interface} does not have the address ${boot.address.address} (boot.address)`));
  } else if (state.trim() === "down") findings.push(bad("network", `${boot.interface} has no link`));
  else findings.push(good("network", `${boot.interface} has ${boot.address.address}`));

  const [udp, tcp] = [await boundPorts("udp"), await boundPorts("tcp")];
  const wanted = [
    { name: "TFTP", bound: udp.has(boot.tftpPort), port: `UDP ${boot.tftpPort}` },
    ...(dhcp.enabled ? [{ name: "DHCP", bound: udp.has(67), port: "UDP 67" }] : []),
    ...(dhcp6.enabled ? [{ name: "DHCPv6", bound: udp.has(547), port: "UDP 547" }] : []),
    { name: "boot HTTP", bound: tcp.has(boot.httpPort), port: `TCP ${boot.httpPort}` },
    ...(boot.httpsCertFile === null
      ? []
      : [{ name: "boot HTTPS", bound: tcp.has(boot.httpsPort), port: `TCP ${boot.httpsPort}` }]),
    { name: "REST", bound: tcp.has(api.port), port: `TCP ${api.port}` },
  ];
  const wrong = wanted.filter(({ bound }) => bound !== running);
  for (const { name, port } of wrong) {
    findings.push(
      running
        ? bad("ports", `nobody listens on ${port} (${name})`)
        : bad("ports", `another program listens on ${port}, which ${name} needs: ss -lnptu`),
    );
  }
  if (wrong.length === 0)
    findings.push(good("ports", wanted.map(({ port }) => port).join(", ") + (running ? " are bound" : " are free")));
  return findings;
}

/** @source proc(5): local address in hex, state 0A of TCP is LISTEN */
async function boundPorts(kind: "udp" | "tcp"): Promise<ReadonlySet<number>> {
  const ports = new Set<number>();
  for (const file of [kind, `${kind}6`]) {
    const text = await readFile(`/proc/net/${file}`, "utf8").catch(() => "");
    for (const line of text.split("\n").slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      const port = local?.split(":").at(-1);
      if (port !== undefined && (kind === "udp" || state === "0A")) ports.add(Number.parseInt(port, 16));
    }
  }
  return ports;
}

async function examineFiles(config: Config): Promise<readonly Finding[]> {
  const { boot } = config;
  const findings: Finding[] = [];
  for (const [key, path] of [
    ["boot.kernel", boot.kernel],
    ["boot.initrd", boot.initrd],
    ["boot.arm64_kernel", boot.arm64Kernel],
    ["boot.arm64_initrd", boot.arm64Initrd],
  ] as const) {
    if (path === null) continue;
    const about = await stat(path).catch(() => undefined);
    if (about === undefined || !about.isFile())
      findings.push(bad("boot files", `${path} is missing (${key}); machines cannot boot the ramdisk`));
  }
  for (const [key, name] of [
    ["boot.bios_loader", boot.biosLoader],
    ["boot.uefi_loader", boot.uefiLoader],
  ] as const) {
    const found = await Promise.all(
      boot.loaderDirs.map(async (directory) => await stat(join(directory, name)).catch(() => undefined)),
    );
    if (found.every((one) => one === undefined))
      findings.push(
        bad("boot files", `${name} (${key}) is in none of ${boot.loaderDirs.join(", ")}; install the package ipxe`),
      );
  }
  return findings.length > 0 ? findings : [good("boot files", "kernel, initrd and boot loaders are there")];
}

const LITTLE = 2_000_000_000;

async function examineStore(config: Config): Promise<readonly Finding[]> {
  const { stateDir } = config.appliance;
  const about = await stat(stateDir).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
  if (typeof about === "string") {
    return [
      bad(
        "store",
        `${stateDir} ${about === "ENOENT" ? "is missing; ironrackd makes it when it starts" : `cannot be read: ${about}`}`,
      ),
    ];
  }
  const findings: Finding[] = [];
  if ((about.mode & 0o077) !== 0) findings.push(bad("store", `${stateDir} is open to others; chmod 700 ${stateDir}`));
  const key = await stat(join(stateDir, "store.key")).catch(() => undefined);
  if (key !== undefined && (key.mode & 0o077) !== 0)
    findings.push(bad("store", `${stateDir}/store.key is open to others; chmod 600 it`));
  if (findings.length === 0) findings.push(good("store", `${stateDir} is closed to others`));
  const disk = await statfs(stateDir);
  const free = disk.bavail * disk.bsize;
  const share = disk.blocks === 0 ? 1 : disk.bavail / disk.blocks;
  const says = `${sizeWords(free)} free in ${stateDir} (${Math.round(share * 100)} %)`;
  findings.push(
    free < LITTLE / 10 ? bad("disk", says) : free < LITTLE || share < 0.05 ? warning("disk", says) : good("disk", says),
  );
  return findings;
}

/** Before this the program did not exist: a clock that says so has lost its battery. */
const BUILT = Date.UTC(2026, 0, 1);

async function examineClock(clock: Clock): Promise<Finding> {
  const now = clock.wall();
  if (now.getTime() < BUILT)
    return bad("clock", `it says ${now.toISOString()}, which cannot be; set it and look after its battery`);
  const synchronized = await stat("/run/systemd/timesync/synchronized").then(
    () => true,
    () => false,
  );
  return synchronized
    ? good("clock", `${now.toISOString()}, synchronized`)
    : warning("clock", `${now.toISOString()}, not known to be synchronized: timedatectl status`);
}
