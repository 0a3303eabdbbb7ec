import type { NodeUuid, VolumeUuid } from "../core/brand.ts";
import { type JsonObject, numberProperty, stringProperty } from "../core/json.ts";
import type { Node } from "./node.ts";

/** What may name a machine to a storage system. @source Ironic volume connector */
export const connectorTypes = ["iqn", "ip", "mac", "wwnn", "wwpn", "port", "portgroup"] as const;
export type ConnectorType = (typeof connectorTypes)[number];

interface VolumeRecord {
  readonly uuid: VolumeUuid;
  readonly nodeUuid: NodeUuid;
  readonly extra: JsonObject;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** By what name the node is known to a storage system. */
export interface VolumeConnector extends VolumeRecord {
  readonly kind: "connector";
  readonly type: ConnectorType;
  readonly connectorId: string;
}

/** A disk of a storage system that is for the node; of those with the index 0 it boots. @source Ironic volume target */
export interface VolumeTarget extends VolumeRecord {
  readonly kind: "target";
  /** `iscsi`; others are kept for whoever asks, and not booted. */
  readonly volumeType: string;
  readonly bootIndex: number;
  /** The storage system's own name of it. */
  readonly volumeId: string;
  /**
   * target_portal, target_iqn, target_lun, auth_method, auth_username, auth_password as in Ironic, and ours auth_reverse_username,
   * auth_reverse_password: secret keys are encrypted at rest.
   */
  readonly properties: JsonObject;
}

export type Volume = VolumeConnector | VolumeTarget;

/** An iSCSI disk as iPXE logs in to it. */
export interface IscsiVolume {
  readonly host: string;
  readonly port: number;
  readonly iqn: string;
  readonly lun: number;
  /** With which names and passwords the machine logs in and, if it is to ask for them, the target answers. */
  readonly chap: (Credentials & { readonly reverse: Credentials | null }) | null;
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Which property is why a volume cannot be booted from. */
interface Unfit {
  readonly field: string;
  readonly reason: string;
}

/** What a node with `storage_interface` `external` boots from, instead of its own disk. */
export type VolumeBoot =
  | { readonly kind: "none" }
  /** It should, and cannot. */
  | ({ readonly kind: "unfit" } & Unfit)
  | {
      readonly kind: "iscsi";
      /** The name under which the machine logs in; null: iPXE's own. */
      readonly initiator: string | null;
      readonly boot: IscsiVolume;
      /** Its further disks, by index. */
      readonly others: readonly IscsiVolume[];
    };

/** Pure; the deploy that starts the machine and the services that answer it ask here. */
export function volumeBoot(node: Pick<Node, "interfaces">, volumes: readonly Volume[]): VolumeBoot {
  if (node.interfaces.storage !== "external") return { kind: "none" };
  const targets = volumes
    .filter((volume) => volume.kind === "target")
    .filter(({ bootIndex }) => bootIndex >= 0)
    .sort((a, b) => a.bootIndex - b.bootIndex);
  if (targets[0]?.bootIndex !== 0) return { kind: "none" };
  const disks: IscsiVolume[] = [];
  for (const target of targets) {
    const disk = iscsiVolume(target);
    if ("reason" in disk) return { kind: "unfit", ...disk };
    disks.push(disk);
  }
  const [boot, ...others] = disks;
  if (boot === undefined) return { kind: "none" };
  const named = volumes.find((volume) => volume.kind === "connector" && volume.type === "iqn");
  return { kind: "iscsi", initiator: named?.kind === "connector" ? named.connectorId : null, boot, others };
}

/** @source RFC 3720 §3.2.6.3; no more characters than every target and iPXE's command line take */
export function isIscsiName(text: string): boolean {
  return /^(iqn\.\d{4}-\d{2}\.[A-Za-z0-9.-]+(:[A-Za-z0-9.:_-]+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})$/.test(
    text,
  );
}

const DEFAULT_PORT = 3260;
/** Flat addressing: 14 bits. @source SAM-5 §4.7.7 */
const LARGEST_LUN = 16_383;
/** What stands in a command of iPXE as it is: no spaces, nothing that it expands, ends a command with or takes for a comment. */
const IPXE_WORD = /^[A-Za-z0-9!%()*+,./:=?@^_~-]{1,255}$/;

const UNFIT_WORD = "may hold letters, digits and ! % ( ) * + , - . / : = ? @ ^ _ ~ only, which iPXE takes as they are";
const MISSING = "is missing: CHAP needs name and password";

/** The disk that the target names; else what is wrong with it. */
export function iscsiVolume(target: Pick<VolumeTarget, "volumeType" | "properties">): IscsiVolume | Unfit {
  const { volumeType, properties } = target;
  const wrong = (key: string, reason: string) => ({ field: `properties.${key}`, reason });
  if (volumeType !== "iscsi")
    return { field: "volume_type", reason: `"${volumeType}" cannot be booted from; "iscsi" can` };
  const portal = stringProperty(properties, "target_portal") ?? "";
  const [, host, port] = /^([A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(portal) ?? [];
  if (host === undefined) return wrong("target_portal", `"${portal}" is not HOST:PORT`);
  const iqn = stringProperty(properties, "target_iqn") ?? "";
  if (!isIscsiName(iqn)) return wrong("target_iqn", `"${iqn}" is not an iSCSI name`);
  const lun = numberProperty(properties, "target_lun") ?? Number(stringProperty(properties, "target_lun") ?? "0");
  if (!Number.isInteger(lun) || lun < 0 || lun > LARGEST_LUN)
    return wrong("target_lun", `must be a number from 0 to ${LARGEST_LUN}`);
  const chap = chapOf(properties);
  if (chap !== null && "reason" in chap) return chap;
  return { host, port: port === undefined ? DEFAULT_PORT : Number(port), iqn, lun, chap };
}

function chapOf(properties: JsonObject): IscsiVolume["chap"] | Unfit {
  const method = stringProperty(properties, "auth_method");
  const login = credentialsOf(properties, "auth");
  const reverse = credentialsOf(properties, "auth_reverse");
  if (method !== undefined && method !== "CHAP")
    return { field: "properties.auth_method", reason: `"${method}" is not known; "CHAP" is` };
  if (login === null && reverse === null && method === undefined) return null;
  if (login === null) return { field: "properties.auth_username", reason: MISSING };
  if ("reason" in login) return login;
  return reverse !== null && "reason" in reverse ? reverse : { ...login, reverse };
}

/** The name and password under the keys that begin with `prefix`; null where there is neither. */
function credentialsOf(properties: JsonObject, prefix: string): Credentials | Unfit | null {
  const wrong = (word: string, reason: string): Unfit => ({ field: `properties.${prefix}_${word}`, reason });
  const username = stringProperty(properties, `${prefix}_username`);
  const password = stringProperty(properties, `${prefix}_password`);
  if (username === undefined && password === undefined) return null;
  if (username === undefined) return wrong("username", MISSING);
  if (!IPXE_WORD.test(username)) return wrong("username", UNFIT_WORD);
  if (password === undefined) return wrong("password", MISSING);
  if (!IPXE_WORD.test(password)) return wrong("password", UNFIT_WORD);
  return { username, password };
}
