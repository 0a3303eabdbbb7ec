import { type TSchema, Type } from "typebox";
import { parseMacAddress, parseVolumeUuid, type VolumeUuid } from "../../core/brand.ts";
import { instant } from "../../core/clock.ts";
import { Fault, invalid } from "../../core/fault.ts";
import type { Transaction, VolumeReader } from "../../domain/store.ts";
import {
  connectorTypes,
  isIscsiName,
  iscsiVolume,
  type Volume,
  type VolumeConnector,
  type VolumeTarget,
} from "../../domain/volume.ts";
import { type Command, command } from "../catalogue.ts";
import { nodeOf, record } from "../node-changes.ts";
import { representVolume } from "../representation.ts";
import { unmasked } from "./node-fields.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { closed, freeObject, nodeIdent, oneOf, volumeConnectorResult, volumeTargetResult } from "./schemas.ts";

const uuidParam = Type.String({ minLength: 1, description: "UUID" });

/** The commands about disks of storage systems, and the names under which machines log in to them. */
export function volumeCommands(parts: ConductorParts): readonly Command[] {
  return [...connectorCommands(parts), ...targetCommands(parts)];
}

function connectorCommands(parts: ConductorParts): readonly Command[] {
  return [
    command({
      name: "volume_connector.create",
      summary: "Tell under which name a node logs in to storage systems",
      changes: true,
      params: Type.Object(
        {
          node: nodeIdent,
          type: oneOf(connectorTypes),
          connector_id: Type.String({ minLength: 1, maxLength: 255, description: "with iqn: the initiator's name" }),
          uuid: Type.Optional(uuidParam),
          extra: Type.Optional(freeObject),
        },
        closed,
      ),
      result: volumeConnectorResult,
      handle: async ({ node, type, connector_id: id, uuid, extra }, context) => {
        if (type === "iqn" && !isIscsiName(id)) throw invalid("connector_id", `"${id}" is not an iSCSI name`);
        const connectorId = type === "mac" ? parseMacAddress(id, "connector_id") : id;
        const head = newVolume(parts, node, uuid, extra);
        const connector: VolumeConnector = { ...head, kind: "connector", type, connectorId };
        return await context.commit((tx) => {
          const data = { type, connector_id: connectorId };
          return create(tx, connector, data);
        });
      },
    }),
    ...keptCommands(parts, "connector", volumeConnectorResult),
  ];
}

function targetCommands(parts: ConductorParts): readonly Command[] {
  return [
    command({
      name: "volume_target.create",
      summary: "Tell a disk of a storage system that is for a node; from the one with boot_index 0 it boots",
      changes: true,
      params: Type.Object(
        {
          node: nodeIdent,
          volume_type: Type.String({ minLength: 1, maxLength: 64, description: "iscsi; others are only kept" }),
          boot_index: Type.Integer({ minimum: -1, maximum: 126, description: "0: boots; -1: not for booting" }),
          volume_id: Type.String({ minLength: 1, maxLength: 255, description: "the storage system's name of it" }),
          properties: Type.Optional(
            Type.Unsafe<Record<string, never>>({
              ...freeObject,
              description:
                "with iscsi: target_portal HOST:PORT, target_iqn, target_lun, and for CHAP auth_method, auth_username, auth_password, auth_reverse_username, auth_reverse_password",
            }),
          ),
          uuid: Type.Optional(uuidParam),
          extra: Type.Optional(freeObject),
        },
        closed,
      ),
      result: volumeTargetResult,
      handle: async (params, context) => {
        const { node, volume_type: volumeType, boot_index: bootIndex, volume_id: volumeId, uuid, extra } = params;
        const properties = unmasked({ properties: params.properties ?? {} }, "properties");
        const head = newVolume(parts, node, uuid, extra);
        const target: VolumeTarget = { ...head, kind: "target", volumeType, bootIndex, volumeId, properties };
        const disk = volumeType === "iscsi" ? iscsiVolume(target) : undefined;
        if (disk !== undefined && "reason" in disk) throw invalid(disk.field, disk.reason);
        return await context.commit((tx) =>
          create(tx, target, { volume_type: volumeType, boot_index: bootIndex, volume_id: volumeId }),
        );
      },
    }),
    ...keptCommands(parts, "target", volumeTargetResult),
  ];
}

/** list, show, delete: the same for both. */
function keptCommands(parts: ConductorParts, kind: Volume["kind"], result: TSchema): readonly Command[] {
  const { store } = parts;
  const noun = `volume_${kind}`;
  const params = Type.Object({ [noun]: uuidParam }, closed);
  return [
    command({
      name: `${noun}.list`,
      summary: `All volume ${kind}s, or those of a node`,
      changes: false,
      params: Type.Object({ node: Type.Optional(nodeIdent) }, closed),
      result: Type.Object({ [`${kind}s`]: Type.Array(result) }, closed),
      handle: async ({ node }) => ({ [`${kind}s`]: listed(parts, kind, node).map(representVolume) }),
    }),
    command({
      name: `${noun}.show`,
      summary: `One volume ${kind}`,
      changes: false,
      params,
      result,
      handle: async ({ [noun]: uuid = "" }) => representVolume(find(store.volumes, kind, uuid)),
    }),
    command({
      name: `${noun}.delete`,
      summary: `Forget a volume ${kind}; the node must be off`,
      changes: true,
      params,
      result: Type.Null(),
      handle: async ({ [noun]: uuid = "" }, context) =>
        await context.commit((tx) => remove(tx, find(tx.volumes, kind, uuid))),
    }),
  ];
}

function newVolume(
  { store, clock, random }: ConductorParts,
  node: string,
  uuid: string | undefined,
  extra: Volume["extra"] | undefined,
): Pick<Volume, "uuid" | "nodeUuid" | "extra" | "createdAt" | "updatedAt"> {
  const at = instant(clock);
  return {
    uuid: parseVolumeUuid(uuid ?? random.uuid()),
    nodeUuid: findNode(store.nodes, node).uuid,
    extra: extra ?? {},
    createdAt: at,
    updatedAt: at,
  };
}

/** Two of one identity are a conflict of the store's. */
function create(
  tx: Transaction,
  volume: Volume,
  data: Parameters<typeof record>[3],
): ReturnType<typeof representVolume> {
  const node = nodeOf(tx, volume.nodeUuid);
  if (tx.volumes.get(volume.uuid) !== undefined) {
    throw new Fault("conflict", "volume.duplicate", `a volume with uuid ${volume.uuid} exists already`, {
      detail: { field: "uuid" },
    });
  }
  tx.volumes.put(volume);
  record(tx, node, "volume.created", { volume: volume.uuid, kind: volume.kind, ...data });
  return representVolume(volume);
}

/** @source Ironic: volume connectors and targets are changed and removed while the node is off only */
function remove(tx: Transaction, volume: Volume): null {
  const node = nodeOf(tx, volume.nodeUuid);
  if (node.powerState !== "power off") {
    throw invalid(
      `volume_${volume.kind}`,
      `its node ${node.name ?? node.uuid} is not known to be off (${node.powerState ?? "power unknown"}); power it off first`,
    );
  }
  tx.volumes.delete(volume.uuid);
  record(tx, node, "volume.deleted", { volume: volume.uuid, kind: volume.kind });
  return null;
}

function listed({ store }: ConductorParts, kind: Volume["kind"], node: string | undefined): readonly Volume[] {
  const volumes = node === undefined ? store.volumes.list() : store.volumes.ofNode(findNode(store.nodes, node).uuid);
  return volumes.filter((volume) => volume.kind === kind);
}

function find(volumes: Pick<VolumeReader, "get">, kind: Volume["kind"], ident: string): Volume {
  const uuid: VolumeUuid = parseVolumeUuid(ident, `volume_${kind}`);
  const volume = volumes.get(uuid);
  if (volume?.kind !== kind)
    throw new Fault("not-found", `volume_${kind}.not-found`, `volume ${kind} ${uuid} could not be found`);
  return volume;
}
