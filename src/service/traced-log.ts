import { type MacAddress, parseMacAddress } from "../core/brand.ts";
import type { LogEvent } from "../core/log-events.ts";
import type { Log, LogFields } from "../core/log.ts";
import { type BootTrace, keepNewest } from "../domain/boot-trace.ts";
import type { PortReader } from "../domain/store.ts";

/** The lines that tell how a machine boots. */
const STEPS: ReadonlySet<LogEvent> = new Set<LogEvent>([
  "dhcp.answered",
  "dhcp.silent",
  "dhcp.conflict",
  "dhcp.returned",
  "dhcp.failed",
  "tftp.done",
  "tftp.refused",
  "tftp.declined",
  "tftp.failed",
  "http.served",
  "http.refused",
  "agent.lookup",
  "agent.heartbeat",
  "agent.refused",
  "node.power",
  "node.state",
]);

/** Addresses whose machine was learnt from a line that names both; the oldest is forgotten first. */
const MOST_ADDRESSES = 512;
const SCRIPT = /^\/boot\/([0-9a-f]{2}(?:[-:][0-9a-f]{2}){5})\.ipxe/i;

const nothing: LogFields = {};

export interface TracedLogParts {
  readonly trace: BootTrace;
  readonly ports: Pick<PortReader, "byAddress">;
}

/**
 * The same log, whose lines about booting are also kept for `boot trace`: whoever logs need not know of it. A line belongs to
 * the MAC address in it, or in the name of the script that it is about; else to the machine known at its peer's address; else
 * to its node; else to the bare address.
 */
export function tracedLog(log: Log, parts: TracedLogParts): Log {
  const machines = new Map<string, string>();

  const keep = (event: LogEvent, fields: LogFields): void => {
    const { peer, node = null } = fields;
    const mac = fields.mac ?? scriptOwner(fields["path"]);
    if (mac === undefined) {
      const machine = peer === undefined ? node : (machines.get(peer) ?? node ?? peer);
      if (machine !== null) parts.trace.record(machine, node ?? ownerOf(machine), event, fields);
      return;
    }
    if (peer !== undefined) {
      machines.delete(peer);
      machines.set(peer, mac);
      keepNewest(machines, MOST_ADDRESSES);
    }
    // An agent is refused with all addresses of its machine.
    const all = mac.includes(",") ? mac.split(",") : [mac];
    for (const one of all) parts.trace.record(one, node ?? ownerOf(one), event, fields);
  };
  const ownerOf = (machine: string): string | null => parts.ports.byAddress(machine as MacAddress)?.nodeUuid ?? null;

  const wrap = (base: Log, standing: LogFields): Log => {
    const see = (event: LogEvent, fields: LogFields | undefined): void => {
      if (STEPS.has(event)) keep(event, standing === nothing ? (fields ?? nothing) : { ...standing, ...fields });
    };
    return {
      debug: (event, fields) => {
        base.debug(event, fields);
        // Of an agent's reports only the first is a step.
        if (event !== "agent.heartbeat") see(event, fields);
      },
      info: (event, fields) => {
        base.info(event, fields);
        see(event, fields);
      },
      warn: (event, fields) => {
        base.warn(event, fields);
        see(event, fields);
      },
      error: (event, fields, error) => {
        base.error(event, fields, error);
        see(event, fields);
      },
      with: (fields) => wrap(base.with(fields), { ...standing, ...fields }),
    };
  };
  return wrap(log, nothing);
}

function scriptOwner(path: unknown): MacAddress | undefined {
  const name = typeof path === "string" ? SCRIPT.exec(path)?.[1] : undefined;
  return name === undefined ? undefined : parseMacAddress(name);
}
