import type { FastifyInstance } from "fastify";
import type { JsonObject } from "../../core/json.ts";
import { MAXIMUM, MINIMUM, versionText } from "../microversion.ts";
import { linksTo } from "../representation.ts";
import { baseOf, minorOf } from "./route-parts.ts";

/** The resources that there are routes for, and since which version they exist. */
const RESOURCES: readonly { readonly name: string; readonly since: number }[] = [
  { name: "nodes", since: 1 },
  { name: "ports", since: 1 },
  { name: "lookup", since: 22 },
  { name: "heartbeat", since: 22 },
  { name: "volume", since: 32 },
];

/** GET / and GET /v1, by which clients find out what there is. */
export async function rootRoutes(app: FastifyInstance): Promise<void> {
  app.get("/", async (request) => {
    const version = versionDocument(baseOf(request));
    return {
      name: "OpenStack Ironic API",
      description: "ironrack: the Ironic API of one rack",
      default_version: version,
      versions: [version],
    };
  });
  app.get("/v1", async (request) => {
    const base = baseOf(request);
    const shown = RESOURCES.filter(({ since }) => minorOf(request) >= since);
    return {
      id: "v1",
      links: [{ href: `${base}/v1/`, rel: "self" }],
      media_types: { base: "application/json", type: "application/vnd.openstack.ironic.v1+json" },
      version: versionDocument(base),
      ...Object.fromEntries(shown.map(({ name }) => [name, linksTo(base, `${name}/`)])),
    };
  });
}

function versionDocument(base: string): JsonObject {
  return {
    id: "v1",
    links: [{ href: `${base}/v1/`, rel: "self" }],
    status: "CURRENT",
    min_version: versionText(MINIMUM),
    version: versionText(MAXIMUM),
  };
}
