import { Type } from "typebox";
import { parseMacAddress, parsePortUuid } from "../../core/brand.ts";
import { instant } from "../../core/clock.ts";
import { Fault } from "../../core/fault.ts";
import { isJsonObject, type JsonObject, stringProperty } from "../../core/json.ts";
import { type Node, servedInterfaces } from "../../domain/node.ts";
import { provisionStates } from "../../domain/provision-state.ts";
import type { Transaction } from "../../domain/store.ts";
import { type Command, command } from "../catalogue.ts";
import { change, nodeOf, record } from "../node-changes.ts";
import { representEvent } from "../representation.ts";
import { taskOf } from "../task.ts";
import { newNode, patchNode } from "./node-fields.ts";
import { type ConductorParts, findNode, showNode } from "./parts.ts";
import { closed, eventResult, freeObject, nodeIdent, nodeResult } from "./schemas.ts";

const interfaceFields = Object.fromEntries(
  servedInterfaces.map((name) => [`${name}_interface`, Type.Optional(Type.Union([Type.String(), Type.Null()]))]),
);

const bootMode = Type.Union([Type.Literal("bios"), Type.Literal("uefi"), Type.Null()]);

const createParams = Type.Object(
  {
    driver: Type.String({ minLength: 1, description: "hardware type, e.g. ipmi" }),
    name: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    uuid: Type.Optional(Type.String()),
    description: Type.Optional(Type.Union([Type.String({ maxLength: 4096 }), Type.Null()])),
    driver_info: Type.Optional(freeObject),
    properties: Type.Optional(freeObject),
    extra: Type.Optional(freeObject),
    instance_info: Type.Optional(freeObject),
    resource_class: Type.Optional(Type.Union([Type.String({ maxLength: 80 }), Type.Null()])),
    boot_mode: Type.Optional(bootMode),
    automated_clean: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    ports: Type.Optional(
      Type.Array(
        Type.Object(
          { address: Type.String({ description: "MAC address" }), pxe_enabled: Type.Optional(Type.Boolean()) },
          closed,
        ),
        { description: "NICs that are known already; inspection finds the others" },
      ),
    ),
    ...interfaceFields,
  },
  closed,
);

/** The commands that read, enroll, change and remove nodes. */
export function nodeCommands(parts: ConductorParts): readonly Command[] {
  const { store, clock, random, drivers, locks } = parts;
  return [
    command({
      name: "node.create",
      summary: "Enroll a machine",
      changes: true,
      params: createParams,
      result: nodeResult,
      handle: async (params, context) => {
        const fields = params as JsonObject & typeof params;
        const node = newNode(fields, { uuid: params.uuid ?? random.uuid(), at: instant(clock) });
        drivers.interfacesOf(node);
        return await context.commit((tx) => {
          if (tx.nodes.get(node.uuid) !== undefined) throw duplicate("uuid", node.uuid);
          requireFreeName(tx, node);
          tx.nodes.put(node);
          record(tx, node, "node.created", { driver: node.driver });
          for (const [index, port] of (params.ports ?? []).entries()) {
            const address = parseMacAddress(port.address, `ports.${index}.address`);
            if (tx.ports.byAddress(address) !== undefined) throw duplicate(`ports.${index}.address`, address);
            const at = node.createdAt;
            tx.ports.put({
              uuid: parsePortUuid(random.uuid()),
              nodeUuid: node.uuid,
              address,
              pxeEnabled: port.pxe_enabled ?? true,
              localLinkConnection: {},
              physicalNetwork: null,
              extra: {},
              createdAt: at,
              updatedAt: at,
            });
          }
          return showNode(parts, node);
        });
      },
    }),
    command({
      name: "node.list",
      summary: "All nodes",
      changes: false,
      params: Type.Object(
        {
          provision_state: Type.Optional(Type.String()),
          driver: Type.Optional(Type.String()),
          maintenance: Type.Optional(Type.Boolean()),
        },
        closed,
      ),
      result: Type.Object({ nodes: Type.Array(nodeResult) }, closed),
      handle: async ({ provision_state: state, driver, maintenance }) => ({
        nodes: store.nodes
          .list()
          .filter(
            (node) =>
              (state === undefined || node.provisionState === state) &&
              (driver === undefined || node.driver === driver) &&
              (maintenance === undefined || node.maintenance === maintenance),
          )
          .map((node) => showNode(parts, node)),
      }),
    }),
    command({
      name: "node.show",
      summary: "One node",
      changes: false,
      params: Type.Object({ node: nodeIdent }, closed),
      result: nodeResult,
      handle: async ({ node }) => showNode(parts, findNode(store.nodes, node)),
    }),
    command({
      name: "node.update",
      summary: "Change fields of a node by JSON patch (RFC 6902)",
      changes: true,
      params: Type.Object({ node: nodeIdent, patch: Type.Array(freeObject, { minItems: 1 }) }, closed),
      result: nodeResult,
      handle: async ({ node: ident, patch }, context) => {
        const { uuid } = findNode(store.nodes, ident);
        using _lock = await locks.acquire(uuid, "update", parts.settings.lockWait);
        return await context.commit((tx) => {
          const node = nodeOf(tx, uuid);
          requireUpdatable(node);
          const patched = patchNode(node, patch as readonly JsonObject[]);
          drivers.interfacesOf(patched);
          requireFreeName(tx, patched);
          const changed = change(tx, clock, node, patched);
          record(tx, changed, "node.updated", {
            fields: [...new Set(patch.map((one) => stringProperty(one, "path")?.split("/")[1] ?? ""))],
          });
          return showNode(parts, changed);
        });
      },
    }),
    command({
      name: "node.delete",
      summary: "Remove a node and its ports",
      changes: true,
      params: Type.Object({ node: nodeIdent }, closed),
      result: Type.Null(),
      handle: async ({ node: ident }, context) => {
        const { uuid } = findNode(store.nodes, ident);
        using _lock = await locks.acquire(uuid, "delete", parts.settings.lockWait);
        return await context.commit((tx) => {
          const node = nodeOf(tx, uuid);
          requireRemovable(node);
          for (const port of tx.ports.ofNode(uuid)) tx.ports.delete(port.uuid);
          tx.inventory.delete(uuid);
          tx.nodes.delete(uuid);
          record(tx, node, "node.deleted", {});
          return null;
        });
      },
    }),
    command({
      name: "node.set_maintenance",
      summary: "Take a node out of automatic work, or back",
      changes: true,
      params: Type.Object(
        {
          node: nodeIdent,
          maintenance: Type.Boolean(),
          reason: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        },
        closed,
      ),
      result: nodeResult,
      handle: async ({ node: ident, maintenance, reason }, context) => {
        const { uuid } = findNode(store.nodes, ident);
        return await context.commit((tx) => {
          const fields = maintenance
            ? { maintenance, maintenanceReason: reason ?? null }
            : { maintenance, maintenanceReason: null, fault: null };
          const changed = change(tx, clock, nodeOf(tx, uuid), fields);
          record(tx, changed, "node.maintenance", { maintenance, reason: reason ?? null });
          return showNode(parts, changed);
        });
      },
    }),
    command({
      name: "node.validate",
      summary: "Check a node's settings per interface, without touching the machine",
      changes: false,
      params: Type.Object({ node: nodeIdent }, closed),
      result: Type.Record(
        Type.String(),
        Type.Object({ result: Type.Boolean(), reason: Type.Union([Type.String(), Type.Null()]) }, closed),
      ),
      handle: async ({ node: ident }) => {
        const node = findNode(store.nodes, ident);
        const task = taskOf(store, node);
        const interfaces = drivers.interfacesOf(node);
        const attempt = (check: () => void): { result: boolean; reason: string | null } => {
          try {
            check();
            return { result: true, reason: null };
          } catch (error) {
            if (error instanceof Fault) return { result: false, reason: error.message };
            throw error;
          }
        };
        return {
          power: attempt(() => interfaces.power.validate(task)),
          management: attempt(() => interfaces.management.validate(task)),
          boot: attempt(() => interfaces.boot.validate(task)),
          inspect: attempt(() => interfaces.inspect.validate(task, "inspect")),
          deploy: attempt(() => interfaces.deploy.validate(task, "deploy")),
          storage: attempt(() => interfaces.storage.validate(task)),
        };
      },
    }),
    command({
      name: "node.inventory",
      summary: "What the last inspection found",
      changes: false,
      params: Type.Object({ node: nodeIdent }, closed),
      result: Type.Object({ inventory: freeObject, plugin_data: freeObject }, closed),
      handle: async ({ node: ident }) => {
        const node = findNode(store.nodes, ident);
        const body = await store.inventory.get(node.uuid);
        if (body === undefined)
          throw new Fault("not-found", "inventory.absent", `node "${ident}" has not been inspected`);
        const { inventory, ...pluginData } = body;
        return { inventory: isJsonObject(inventory) ? inventory : {}, plugin_data: pluginData };
      },
    }),
    command({
      name: "node.history",
      summary: "What happened to a node, oldest first",
      changes: false,
      params: Type.Object(
        { node: nodeIdent, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })) },
        closed,
      ),
      result: Type.Object({ history: Type.Array(eventResult) }, closed),
      handle: async ({ node: ident, limit }) => {
        const { uuid } = findNode(store.nodes, ident);
        const found: JsonObject[] = [];
        for (let after = 0; ; ) {
          const entries = await store.history.read(after, 1000);
          const last = entries.at(-1);
          if (last === undefined) break;
          found.push(
            ...entries
              .filter((entry) => entry.node === uuid && entry.type !== "node.step.progress")
              .map(representEvent),
          );
          after = last.seq;
        }
        return { history: found.slice(-(limit ?? 300)) };
      },
    }),
  ];
}

function requireUpdatable(node: Node): void {
  if (node.targetProvisionState !== null && !provisionStates[node.provisionState].update && !node.maintenance) {
    throw new Fault(
      "conflict",
      "node.in-transition",
      `the node is "${node.provisionState}" on the way to "${node.targetProvisionState}"; it can be changed when that is done`,
      { retry: "later" },
    );
  }
}

function requireRemovable(node: Node): void {
  if (node.protected) throw new Fault("conflict", "node.protected", "the node is protected; clear `protected` first");
  if (!provisionStates[node.provisionState].remove && !node.maintenance) {
    throw new Fault(
      "conflict",
      "node.state",
      `a node that is "${node.provisionState}" cannot be removed; undeploy it, or set maintenance`,
    );
  }
}

function requireFreeName(tx: Transaction, node: Node): void {
  const other = node.name === null ? undefined : tx.nodes.byName(node.name);
  if (other !== undefined && other.uuid !== node.uuid) throw duplicate("name", node.name ?? "");
}

export function duplicate(field: string, value: string): Fault {
  return new Fault("conflict", "duplicate", `${field}: "${value}" is taken`, { detail: { field } });
}
