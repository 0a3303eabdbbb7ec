import { Fault, toFault } from "../core/fault.ts";
import { type JsonObject, numberProperty, objectProperty } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { Lease, Lease6 } from "../domain/lease.ts";
import type { NodeUuid } from "../core/brand.ts";
import type { Node, Port } from "../domain/node.ts";
import type { Volume } from "../domain/volume.ts";
import { keys, rangeOf, type RecordKind, seqOf } from "./keys.ts";
import type { Database } from "./level-files.ts";
import type { RecordCodec } from "./record.ts";
import { type ArrivedCommand, type Marks, State } from "./state.ts";

type Operation =
  | { readonly type: "put"; readonly key: string; readonly value: Buffer | string }
  | { readonly type: "del"; readonly key: string };

/** How many records of each kind there were; a loss inside LevelDB's log shows itself in nothing else. */
export interface Counts {
  readonly nodes: number;
  readonly ports: number;
  readonly volumes: number;
  readonly leases: number;
  readonly leases6: number;
  readonly commands: number;
}

/** The memory of the store as its records give it. What cannot be read is set aside, told, and missing. */
export async function loadState(database: Database, codec: RecordCodec, log: Log): Promise<State> {
  const state = new State();
  const aside: Operation[] = [];
  const setAside = (key: string, stored: Buffer, reason: string): void => {
    log.error("store.corrupt", { record: key, reason });
    aside.push({ type: "put", key: keys.aside(key), value: stored }, { type: "del", key });
  };
  /** A record may be whole and yet not fit, when LevelDB lost a later one: then it is set aside as well. */
  const load = async <T>(kind: RecordKind, order: (a: T, b: T) => number, put: (row: T) => void): Promise<void> => {
    const rows: { readonly key: string; readonly stored: Buffer; readonly row: T }[] = [];
    for await (const [key, stored] of database.iterator<string, Buffer>({
      ...rangeOf(kind),
      valueEncoding: "buffer",
    })) {
      try {
        rows.push({ key, stored, row: codec.decode(key, stored).value as T });
      } catch (error) {
        setAside(key, stored, toFault(error).message);
      }
    }
    for (const { key, stored, row } of rows.sort((a, b) => order(a.row, b.row))) {
      try {
        put(row);
      } catch (error) {
        setAside(key, stored, toFault(error).message);
      }
    }
  };
  await load<Node>("node", byCreation, (node) => state.nodes.put(node));
  const requireNode = (uuid: NodeUuid): void => {
    if (state.nodes.get(uuid) === undefined)
      throw new Fault("not-found", "node.not-found", `its node ${uuid} is missing`);
  };
  await load<Port>("port", byCreation, (port) => {
    requireNode(port.nodeUuid);
    state.ports.put(port);
  });
  await load<Volume>("volume", byCreation, (volume) => {
    requireNode(volume.nodeUuid);
    state.volumes.put(volume);
  });
  await load<Lease>(
    "lease",
    () => 0,
    (lease) => state.leases.put(lease),
  );
  await load<Lease6>(
    "lease6",
    () => 0,
    (lease) => state.leases6.put(lease),
  );
  await load<ArrivedCommand>(
    "command",
    (a, b) => a.order - b.order,
    (row) => state.commands.put(row),
  );
  state.marks = await loadMarks(database, codec, log, state);
  if (aside.length > 0) await database.batch<string, Buffer | string>(aside, { sync: true, valueEncoding: "buffer" });
  return state;
}

function byCreation(a: { createdAt: string; uuid: string }, b: { createdAt: string; uuid: string }): number {
  return a.createdAt.localeCompare(b.createdAt) || a.uuid.localeCompare(b.uuid);
}

/** The counters, never below what the records show. */
async function loadMarks(database: Database, codec: RecordCodec, log: Log, state: State): Promise<Marks> {
  const [first, last] = await historyEnds(database);
  const stored = await readMarks(database, codec, log);
  const lastSeq = Math.max(stored === undefined ? 0 : (numberProperty(stored, "lastSeq") ?? 0), last);
  if (lastSeq > last && last >= (stored === undefined ? 0 : (numberProperty(stored, "firstSeq") ?? 0))) {
    log.error("store.corrupt", { reason: `the history ends at ${last} and should end at ${lastSeq}` });
  }
  const lastOrder = state.commands.list().at(-1)?.order ?? 0;
  const counts = stored === undefined ? undefined : objectProperty(stored, "counts");
  if (counts !== undefined) tellLosses(state, counts, log);
  return {
    lastSeq,
    firstSeq: first === 0 ? lastSeq + 1 : first,
    acknowledged: Math.min(lastSeq, stored === undefined ? 0 : (numberProperty(stored, "acknowledged") ?? 0)),
    nextOrder: Math.max(lastOrder + 1, stored === undefined ? 1 : (numberProperty(stored, "nextOrder") ?? 1)),
  };
}

async function readMarks(database: Database, codec: RecordCodec, log: Log): Promise<JsonObject | undefined> {
  const stored = await database.get<string, Buffer>(keys.marks, { valueEncoding: "buffer" });
  if (stored === undefined) return undefined;
  try {
    return codec.decode(keys.marks, stored).value;
  } catch (error) {
    log.error("store.corrupt", { record: keys.marks, reason: toFault(error).message });
    return undefined;
  }
}

async function historyEnds(database: Database): Promise<readonly [number, number]> {
  const [first] = await database.keys({ ...rangeOf("history"), limit: 1 }).all();
  const [last] = await database.keys({ ...rangeOf("history"), limit: 1, reverse: true }).all();
  return [first === undefined ? 0 : seqOf(first), last === undefined ? 0 : seqOf(last)];
}

/** How many rows the root tables of a state have. */
export function countsOf(state: State): Counts {
  return {
    nodes: state.nodes.size,
    ports: state.ports.size,
    volumes: state.volumes.size,
    leases: state.leases.size,
    leases6: state.leases6.size,
    commands: state.commands.size,
  };
}

function tellLosses(state: State, expected: JsonObject, log: Log): void {
  for (const [kind, found] of Object.entries(countsOf(state))) {
    const wanted = numberProperty(expected, kind) ?? 0;
    if (found === wanted) continue;
    log.error("store.corrupt", { reason: `there are ${found} ${kind} and should be ${wanted}` });
  }
}
