import { parsePortUuid, isUuid, parseMacAddress, parseNodeUuid, parseVolumeUuid } from "../core/brand.ts";
import { stringProperty, type JsonObject } from "../core/json.ts";
import type { NodeReader, PortReader, VolumeReader } from "../domain/store.ts";

/**
 * What a command is about: two commands that share a key run in the order in which they came. A node counts under the word
 * that was used and, where it is known, under its UUID and its name, so that `create {name}` comes before `show` of that name.
 */
export function orderingKeys(
  params: JsonObject,
  store: { readonly nodes: NodeReader; readonly ports: PortReader; readonly volumes: VolumeReader },
): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const field of ["node", "uuid", "name"]) {
    const word = stringProperty(params, field);
    if (word !== undefined) addNode(keys, word, store.nodes);
  }
  const port = stringProperty(params, "port");
  if (port !== undefined) {
    keys.add(`port ${port.toLowerCase()}`);
    const found = findPort(port, store.ports);
    if (found !== undefined) addNode(keys, found.nodeUuid, store.nodes);
  }
  for (const field of ["volume_connector", "volume_target"]) {
    const volume = stringProperty(params, field);
    if (volume === undefined || !isUuid(volume)) continue;
    keys.add(`volume ${volume.toLowerCase()}`);
    const found = store.volumes.get(parseVolumeUuid(volume));
    if (found !== undefined) addNode(keys, found.nodeUuid, store.nodes);
  }
  return keys;
}

function addNode(keys: Set<string>, word: string, nodes: NodeReader): void {
  const node = isUuid(word) ? nodes.get(parseNodeUuid(word)) : nodes.byName(word);
  keys.add(`node ${isUuid(word) ? word.toLowerCase() : word}`);
  if (node === undefined) return;
  keys.add(`node ${node.uuid}`);
  if (node.name !== null) keys.add(`node ${node.name}`);
}

function findPort(word: string, ports: PortReader): ReturnType<PortReader["get"]> {
  if (isUuid(word)) return ports.get(parsePortUuid(word));
  try {
    return ports.byAddress(parseMacAddress(word));
  } catch {
    return undefined; // Not an address either: the command itself will say so.
  }
}
