import { Type } from "typebox";
import type { JsonObject } from "../../core/json.ts";
import { millis, type Millis } from "../../core/units.ts";
import { isFault } from "../../core/fault.ts";
import { type Command, command } from "../catalogue.ts";
import { representEvent, representLease } from "../representation.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { closed, eventResult, freeObject, nodeIdent } from "./schemas.ts";

/** The commands that tell what happened and how things stand. */
export function eventCommands(parts: ConductorParts, status: () => JsonObject): readonly Command[] {
  const { store, clock } = parts;
  return [
    command({
      name: "event.list",
      summary: "Events after a sequence number; waits for the next one when there is none",
      changes: false,
      params: Type.Object(
        {
          after: Type.Optional(Type.Integer({ minimum: 0 })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
          wait_s: Type.Optional(Type.Number({ minimum: 0, maximum: 60 })),
          node: Type.Optional(nodeIdent),
        },
        closed,
      ),
      result: Type.Object({ events: Type.Array(eventResult), last_seq: Type.Integer() }, closed),
      handle: async ({ after, limit, wait_s: wait, node }, context) => {
        const uuid = node === undefined ? undefined : findNode(store.nodes, node).uuid;
        const from = after ?? Math.max(0, store.history.lastSeq - (limit ?? 100));
        if (wait !== undefined && wait > 0 && store.history.lastSeq <= from)
          await waitFor(parts, from, millis(wait * 1000), context.signal);
        const entries = await store.history.read(from, limit ?? 100);
        const last = entries.at(-1)?.seq ?? Math.min(from, store.history.lastSeq);
        return {
          events: entries.filter((entry) => uuid === undefined || entry.node === uuid).map(representEvent),
          last_seq: last,
        };
      },
    }),
    command({
      name: "lease.list",
      summary: "Addresses that DHCP and DHCPv6 have given out",
      changes: false,
      params: Type.Object({}, closed),
      result: Type.Object({ leases: Type.Array(freeObject) }, closed),
      handle: async () => ({ leases: [...store.leases.list(), ...store.leases6.list()].map(representLease) }),
    }),
    command({
      name: "conductor.status",
      summary: "How the appliance is",
      changes: false,
      params: Type.Object({}, closed),
      result: freeObject,
      handle: async () => {
        const nodes = store.nodes.list();
        const byState: Record<string, number> = {};
        for (const node of nodes) byState[node.provisionState] = (byState[node.provisionState] ?? 0) + 1;
        return {
          ...status(),
          time: clock.wall().toISOString(),
          nodes: {
            total: nodes.length,
            by_state: byState,
            maintenance: nodes.filter((node) => node.maintenance).length,
          },
        };
      },
    }),
  ];
}

async function waitFor(parts: ConductorParts, after: number, wait: Millis, signal: AbortSignal): Promise<void> {
  using deadline = parts.clock.deadline(wait, signal);
  try {
    await parts.store.history.waitAfter(after, deadline.signal);
  } catch (error) {
    if (!isFault(error) || signal.aborted) throw error;
    // Nothing came in time: the answer is the empty list.
  }
}
