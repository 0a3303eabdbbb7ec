import { Type } from "typebox";
import { isUuid, type PortUuid, parseMacAddress, parsePortUuid } from "../../core/brand.ts";
import { instant } from "../../core/clock.ts";
import { Fault } from "../../core/fault.ts";
import type { Port } from "../../domain/node.ts";
import type { PortReader } from "../../domain/store.ts";
import { type Command, command } from "../catalogue.ts";
import { nodeOf, record } from "../node-changes.ts";
import { representPort } from "../representation.ts";
import { duplicate } from "./node-commands.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { closed, freeObject, nodeIdent, portResult } from "./schemas.ts";

/** The commands about NICs. */
export function portCommands(parts: ConductorParts): readonly Command[] {
  const { store, clock, random } = parts;
  return [
    command({
      name: "port.create",
      summary: "Tell ironrack a NIC of a node",
      changes: true,
      params: Type.Object(
        {
          node: nodeIdent,
          address: Type.String({ description: "MAC address" }),
          pxe_enabled: Type.Optional(Type.Boolean()),
          extra: Type.Optional(freeObject),
        },
        closed,
      ),
      result: portResult,
      handle: async ({ node: ident, address, pxe_enabled: pxeEnabled, extra }, context) => {
        const { uuid: nodeUuid } = findNode(store.nodes, ident);
        const mac = parseMacAddress(address);
        const at = instant(clock);
        const port: Port = {
          uuid: parsePortUuid(random.uuid()),
          nodeUuid,
          address: mac,
          pxeEnabled: pxeEnabled ?? true,
          localLinkConnection: {},
          physicalNetwork: null,
          extra: extra ?? {},
          createdAt: at,
          updatedAt: at,
        };
        return await context.commit((tx) => {
          const node = nodeOf(tx, nodeUuid);
          if (tx.ports.byAddress(mac) !== undefined) throw duplicate("address", mac);
          tx.ports.put(port);
          record(tx, node, "port.created", { port: port.uuid, address: mac, pxe_enabled: port.pxeEnabled });
          return representPort(port);
        });
      },
    }),
    command({
      name: "port.list",
      summary: "All ports, or those of a node",
      changes: false,
      params: Type.Object({ node: Type.Optional(nodeIdent), address: Type.Optional(Type.String()) }, closed),
      result: Type.Object({ ports: Type.Array(portResult) }, closed),
      handle: async ({ node, address }) => {
        const ports = node === undefined ? store.ports.list() : store.ports.ofNode(findNode(store.nodes, node).uuid);
        const mac = address === undefined ? undefined : parseMacAddress(address);
        return { ports: ports.filter((port) => mac === undefined || port.address === mac).map(representPort) };
      },
    }),
    command({
      name: "port.show",
      summary: "One port",
      changes: false,
      params: Type.Object({ port: Type.String({ description: "UUID or MAC address" }) }, closed),
      result: portResult,
      handle: async ({ port }) => representPort(findPort(store.ports, port)),
    }),
    command({
      name: "port.delete",
      summary: "Forget a NIC",
      changes: true,
      params: Type.Object({ port: Type.String({ description: "UUID or MAC address" }) }, closed),
      result: Type.Null(),
      handle: async ({ port: ident }, context) => {
        const port = findPort(store.ports, ident);
        return await context.commit((tx) => {
          tx.ports.delete(port.uuid);
          record(tx, nodeOf(tx, port.nodeUuid), "port.deleted", { port: port.uuid, address: port.address });
          return null;
        });
      },
    }),
  ];
}

function findPort(ports: PortReader, ident: string): Port {
  const port = isUuid(ident)
    ? ports.get(ident.toLowerCase() as PortUuid)
    : ports.byAddress(parseMacAddress(ident, "port"));
  if (port === undefined) throw new Fault("not-found", "port.not-found", `port "${ident}" could not be found`);
  return port;
}
