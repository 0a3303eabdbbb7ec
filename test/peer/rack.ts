import { Type } from "typebox";
import { SystemClock } from "../../src/core/clock.ts";
import { parseNodeUuid } from "../../src/core/brand.ts";
import { Fault } from "../../src/core/fault.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { openLog, type Log } from "../../src/core/log.ts";
import { SystemRandom } from "../../src/core/random.ts";
import { seconds } from "../../src/core/units.ts";
import { Catalogue, command, type Command } from "../../src/conductor/catalogue.ts";
import { enrolledNode } from "../../src/domain/enrolled-node.ts";
import type { Node } from "../../src/domain/node.ts";
import type { Store } from "../../src/domain/store.ts";
import type { MqttServer } from "../../src/net/mqtt-connection.ts";
import { SiteSession } from "../../src/mqtt/site-session.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";

export const clock = new SystemClock();

/** A node with nothing under way. */
export function someNode(uuid: string, name: string): Node {
  return { ...enrolledNode({ uuid: parseNodeUuid(uuid), driver: "ipmi", at: "2026-01-01T00:00:00.000Z" }), name };
}

/** What a node in these tests can be told: real commands of a real catalogue on a real store, small enough to be seen through. */
export function testCommands(store: Store, ran: string[]): readonly Command[] {
  const uuid = new SystemRandom();
  return [
    command({
      name: "node.create",
      summary: "enroll",
      changes: true,
      params: Type.Object({ name: Type.String() }, { additionalProperties: false }),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async ({ name }, context) => {
        ran.push(`create ${name}`);
        return await context.commit((tx) => {
          if (tx.nodes.byName(name) !== undefined)
            throw new Fault("conflict", "node.duplicate", `there is a node ${name}`);
          const node = someNode(uuid.uuid(), name);
          tx.nodes.put(node);
          tx.history.append({
            type: "node.created",
            severity: "INFO",
            node: node.uuid,
            name,
            operation: null,
            data: {},
          });
          return { uuid: node.uuid, name };
        });
      },
    }),
    command({
      name: "node.delete",
      summary: "remove",
      changes: true,
      params: Type.Object({ node: Type.String() }, { additionalProperties: false }),
      result: Type.Null(),
      handle: async ({ node: name }, context) =>
        await context.commit((tx) => {
          const node = tx.nodes.byName(name);
          if (node === undefined) throw new Fault("not-found", "node.not-found", `no node ${name}`);
          tx.nodes.delete(node.uuid);
          tx.history.append({
            type: "node.deleted",
            severity: "INFO",
            node: node.uuid,
            name,
            operation: null,
            data: {},
          });
          return null;
        }),
    }),
    command({
      name: "node.work",
      summary: "takes its time",
      changes: true,
      params: Type.Object({ node: Type.String(), ms: Type.Number() }, { additionalProperties: false }),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async ({ node, ms }, context) => {
        await clock.sleep(seconds(ms / 1000), context.signal);
        ran.push(`work ${node} ${ms}`);
        return await context.commit(() => ({ done: node }));
      },
    }),
    command({
      name: "node.list",
      summary: "nodes",
      changes: false,
      params: Type.Object({}, { additionalProperties: false }),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async () => ({ nodes: store.nodes.list().map((node) => ({ uuid: node.uuid, name: node.name })) }),
    }),
    command({
      name: "event.list",
      summary: "events",
      changes: false,
      params: Type.Object({
        after: Type.Optional(Type.Integer()),
        limit: Type.Optional(Type.Integer()),
        wait_s: Type.Optional(Type.Number()),
      }),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async ({ after, limit, wait_s }, context) => {
        const from = after ?? 0;
        if (wait_s !== undefined && store.history.lastSeq <= from) {
          using deadline = clock.deadline(seconds(wait_s), context.signal);
          await store.history.waitAfter(from, deadline.signal).catch((error: unknown) => {
            if (context.signal.aborted) throw error;
          });
        }
        const events = await store.history.read(from, limit ?? 100);
        return {
          events: events.map((entry) => ({ ...entry })),
          last_seq: events.at(-1)?.seq ?? Math.min(from, store.history.lastSeq),
        };
      },
    }),
    command({
      name: "conductor.status",
      summary: "status",
      changes: false,
      params: Type.Object({}),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async () => ({ name: "test" }),
    }),
    command({
      name: "large",
      summary: "a large answer",
      changes: false,
      params: Type.Object({ bytes: Type.Integer() }),
      result: Type.Unsafe<JsonObject>(Type.Object({})),
      handle: async ({ bytes }) => ({ text: "x".repeat(bytes) }),
    }),
  ];
}

/** Lines of the log, for tests of what is said and how often. */
export function recordingLog(): { readonly log: Log; readonly lines: readonly JsonObject[] } {
  const lines: JsonObject[] = [];
  const log = openLog({
    level: "debug",
    journal: false,
    stream: { write: (line) => void lines.push(JSON.parse(line) as JsonObject) },
  });
  return { log, lines };
}

/** The rack's side: a store, a catalogue and a session to `server`. */
export function openRack(options: {
  readonly server: Partial<MqttServer> & { readonly url: string };
  readonly store?: Store & AsyncDisposable;
  readonly log: Log;
  readonly willDelay_s?: number;
  /** Where what ran is written, when one list is to outlive the session. */
  readonly ran?: string[];
}): {
  readonly session: SiteSession;
  readonly store: Store & AsyncDisposable;
  readonly ran: string[];
  readonly catalogue: Catalogue;
} {
  const store = options.store ?? openMemoryStore({ clock });
  const ran = options.ran ?? [];
  const catalogue = new Catalogue({ commands: testCommands(store, ran), store, log: options.log });
  const session = new SiteSession({
    settings: {
      server: { clientId: "rack-test", keepalive_s: 30, sessionExpiry_s: 3600, ...options.server },
      site: "s",
      rack: "r",
      longestBackOff: seconds(2),
      willDelay_s: options.willDelay_s ?? 0,
    },
    catalogue,
    store,
    clock,
    random: new SystemRandom(),
    log: options.log,
  });
  return { session, store, ran, catalogue };
}

/** Appends `count` entries to the history. */
export async function fillHistory(store: Store, count: number): Promise<void> {
  for (let done = 0; done < count; done += 1000) {
    await store.commit((tx) => {
      for (let index = done; index < Math.min(count, done + 1000); index += 1) {
        tx.history.append({
          type: "discovery",
          severity: "INFO",
          node: null,
          name: null,
          operation: null,
          data: { index },
        });
      }
    });
  }
}
