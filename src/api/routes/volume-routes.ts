import type { FastifyInstance } from "fastify";
import { isJsonObject, type JsonObject } from "../../core/json.ts";
import { apiError, routingError } from "../error-body.ts";
import { linksTo, restVolume, shortVolume } from "../representation.ts";
import { baseOf, carryOut, listed, minorOf, type RouteParts, sendError } from "./route-parts.ts";

/** The microversion in which volumes appeared. */
const SINCE = 32;
const KINDS = ["connectors", "targets"] as const;

/** Volume connectors and targets, to read. @source IRONIC API, 1.32 */
export function volumeRoutes(parts: RouteParts) {
  return async (app: FastifyInstance): Promise<void> => {
    app.addHook("onRequest", async (request, reply) => {
      if (minorOf(request) >= SINCE) return undefined;
      return await sendError(reply, routingError(404, "Not Found", "The resource could not be found."));
    });
    app.get("/v1/volume", async (request) => {
      const base = baseOf(request);
      return {
        links: linksTo(base, "volume/"),
        ...Object.fromEntries(KINDS.map((kind) => [kind, linksTo(base, `volume/${kind}/`)])),
      };
    });
    for (const kind of KINDS) {
      const noun = kind === "connectors" ? "volume_connector" : "volume_target";
      app.get<{ Querystring: Record<string, unknown> }>(`/v1/volume/${kind}`, async (request, reply) => {
        const { node, detail, ...unknown } = request.query;
        const [extra] = Object.keys(unknown);
        if (extra !== undefined) return sendError(reply, apiError(400, `Unexpected arguments: ${extra}`));
        const show = detail === "True" || detail === "true" ? restVolume : shortVolume;
        const params = typeof node === "string" ? { node } : {};
        return await carryOut(parts, reply, { method: `${noun}.list`, params, role: "operator" }, (result) =>
          reply.send({ [kind]: listed(result, kind).map((one) => show(one, kind, baseOf(request))) }),
        );
      });
      app.get<{ Params: { uuid: string } }>(`/v1/volume/${kind}/:uuid`, async (request, reply) => {
        const command = { method: `${noun}.show`, params: { [noun]: request.params.uuid }, role: "operator" as const };
        return await carryOut(parts, reply, command, (result) => {
          const volume: JsonObject = isJsonObject(result) ? result : {};
          return reply.send(restVolume(volume, kind, baseOf(request)));
        });
      });
    }
  };
}
