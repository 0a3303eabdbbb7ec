import type { Ipv4Address, NodeUuid, PortUuid, VolumeUuid } from "../core/brand.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";

/** The keys of the store; nowhere else is one built. A prefix, a slash, and what names the record. */
export const keys = {
  schema: "meta/schema",
  marks: "meta/marks",
  node: (uuid: NodeUuid) => `node/${uuid}`,
  port: (uuid: PortUuid) => `port/${uuid}`,
  volume: (uuid: VolumeUuid) => `volume/${uuid}`,
  lease: (address: Ipv4Address) => `lease/${address}`,
  lease6: (address: Ipv6Address) => `lease6/${address}`,
  command: (id: string) => `command/${id}`,
  inventory: (node: NodeUuid) => `inventory/${node}`,
  history: (seq: number) => `history/${seq.toString().padStart(SEQ_DIGITS, "0")}`,
  /** Where a record goes that cannot be read. */
  aside: (key: string) => `aside/${key}`,
} as const;

export type RecordKind =
  | "meta"
  | "node"
  | "port"
  | "volume"
  | "lease"
  | "lease6"
  | "command"
  | "inventory"
  | "history"
  | "aside";

/** Digits of the largest safe integer, so that keys sort as their numbers do. */
const SEQ_DIGITS = 16;

/** The sequence number in a key of the history. */
export function seqOf(key: string): number {
  return Number(key.slice("history/".length));
}

/** The range of all keys of a kind. 0 is the character after the slash. */
export function rangeOf(kind: RecordKind): { readonly gte: string; readonly lt: string } {
  return { gte: `${kind}/`, lt: `${kind}0` };
}
