import type { NodeUuid } from "../core/brand.ts";
import { type Clock, instant } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import type { HistoryEntry } from "../domain/history.ts";
import type { Transaction } from "../domain/store.ts";
import { commandReader, leaseReader, nodeReader, portReader, type State, volumeReader } from "./state.ts";

/** A transaction that reads and writes `layer`. With the node go its ports, its volumes and its inventory. */
export function openTransaction(layer: State, clock: Clock): Transaction {
  return {
    nodes: {
      ...nodeReader(layer),
      put: (node) => layer.nodes.put(node),
      delete: (uuid) => {
        layer.nodes.delete(uuid);
        for (const port of layer.ports.find("node", uuid)) layer.ports.delete(port.uuid);
        for (const volume of layer.volumes.find("node", uuid)) layer.volumes.delete(volume.uuid);
        layer.inventory.set(uuid, undefined);
      },
    },
    ports: {
      ...portReader(layer),
      put: (port) => {
        requireNode(layer, port.nodeUuid, "port");
        layer.ports.put(port);
      },
      delete: (uuid) => layer.ports.delete(uuid),
    },
    volumes: {
      ...volumeReader(layer),
      put: (volume) => {
        requireNode(layer, volume.nodeUuid, "volume");
        layer.volumes.put(volume);
      },
      delete: (uuid) => layer.volumes.delete(uuid),
    },
    leases: {
      ...leaseReader(layer.leases),
      put: (lease) => layer.leases.put(lease),
      delete: (address) => layer.leases.delete(address),
    },
    leases6: {
      ...leaseReader(layer.leases6),
      put: (lease) => layer.leases6.put(lease),
      delete: (address) => layer.leases6.delete(address),
    },
    commands: commandWriter(layer),
    history: { append: (entry) => appendHistory(layer, clock, entry) },
    inventory: {
      put: (node, inventory) => void layer.inventory.set(node, inventory),
      delete: (node) => void layer.inventory.set(node, undefined),
    },
    outbox: { acknowledge: (seq) => acknowledge(layer, seq) },
  };
}

function requireNode(layer: State, node: NodeUuid, noun: string): void {
  if (layer.nodes.get(node) !== undefined) return;
  throw new Fault("not-found", "node.not-found", `the ${noun}'s node ${node} does not exist`, {
    detail: { field: "node_uuid" },
  });
}

function commandWriter(layer: State): Transaction["commands"] {
  const known = (id: string) => {
    const row = layer.commands.get(id);
    if (row === undefined) throw new Fault("not-found", "command.not-found", `no command has the id ${id}`);
    return row;
  };
  return {
    ...commandReader(layer),
    accept: (command) => {
      if (layer.commands.get(command.id) !== undefined) {
        throw new Fault("conflict", "command.duplicate", `a command with the id ${command.id} was accepted before`);
      }
      const order = layer.marks.nextOrder;
      layer.marks = { ...layer.marks, nextOrder: order + 1 };
      layer.commands.put({ order, command });
    },
    answer: (id, answer) => {
      const row = known(id);
      if (row.command.answer !== null) {
        throw new Fault("conflict", "command.answered", `the command ${id} has its answer already`);
      }
      layer.commands.put({ ...row, command: { ...row.command, answer, params: null } });
    },
    delivered: (id) => {
      const row = known(id);
      if (!row.command.delivered) layer.commands.put({ ...row, command: { ...row.command, delivered: true } });
    },
  };
}

function appendHistory(layer: State, clock: Clock, entry: Omit<HistoryEntry, "seq" | "time">): HistoryEntry {
  const seq = layer.marks.lastSeq + 1;
  const stored: HistoryEntry = { seq, time: instant(clock), ...entry };
  layer.history.push(stored);
  layer.marks = { ...layer.marks, lastSeq: seq };
  return stored;
}

/** An acknowledgement that is not news changes nothing. */
function acknowledge(layer: State, seq: number): void {
  if (!Number.isSafeInteger(seq) || seq > layer.marks.lastSeq) {
    throw new Fault(
      "invalid",
      "outbox.unknown",
      `seq: the history ends at ${layer.marks.lastSeq}, ${seq} cannot be acknowledged`,
      {
        detail: { field: "seq" },
      },
    );
  }
  if (seq > layer.marks.acknowledged) layer.marks = { ...layer.marks, acknowledged: seq };
}
