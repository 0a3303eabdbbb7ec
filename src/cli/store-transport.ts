import { stat } from "node:fs/promises";
import { join } from "node:path";
import { isUuid, parseNodeUuid } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { Fault, isFault } from "../core/fault.ts";
import { isJsonObject, numberProperty, stringProperty, type Json, type JsonObject } from "../core/json.ts";
import { silentLog } from "../core/log.ts";
import { HIDDEN, isSecretKey } from "../core/secret.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Node } from "../domain/node.ts";
import type { Store } from "../domain/store.ts";
import { openStore } from "../store/level-store.ts";
import { readStoreKey } from "../store/seal.ts";
import type { Transport } from "./transport.ts";

export interface StoreTransportParts {
  /** Why the daemon did not answer; what cannot be read here is answered with it. */
  readonly down: Fault;
  readonly stateDirectory: () => string;
  readonly clock: Clock;
  /** Says once that the answer comes from the disk. */
  readonly note: (text: string) => void;
}

type Reader = (store: Store, params: JsonObject) => Json | Promise<Json>;

/** What can be answered without a daemon: what is on disk, and nothing about what goes on. */
const READERS: Readonly<Record<string, Reader>> = {
  "node.list": (store) => ({ nodes: store.nodes.list().map(nodeJson) }),
  "node.show": (store, params) => nodeJson(findNode(store, params)),
  "node.history": async (store, params) => {
    const node = findNode(store, params);
    const limit = numberProperty(params, "limit") ?? 200;
    return { history: (await allHistory(store)).filter((entry) => entry.node === node.uuid).slice(-limit) };
  },
  "node.inventory": async (store, params) => {
    const body = await store.inventory.get(findNode(store, params).uuid);
    if (body === undefined) throw new Fault("not-found", "inventory.absent", "the node has not been inspected");
    const { inventory, ...plugin } = body;
    return { inventory: inventory ?? {}, plugin_data: plugin };
  },
  "port.list": (store) => ({ ports: store.ports.list().map((port) => snakeCase(port)) }),
  "lease.list": (store) => ({
    leases: [...store.leases.list(), ...store.leases6.list()].map((lease) => ({
      ...snakeCase(lease),
      expires_at: new Date(lease.expiresAt).toISOString(),
    })),
  }),
  "event.list": async (store, params) => {
    const limit = numberProperty(params, "limit") ?? 100;
    const after = numberProperty(params, "after") ?? Math.max(0, store.history.lastSeq - limit);
    const events = (await store.history.read(after, limit)).map((entry) => ({ ...entry }));
    return { events, last_seq: events.at(-1)?.seq ?? Math.min(after, store.history.lastSeq) };
  },
};

/** Answers reading verbs from the store itself while the daemon is down; holds the store only as long as the verb runs. */
export class StoreTransport implements Transport {
  readonly peer: string;
  readonly #parts: StoreTransportParts;
  #store: (Store & AsyncDisposable) | undefined;

  constructor(parts: StoreTransportParts) {
    this.#parts = parts;
    this.peer = "the store on disk";
  }

  async call(method: string, params: JsonObject): Promise<Json> {
    const reader = Object.hasOwn(READERS, method) ? READERS[method] : undefined;
    if (reader === undefined) throw this.#parts.down;
    this.#store ??= await this.#open();
    return await reader(this.#store, params);
  }

  async #open(): Promise<Store & AsyncDisposable> {
    const { down, stateDirectory, clock, note } = this.#parts;
    let directory: string;
    try {
      directory = stateDirectory();
    } catch (error) {
      // Without its configuration nobody knows where the store is; why the daemon is down matters more.
      if (isFault(error)) throw down;
      throw error;
    }
    const owner = await storeOwner(directory);
    if (owner === undefined) throw down;
    becomeOwner(owner);
    const key = readStoreKey(join(directory, "store.key"));
    const store = await openStore({ directory: join(directory, "store"), clock, log: silentLog, key });
    note(`ironrackd is down (systemctl status ironrackd); this is what its store in ${directory} says\n`);
    return store;
  }

  async *events(): AsyncIterable<HistoryEntry> {
    yield* [];
    throw this.#parts.down;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store?.[Symbol.asyncDispose]();
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Whose the store is; undefined where there is none, and none must be made by looking. */
async function storeOwner(directory: string): Promise<Owner | undefined> {
  try {
    await stat(join(directory, "store.key"));
    return await stat(join(directory, "store"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES")
      throw new Fault(
        "unreachable",
        "store.forbidden",
        `ironrackd is down, and you may not read ${directory}; use sudo`,
      );
    return undefined;
  }
}

/** LevelDB makes files also when it is only read: were they root's, the daemon could not open its store any more. */
function becomeOwner({ uid, gid }: Owner): void {
  if (process.geteuid?.() !== 0 || uid === 0) return;
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

function findNode(store: Store, params: JsonObject): Node {
  const ident = stringProperty(params, "node") ?? "";
  const node = isUuid(ident) ? store.nodes.get(parseNodeUuid(ident)) : store.nodes.byName(ident);
  if (node === undefined) throw new Fault("not-found", "node.not-found", `node "${ident}" could not be found`);
  return node;
}

async function allHistory(store: Store): Promise<HistoryEntryJson[]> {
  const all: HistoryEntryJson[] = [];
  for (let after = 0; ; ) {
    const entries = await store.history.read(after, 1000);
    all.push(...entries.map((entry) => ({ ...entry })));
    const last = entries.at(-1);
    if (last === undefined) return all;
    after = last.seq;
  }
}

type HistoryEntryJson = { readonly [K in keyof HistoryEntry]: HistoryEntry[K] };

/** The node as its record has it, in Ironic's words. What is computed while the daemon runs is missing. */
function nodeJson(node: Node): JsonObject {
  const { agent: _agent, bootTarget: _target, interfaces, operation, ...record } = node;
  const step = operation?.steps[operation.index];
  return {
    ...snakeCase(record),
    ...Object.fromEntries(Object.entries(interfaces).map(([name, value]) => [`${name}_interface`, value])),
    operation:
      operation === null
        ? null
        : {
            id: operation.id,
            verb: operation.verb,
            step: step === undefined ? null : `${step.interface}.${step.step}`,
            index: operation.index,
            count: operation.steps.length,
          },
  };
}

/** A record of ours as JSON: names of its fields in snake_case, secrets hidden. Free objects keep their own keys. */
function snakeCase(record: object): JsonObject {
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [
      key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      hidden(value as Json),
    ]),
  );
}

function hidden(value: Json): Json {
  if (Array.isArray(value)) return value.map((one: Json) => hidden(one));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, isSecretKey(key) && one !== null ? HIDDEN : hidden(one)]),
  );
}
