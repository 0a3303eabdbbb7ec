import type { FastifyInstance } from "fastify";
import { isJsonObject } from "../../core/json.ts";
import { apiError } from "../error-body.ts";
import { restNode, restPort, shortNode } from "../representation.ts";
import { baseOf, carryOut, listed, minorOf, type RouteParts, sendError } from "./route-parts.ts";

/** The nodes and ports, to read. */
export function readRoutes(parts: RouteParts) {
  return async (app: FastifyInstance): Promise<void> => {
    const nodes = (detailed: boolean) =>
      app.get<{ Querystring: Record<string, unknown> }>(
        detailed ? "/v1/nodes/detail" : "/v1/nodes",
        async (request, reply) => {
          const { detail, provision_state: state, driver, maintenance, ...unknown } = request.query;
          const [extra] = Object.keys(unknown);
          if (extra !== undefined) return sendError(reply, apiError(400, `Unexpected arguments: ${extra}`));
          const show = detailed || detail === "True" || detail === "true" ? restNode : shortNode;
          const params = {
            ...(typeof state === "string" ? { provision_state: state } : {}),
            ...(typeof driver === "string" ? { driver } : {}),
            ...(typeof maintenance === "string" ? { maintenance: /^(1|t|true|y|yes|on)$/i.test(maintenance) } : {}),
          };
          return await carryOut(parts, reply, { method: "node.list", params, role: "operator" }, (result) =>
            reply.send({ nodes: listed(result, "nodes").map((node) => show(node, minorOf(request), baseOf(request))) }),
          );
        },
      );
    nodes(false);
    nodes(true);

    app.get<{ Params: { node: string } }>(
      "/v1/nodes/:node",
      async (request, reply) =>
        await carryOut(
          parts,
          reply,
          { method: "node.show", params: { node: request.params.node }, role: "operator" },
          (result) => reply.send(restNode(isJsonObject(result) ? result : {}, minorOf(request), baseOf(request))),
        ),
    );

    app.get<{ Querystring: Record<string, unknown> }>("/v1/ports", async (request, reply) => {
      const { node, node_uuid: uuid, address, detail: _detail, ...unknown } = request.query;
      const [extra] = Object.keys(unknown);
      if (extra !== undefined) return sendError(reply, apiError(400, `Unexpected arguments: ${extra}`));
      const owner = node ?? uuid;
      const params = {
        ...(typeof owner === "string" ? { node: owner } : {}),
        ...(typeof address === "string" ? { address } : {}),
      };
      return await carryOut(parts, reply, { method: "port.list", params, role: "operator" }, (result) =>
        reply.send({ ports: listed(result, "ports").map((port) => restPort(port, minorOf(request), baseOf(request))) }),
      );
    });

    app.get<{ Params: { port: string } }>(
      "/v1/ports/:port",
      async (request, reply) =>
        await carryOut(
          parts,
          reply,
          { method: "port.show", params: { port: request.params.port }, role: "operator" },
          (result) => reply.send(restPort(isJsonObject(result) ? result : {}, minorOf(request), baseOf(request))),
        ),
    );
  };
}
