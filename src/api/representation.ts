import { stringProperty, type JsonObject } from "../core/json.ts";

/** The version in which a field of a node appeared; what is not here was there from 1.1 on. @source IRONIC API, node object */
const NODE_FIELD_SINCE: Readonly<Record<string, number>> = {
  driver_internal_info: 3,
  name: 5,
  inspection_started_at: 6,
  inspection_finished_at: 6,
  clean_step: 7,
  raid_config: 12,
  target_raid_config: 12,
  states: 14,
  network_interface: 20,
  resource_class: 21,
  portgroups: 24,
  boot_interface: 31,
  console_interface: 31,
  deploy_interface: 31,
  inspect_interface: 31,
  management_interface: 31,
  power_interface: 31,
  raid_interface: 31,
  vendor_interface: 31,
  volume: 32,
  storage_interface: 33,
  traits: 37,
  rescue_interface: 38,
  bios_interface: 40,
  fault: 42,
  deploy_step: 44,
  conductor_group: 46,
  automated_clean: 47,
  protected: 48,
  protected_reason: 48,
  conductor: 49,
  owner: 50,
  description: 51,
  allocation_uuid: 52,
  retired: 61,
  retired_reason: 61,
  lessee: 65,
  network_data: 66,
  boot_mode: 75,
  secure_boot: 75,
  shard: 82,
};

/** Fields of ours, and of Ironic versions after the one that is spoken. */
const NOT_IN_REST: ReadonlySet<string> = new Set([
  "operation",
  "firmware_interface",
  "service_step",
  "parent_node",
  "health",
]);

/** What Ironic shows of a node and ironrack has nothing to say about. */
const NODE_DEFAULTS: JsonObject = {
  chassis_uuid: null,
  console_enabled: false,
  raid_config: {},
  target_raid_config: {},
  conductor_group: "",
  owner: null,
  lessee: null,
  allocation_uuid: null,
  network_data: {},
  secure_boot: null,
  shard: null,
};

const PORT_FIELD_SINCE: Readonly<Record<string, number>> = {
  internal_info: 18,
  local_link_connection: 19,
  pxe_enabled: 19,
  portgroup_uuid: 24,
  physical_network: 34,
  is_smartnic: 53,
};

const PORT_DEFAULTS: JsonObject = { internal_info: {}, is_smartnic: false, portgroup_uuid: null };

const SHORT_NODE = ["uuid", "name", "instance_uuid", "power_state", "provision_state", "maintenance"] as const;

/** The node as `minor` shows it. Until 1.2 "available" was called null. */
export function restNode(node: JsonObject, minor: number, base: string): JsonObject {
  const fields = visible({ ...NODE_DEFAULTS, ...node }, NODE_FIELD_SINCE, minor);
  const states = {
    provision_state: named(node["provision_state"], minor),
    target_provision_state: named(node["target_provision_state"], minor),
  };
  const uuid = stringProperty(node, "uuid") ?? "";
  const links = (suffix: string): JsonObject["links"] => linksTo(base, `nodes/${uuid}${suffix}`);
  return {
    ...fields,
    ...states,
    links: links("") ?? [],
    ports: links("/ports") ?? [],
    ...(minor >= 14 ? { states: links("/states") ?? [] } : {}),
  };
}

export function shortNode(node: JsonObject, minor: number, base: string): JsonObject {
  const whole = restNode(node, minor, base);
  return {
    ...Object.fromEntries(
      SHORT_NODE.filter((key) => Object.hasOwn(whole, key)).map((key) => [key, whole[key] ?? null]),
    ),
    links: whole["links"] ?? [],
  };
}

export function restPort(port: JsonObject, minor: number, base: string): JsonObject {
  return {
    ...visible({ ...PORT_DEFAULTS, ...port }, PORT_FIELD_SINCE, minor),
    links: linksTo(base, `ports/${stringProperty(port, "uuid") ?? ""}`),
  };
}

/** `properties` of a target are shown with the secrets hidden, as everywhere. */
export function restVolume(volume: JsonObject, kind: "connectors" | "targets", base: string): JsonObject {
  return { ...volume, links: linksTo(base, `volume/${kind}/${stringProperty(volume, "uuid") ?? ""}`) };
}

const SHORT_VOLUME: ReadonlySet<string> = new Set([
  "uuid",
  "node_uuid",
  "type",
  "connector_id",
  "volume_type",
  "boot_index",
  "volume_id",
  "links",
]);

export function shortVolume(volume: JsonObject, kind: "connectors" | "targets", base: string): JsonObject {
  return Object.fromEntries(Object.entries(restVolume(volume, kind, base)).filter(([key]) => SHORT_VOLUME.has(key)));
}

export function linksTo(base: string, path: string): JsonObject[] {
  return [
    { href: `${base}/v1/${path}`, rel: "self" },
    { href: `${base}/${path}`, rel: "bookmark" },
  ];
}

function named(state: JsonObject[string] | undefined, minor: number): JsonObject[string] {
  if (state === undefined || (state === "available" && minor < 2)) return null;
  return state;
}

function visible(fields: JsonObject, since: Readonly<Record<string, number>>, minor: number): JsonObject {
  return Object.fromEntries(
    Object.entries(fields).filter(
      ([key]) => !NOT_IN_REST.has(key) && minor >= (Object.hasOwn(since, key) ? (since[key] ?? 1) : 1),
    ),
  );
}
