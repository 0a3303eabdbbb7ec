import type { Ipv4Address, MacAddress, NodeUuid, PortUuid, VolumeUuid } from "../core/brand.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { JsonObject } from "../core/json.ts";
import type { CommandAnswer, CommandRecord } from "./command-record.ts";
import type { HistoryEntry } from "./history.ts";
import type { Lease, Lease6 } from "./lease.ts";
import type { Node, Port } from "./node.ts";
import type { Volume } from "./volume.ts";

/** What is on disk now; answered from memory, at once. */
export interface NodeReader {
  get(uuid: NodeUuid): Node | undefined;
  byName(name: string): Node | undefined;
  list(): readonly Node[];
}

export interface PortReader {
  get(uuid: PortUuid): Port | undefined;
  byAddress(address: MacAddress): Port | undefined;
  ofNode(node: NodeUuid): readonly Port[];
  list(): readonly Port[];
}

/** Volume connectors and volume targets. */
export interface VolumeReader {
  get(uuid: VolumeUuid): Volume | undefined;
  ofNode(node: NodeUuid): readonly Volume[];
  list(): readonly Volume[];
}

export interface LeaseReader<Address extends string = Ipv4Address> {
  byAddress(address: Address): Lease<Address> | undefined;
  byClient(client: string): Lease<Address> | undefined;
  list(): readonly Lease<Address>[];
}

export interface CommandReader {
  get(id: string): CommandRecord | undefined;
  /** Accepted and not answered, in the order of arrival. */
  unanswered(): readonly CommandRecord[];
  /** Answered, has a reply address, and the broker has not acknowledged the answer. */
  undelivered(): readonly CommandRecord[];
}

export interface HistoryReader {
  /** 0 before the first entry. */
  readonly lastSeq: number;
  /** Up to `limit` entries with seq > `after`, rising. Entries that were trimmed are missing at the front. */
  read(after: number, limit: number): Promise<readonly HistoryEntry[]>;
  /** Rises whenever an entry is on disk. */
  waitAfter(seq: number, signal: AbortSignal): Promise<void>;
}

/**
 * One change of the store: reads see what earlier transactions wrote, also those not yet on disk. Everything written in
 * one transaction becomes durable together or not at all. The callback is synchronous; when it throws, it wrote nothing.
 */
export interface Transaction {
  readonly nodes: NodeReader & { put(node: Node): void; delete(uuid: NodeUuid): void };
  readonly ports: PortReader & { put(port: Port): void; delete(uuid: PortUuid): void };
  readonly volumes: VolumeReader & { put(volume: Volume): void; delete(uuid: VolumeUuid): void };
  readonly leases: LeaseReader & { put(lease: Lease): void; delete(address: Ipv4Address): void };
  readonly leases6: LeaseReader<Ipv6Address> & { put(lease: Lease6): void; delete(address: Ipv6Address): void };
  readonly commands: CommandReader & {
    accept(record: CommandRecord): void;
    /** Stores the answer and drops the parameters. */
    answer(id: string, answer: CommandAnswer): void;
    delivered(id: string): void;
  };
  readonly history: { append(entry: Omit<HistoryEntry, "seq" | "time">): HistoryEntry };
  readonly inventory: { put(node: NodeUuid, inventory: JsonObject): void; delete(node: NodeUuid): void };
  /** Everything up to `seq` was acknowledged by the site. */
  readonly outbox: { acknowledge(seq: number): void };
}

export interface CommitOptions {
  /** false: may be lost with the power (progress only). Default true: on disk when the promise resolves. */
  readonly durable?: boolean;
}

/** The one store. All writes go through `commit`, one after the other. @throws Fault storage */
export interface Store {
  readonly nodes: NodeReader;
  readonly ports: PortReader;
  readonly volumes: VolumeReader;
  readonly leases: LeaseReader;
  /** Of DHCPv6. */
  readonly leases6: LeaseReader<Ipv6Address>;
  readonly commands: CommandReader;
  readonly history: HistoryReader;
  readonly outbox: { readonly acknowledged: number };
  readonly inventory: { get(node: NodeUuid): Promise<JsonObject | undefined> };
  commit<T>(work: (tx: Transaction) => T, options?: CommitOptions): Promise<T>;
}
