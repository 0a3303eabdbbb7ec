import type { Ipv4Address, NodeUuid, PortUuid, VolumeUuid } from "../core/brand.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { JsonObject } from "../core/json.ts";
import type { CommandRecord } from "../domain/command-record.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Lease, Lease6 } from "../domain/lease.ts";
import type { Node, Port } from "../domain/node.ts";
import type { Volume } from "../domain/volume.ts";
import type { CommandReader, LeaseReader, NodeReader, PortReader, VolumeReader } from "../domain/store.ts";
import { Table, type TableShape } from "./table.ts";

/** A command with its place in the order of arrival; wall time may jump and cannot give it. */
export interface ArrivedCommand {
  readonly order: number;
  readonly command: CommandRecord;
}

/** Counters that must not go back, whatever happens to the records. */
export interface Marks {
  /** 0 before the first entry. */
  readonly lastSeq: number;
  /** The oldest entry that is kept; lastSeq + 1 when there is none. */
  readonly firstSeq: number;
  readonly acknowledged: number;
  /** `order` of the next command. */
  readonly nextOrder: number;
}

export const noMarks: Marks = { lastSeq: 0, firstSeq: 1, acknowledged: 0, nextOrder: 1 };

/** What one batch writes. undefined: deleted. */
export interface Changes {
  readonly nodes: ReadonlyMap<NodeUuid, Node | undefined>;
  readonly ports: ReadonlyMap<PortUuid, Port | undefined>;
  readonly volumes: ReadonlyMap<VolumeUuid, Volume | undefined>;
  readonly leases: ReadonlyMap<Ipv4Address, Lease | undefined>;
  readonly leases6: ReadonlyMap<Ipv6Address, Lease6 | undefined>;
  readonly commands: ReadonlyMap<string, ArrivedCommand | undefined>;
  readonly inventory: ReadonlyMap<NodeUuid, JsonObject | undefined>;
  readonly history: readonly HistoryEntry[];
  readonly marks: Marks;
}

const nodeShape: TableShape<NodeUuid, Node, "name"> = {
  noun: "node",
  key: (node) => node.uuid,
  indexes: { name: { entry: (node) => node.name, unique: true } },
};

const portShape: TableShape<PortUuid, Port, "address" | "node"> = {
  noun: "port",
  key: (port) => port.uuid,
  indexes: {
    address: { entry: (port) => port.address, unique: true },
    node: { entry: (port) => port.nodeUuid, unique: false },
  },
};

const volumeShape: TableShape<VolumeUuid, Volume, "node" | "identity"> = {
  noun: "volume",
  key: (volume) => volume.uuid,
  indexes: {
    node: { entry: (volume) => volume.nodeUuid, unique: false },
    identity: { entry: volumeIdentity, unique: true },
  },
};

/** @source Ironic: (type, connector_id) and (node, boot_index) are unique */
function volumeIdentity(volume: Volume): string {
  return volume.kind === "connector"
    ? `${volume.type} ${volume.connectorId}`
    : `boot_index ${volume.bootIndex} of ${volume.nodeUuid}`;
}

function leaseShape<Address extends string>(): TableShape<Address, Lease<Address>, "client"> {
  return {
    noun: "lease",
    key: (lease) => lease.address,
    indexes: { client: { entry: (lease) => lease.client, unique: false } },
  };
}

const commandShape: TableShape<string, ArrivedCommand, "open"> = {
  noun: "command",
  key: (row) => row.command.id,
  indexes: { open: { entry: (row) => openness(row.command), unique: false } },
};

function openness(command: CommandRecord): "unanswered" | "undelivered" | null {
  if (command.answer === null) return "unanswered";
  return command.reply !== null && !command.delivered ? "undelivered" : null;
}

/** Everything that the store answers from memory, or a layer of changes over it; history and inventory are only passed through. */
export class State {
  readonly nodes: Table<NodeUuid, Node, "name">;
  readonly ports: Table<PortUuid, Port, "address" | "node">;
  readonly volumes: Table<VolumeUuid, Volume, "node" | "identity">;
  readonly leases: Table<Ipv4Address, Lease, "client">;
  readonly leases6: Table<Ipv6Address, Lease6, "client">;
  readonly commands: Table<string, ArrivedCommand, "open">;
  readonly inventory = new Map<NodeUuid, JsonObject | undefined>();
  readonly history: HistoryEntry[] = [];
  marks: Marks;
  readonly #parent: State | undefined;

  constructor(parent?: State) {
    this.#parent = parent;
    this.nodes = parent?.nodes.layer() ?? new Table(nodeShape);
    this.ports = parent?.ports.layer() ?? new Table(portShape);
    this.volumes = parent?.volumes.layer() ?? new Table(volumeShape);
    this.leases = parent?.leases.layer() ?? new Table(leaseShape<Ipv4Address>());
    this.leases6 = parent?.leases6.layer() ?? new Table(leaseShape<Ipv6Address>());
    this.commands = parent?.commands.layer() ?? new Table(commandShape);
    this.marks = parent?.marks ?? noMarks;
  }

  changes(): Changes {
    return {
      nodes: this.nodes.changes(),
      ports: this.ports.changes(),
      volumes: this.volumes.changes(),
      leases: this.leases.changes(),
      leases6: this.leases6.changes(),
      commands: this.commands.changes(),
      inventory: this.inventory,
      history: this.history,
      marks: this.marks,
    };
  }

  /** Whether a layer changes anything. */
  get changed(): boolean {
    const changes = this.changes();
    const { nodes, ports, volumes, leases, leases6, commands, inventory } = changes;
    return (
      this.marks !== this.#parent?.marks ||
      [nodes, ports, volumes, leases, leases6, commands, inventory].some((map) => map.size > 0)
    );
  }

  /** Moves a layer's changes into its parent. The root keeps neither history nor inventory. */
  merge(): void {
    const parent = this.#parent;
    if (parent === undefined) return;
    this.nodes.merge();
    this.ports.merge();
    this.volumes.merge();
    this.leases.merge();
    this.leases6.merge();
    this.commands.merge();
    parent.marks = this.marks;
    if (parent.#parent === undefined) return;
    for (const [node, inventory] of this.inventory) parent.inventory.set(node, inventory);
    parent.history.push(...this.history);
  }
}

export function nodeReader(state: State): NodeReader {
  return {
    get: (uuid) => state.nodes.get(uuid),
    byName: (name) => state.nodes.find("name", name)[0],
    list: () => state.nodes.list(),
  };
}

export function portReader(state: State): PortReader {
  return {
    get: (uuid) => state.ports.get(uuid),
    byAddress: (address) => state.ports.find("address", address)[0],
    ofNode: (node) => state.ports.find("node", node),
    list: () => state.ports.list(),
  };
}

export function volumeReader(state: State): VolumeReader {
  return {
    get: (uuid) => state.volumes.get(uuid),
    ofNode: (node) => state.volumes.find("node", node),
    list: () => state.volumes.list(),
  };
}

export function leaseReader<Address extends string>(
  table: Table<Address, Lease<Address>, "client">,
): LeaseReader<Address> {
  return {
    byAddress: (address) => table.get(address),
    byClient: (client) => {
      const leases = table.find("client", client);
      return leases.length < 2 ? leases[0] : leases.toSorted(byUse)[0];
    },
    list: () => table.list(),
  };
}

/** A client that moved may have left an older lease behind: what it holds comes first, then what lasts longest. */
function byUse(a: Lease<string>, b: Lease<string>): number {
  return Number(b.state === "bound") - Number(a.state === "bound") || b.expiresAt - a.expiresAt;
}

export function commandReader(state: State): CommandReader {
  const inOrder = (open: "unanswered" | "undelivered"): readonly CommandRecord[] =>
    state.commands
      .find("open", open)
      .toSorted((a, b) => a.order - b.order)
      .map((row) => row.command);
  return {
    get: (id) => state.commands.get(id)?.command,
    unanswered: () => inOrder("unanswered"),
    undelivered: () => inOrder("undelivered"),
  };
}
