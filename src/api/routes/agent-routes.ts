import type { FastifyInstance } from "fastify";
import { isJsonObject, objectProperty, stringProperty, type JsonObject } from "../../core/json.ts";
import { apiError } from "../error-body.ts";
import { linksTo } from "../representation.ts";
import { baseOf, carryOut, type RouteParts, sendError } from "./route-parts.ts";

/** A heartbeat carries a certificate at most. */
const HEARTBEAT_LIMIT = 256 * 1024;
/** An inventory with logs and the collectors' data. @source IRONIC API: 16 MiB for inspection */
const INSPECTION_LIMIT = 16 * 1024 * 1024;

/** The three routes of the ramdisk's agent; open to everybody, as in Ironic: the agent token and the node's state guard them. */
export function agentRoutes(parts: RouteParts) {
  return async (app: FastifyInstance): Promise<void> => {
    app.get<{ Querystring: Record<string, unknown> }>("/v1/lookup", async (request, reply) => {
      const { addresses, node_uuid: uuid } = request.query;
      const words = (Array.isArray(addresses) ? addresses : [addresses]).filter((one) => typeof one === "string");
      const params = {
        addresses: words.flatMap((one) => one.split(",")).filter((one) => one !== ""),
        ...(typeof uuid === "string" ? { node_uuid: uuid } : {}),
      };
      return await carryOut(parts, reply, { method: "agent.lookup", params, role: "agent" }, (result) => {
        const node = isJsonObject(result) ? (objectProperty(result, "node") ?? {}) : {};
        const links = linksTo(baseOf(request), `nodes/${stringProperty(node, "uuid") ?? ""}`);
        return reply.send({ ...(isJsonObject(result) ? result : {}), node: { ...node, links } });
      });
    });

    app.post<{ Params: { node: string } }>(
      "/v1/heartbeat/:node",
      { bodyLimit: HEARTBEAT_LIMIT },
      async (request, reply) => {
        const body: unknown = request.body;
        if (!isJsonObject(body)) return sendError(reply, apiError(400, "The body must be a JSON object."));
        const params = { ...heartbeatFields(body), node: request.params.node };
        return await carryOut(parts, reply, { method: "agent.heartbeat", params, role: "agent" }, () =>
          reply.code(202).send(),
        );
      },
    );

    app.post("/v1/continue_inspection", { bodyLimit: INSPECTION_LIMIT }, async (request, reply) => {
      const command = { method: "agent.continue_inspection", params: request.body, role: "agent" as const };
      return await carryOut(parts, reply, command, (result) => reply.code(202).send(result));
    });
  };
}

const HEARTBEAT_FIELDS = [
  "callback_url",
  "agent_version",
  "agent_token",
  "agent_verify_ca",
  "agent_status",
  "agent_status_message",
] as const;

/** Agents newer than the API may say more; what is not known is passed over. */
function heartbeatFields(body: JsonObject): JsonObject {
  return Object.fromEntries(
    HEARTBEAT_FIELDS.filter((key) => Object.hasOwn(body, key)).map((key) => [key, body[key] ?? null]),
  );
}
