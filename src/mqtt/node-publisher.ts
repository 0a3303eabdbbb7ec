import { isUuid, parseNodeUuid, type NodeUuid } from "../core/brand.ts";
import type { NodeReader } from "../domain/store.ts";
import type { MqttConnection, MqttMessage } from "../net/mqtt-connection.ts";
import type { SiteTopics } from "../protocol/site-channel.ts";
import { stateOf } from "./node-state.ts";

/** Keeps the retained topic of each node equal to the node, over one connection: sent when it differs, emptied when the node is gone. */
export class NodePublisher {
  readonly #connection: MqttConnection;
  readonly #nodes: NodeReader;
  readonly #topics: SiteTopics;
  readonly #published = new Map<NodeUuid, string>();

  constructor(parts: { readonly connection: MqttConnection; readonly nodes: NodeReader; readonly topics: SiteTopics }) {
    this.#connection = parts.connection;
    this.#nodes = parts.nodes;
    this.#topics = parts.topics;
  }

  /** Resolves when the broker has the node's present state. @throws Fault unreachable */
  async refresh(uuid: NodeUuid): Promise<void> {
    const node = this.#nodes.get(uuid);
    const payload = node === undefined ? "" : JSON.stringify(stateOf(node));
    if ((this.#published.get(uuid) ?? null) === payload) return;
    this.#published.set(uuid, payload);
    await this.#connection.publish({ topic: this.#topics.node(uuid), payload, qos: 1, retain: true });
  }

  /** After a connect: what the broker kept may be old, or lost. */
  async refreshAll(): Promise<void> {
    await Promise.all(this.#nodes.list().map((node) => this.refresh(node.uuid)));
  }

  /** Empties what the broker kept of a node that this rack does not have, such as one of the appliance before it. */
  async tidy(message: MqttMessage): Promise<void> {
    const uuid = message.topic.slice(message.topic.lastIndexOf("/") + 1);
    if (message.payload.length === 0 || (isUuid(uuid) && this.#nodes.get(parseNodeUuid(uuid)) !== undefined)) return;
    await this.#connection.publish({ topic: message.topic, payload: "", qos: 1, retain: true });
  }
}
