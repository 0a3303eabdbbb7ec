import { timingSafeEqual } from "node:crypto";
import { Type } from "typebox";
import { isUuid, type MacAddress, type NodeUuid, parseMacAddress } from "../../core/brand.ts";
import { instant } from "../../core/clock.ts";
import { Fault, invalid, isFault } from "../../core/fault.ts";
import { isJsonObject, type Json, type JsonObject, objectProperty, property, stringProperty } from "../../core/json.ts";
import { HIDDEN } from "../../core/secret.ts";
import type { AgentRecord, Node } from "../../domain/node.ts";
import { provisionStates } from "../../domain/provision-state.ts";
import type { Store } from "../../domain/store.ts";
import { type Command, command } from "../catalogue.ts";
import { change, nodeOf } from "../node-changes.ts";
import type { ConductorParts } from "./parts.ts";
import { closed, freeObject } from "./schemas.ts";

/** The three calls of the ramdisk's agent. @source ironic-python-agent; IRONIC API lookup, heartbeat, continue_inspection */
export function agentCommands(parts: ConductorParts): readonly Command[] {
  const { store, clock, random, log, settings } = parts;
  return [
    command({
      name: "agent.lookup",
      summary: "Which node a ramdisk runs on, and the token that it must show from now on",
      role: "agent",
      changes: true,
      params: Type.Object(
        { addresses: Type.Optional(Type.Array(Type.String())), node_uuid: Type.Optional(Type.String()) },
        closed,
      ),
      result: Type.Object({ node: freeObject, config: freeObject }, closed),
      handle: async ({ addresses, node_uuid: uuid }, context) => {
        if ((addresses === undefined || addresses.length === 0) && uuid === undefined)
          throw invalid("addresses", "addresses or node_uuid must be given");
        const found = lookedUp(store, (addresses ?? []).flatMap(macs), uuid);
        if (found === undefined || !mayLookUp(parts, found)) {
          log.info("agent.refused", {
            reason: found === undefined ? "unknown machine" : `node is ${found.provisionState}`,
            node: found?.uuid,
            mac: addresses?.join(","),
          });
          // The same answer for both, so that nobody can ask which machines there are.
          throw new Fault("not-found", "lookup.not-found", "no node with these addresses waits for a ramdisk");
        }
        return await context.commit((tx) => {
          const node = nodeOf(tx, found.uuid);
          const fresh = node.agent === null ? random.token(32) : null;
          const agent: AgentRecord = node.agent ?? {
            token: fresh ?? "",
            callbackUrl: null,
            verifyCa: null,
            version: null,
            lastHeartbeat: null,
          };
          if (fresh !== null) change(tx, clock, node, { agent });
          log.info("agent.lookup", {
            node: node.uuid,
            reason: fresh === null ? "the token was given out before" : "a new token",
          });
          return {
            node: {
              uuid: node.uuid,
              properties: node.properties,
              instance_info: {},
              driver_internal_info: {},
              links: [],
            },
            config: {
              metrics: {
                backend: "noop",
                prepend_host: false,
                prepend_uuid: false,
                prepend_host_reverse: true,
                global_prefix: null,
              },
              metrics_statsd: { statsd_host: "localhost", statsd_port: 8125 },
              heartbeat_timeout: settings.heartbeatTimeout / 1000,
              agent_token: fresh ?? HIDDEN,
              agent_token_required: true,
              disable_deep_image_inspection: false,
              permitted_image_formats: ["raw", "qcow2"],
              agent_md5_checksum_enable: false,
            },
          };
        });
      },
    }),
    command({
      name: "agent.heartbeat",
      summary: "An agent says that it lives and where it listens",
      role: "agent",
      changes: true,
      params: Type.Object(
        {
          node: Type.String(),
          callback_url: Type.String({ minLength: 1 }),
          agent_version: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          agent_token: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          agent_verify_ca: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          agent_status: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          agent_status_message: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        },
        closed,
      ),
      result: Type.Null(),
      handle: async (params, context) => {
        const node = isUuid(params.node) ? store.nodes.get(params.node.toLowerCase() as NodeUuid) : undefined;
        if (node === undefined) throw new Fault("not-found", "node.not-found", "no such node");
        requireToken(node, params.agent_token);
        requireCallback(node, params.callback_url);
        const first = node.agent?.callbackUrl == null;
        await context.commit(
          (tx) => {
            const now = nodeOf(tx, node.uuid);
            if (now.agent === null) return null;
            change(tx, clock, now, {
              agent: {
                ...now.agent,
                callbackUrl: params.callback_url,
                verifyCa: params.agent_verify_ca ?? now.agent.verifyCa,
                version: params.agent_version ?? now.agent.version,
                lastHeartbeat: instant(clock),
              },
            });
            return null;
          },
          { durable: first },
        );
        log[first ? "info" : "debug"]("agent.heartbeat", { node: node.uuid, peer: params.callback_url });
        goOn(parts, node.uuid, "heartbeat");
        return null;
      },
    }),
    command({
      name: "agent.continue_inspection",
      summary: "What a ramdisk found in its machine",
      role: "agent",
      changes: true,
      params: Type.Object(
        {
          inventory: Type.Object(
            { interfaces: Type.Array(freeObject, { minItems: 1 }) },
            { additionalProperties: true },
          ),
        },
        { additionalProperties: true },
      ),
      result: Type.Object({ uuid: Type.String() }, closed),
      handle: async (body, context) => {
        const addresses = interfaceMacs(body as JsonObject);
        const waiting = inspectedNode(store, addresses, stringProperty(body as JsonObject, "node_uuid"));
        if (waiting === undefined) {
          log.info("agent.refused", { reason: "no node waits for this inspection", mac: addresses.join(",") });
          throw new Fault("not-found", "inspection.not-found", "no node with these interfaces waits for inspection");
        }
        const result = await context.commit((tx) => {
          tx.inventory.put(waiting.uuid, body as JsonObject);
          return { uuid: waiting.uuid as string };
        });
        goOn(parts, waiting.uuid, "inspection");
        return result;
      },
    }),
  ];
}

/** The operation goes on in the background: the agent has its answer. */
function goOn(parts: ConductorParts, uuid: NodeUuid, reason: "heartbeat" | "inspection"): void {
  const node = parts.store.nodes.get(uuid);
  if (node?.operation?.progress.kind !== "waiting" || node.maintenance) return;
  parts.runner.resume(uuid, reason).catch((error: unknown) => {
    if (!isFault(error)) parts.log.error("daemon.bug", { node: uuid }, error);
  });
}

function mayLookUp(parts: ConductorParts, node: Node): boolean {
  if (provisionStates[node.provisionState].lookup) return true;
  return parts.settings.fastTrack && node.bootTarget === "ramdisk";
}

function lookedUp(store: Store, addresses: readonly MacAddress[], uuid: string | undefined): Node | undefined {
  if (uuid !== undefined) return isUuid(uuid) ? store.nodes.get(uuid.toLowerCase() as NodeUuid) : undefined;
  for (const address of addresses) {
    const port = store.ports.byAddress(address);
    if (port !== undefined) return store.nodes.get(port.nodeUuid);
  }
  return undefined;
}

/** Agents send what their kernel shows, InfiniBand and the like too: what is no MAC address is passed over. */
function macs(text: string): readonly MacAddress[] {
  try {
    return [parseMacAddress(text)];
  } catch {
    return [];
  }
}

function interfaceMacs(body: JsonObject): readonly MacAddress[] {
  const list = property(objectProperty(body, "inventory") ?? {}, "interfaces");
  const interfaces = Array.isArray(list) ? (list as readonly Json[]).filter(isJsonObject) : [];
  return interfaces.flatMap((one) => macs(stringProperty(one, "mac_address") ?? ""));
}

function inspectedNode(store: Store, addresses: readonly MacAddress[], uuid: string | undefined): Node | undefined {
  const node = lookedUp(store, addresses, uuid);
  return node?.provisionState === "inspect wait" ? node : undefined;
}

/** Constant time; 400 in REST as in Ironic. */
function requireToken(node: Node, shown: string | null | undefined): void {
  const expected = Buffer.from(node.agent?.token ?? "");
  const given = Buffer.from(shown ?? "");
  if (expected.length === 0 || expected.length !== given.length || !timingSafeEqual(expected, given)) {
    throw invalid("agent_token", "is not the token that lookup gave out; look up again");
  }
}

function requireCallback(node: Node, url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || (parsed.protocol !== "https:" && parsed.protocol !== "http:"))
    throw invalid("callback_url", "is not an http(s) URL");
  const known = node.agent?.callbackUrl ?? null;
  if (known !== null && known !== url)
    throw invalid("callback_url", "differs from the one that this agent reported first");
}
