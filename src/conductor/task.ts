import type { Node } from "../domain/node.ts";
import type { Store } from "../domain/store.ts";
import type { Task } from "../driver/interfaces.ts";

/** The node with what drivers see beside it. */
export function taskOf(store: Pick<Store, "ports" | "volumes">, node: Node): Task {
  return { node, ports: store.ports.ofNode(node.uuid), volumes: store.volumes.ofNode(node.uuid) };
}
