import jsonPatch from "fast-json-patch";
import { isUuid, parseNodeUuid } from "../../core/brand.ts";
import { invalid } from "../../core/fault.ts";
import { isJsonObject, type Json, type JsonObject } from "../../core/json.ts";
import { HIDDEN } from "../../core/secret.ts";
import type { BootMode } from "../../domain/boot-device.ts";
import { enrolledNode } from "../../domain/enrolled-node.ts";
import { type InterfaceName, isNodeName, type Node, servedInterfaces } from "../../domain/node.ts";
import { masked } from "../representation.ts";

/** The node that the parameters of node.create describe. @throws Fault invalid (names the field) */
export function newNode(params: JsonObject, options: { readonly uuid: string; readonly at: string }): Node {
  const bare = enrolledNode({ uuid: parseNodeUuid(options.uuid), driver: "", at: options.at });
  return fromPatchable(bare, { ...patchable(bare), ...params });
}

/** The part of a node that its operator owns, in Ironic's names. */
function patchable(node: Node): JsonObject {
  return {
    name: node.name,
    description: node.description,
    driver: node.driver,
    driver_info: node.driverInfo,
    instance_info: node.instanceInfo,
    properties: node.properties,
    extra: node.extra,
    instance_uuid: node.instanceUuid,
    resource_class: node.resourceClass,
    automated_clean: node.automatedClean,
    boot_mode: node.bootMode,
    protected: node.protected,
    protected_reason: node.protectedReason,
    retired: node.retired,
    retired_reason: node.retiredReason,
    ...Object.fromEntries(servedInterfaces.map((name) => [`${name}_interface`, node.interfaces[name] ?? null])),
  };
}

/** The node with what the operator's document says. @throws Fault invalid (names the field) */
function fromPatchable(node: Node, document: JsonObject): Node {
  const name = textOrNull(document, "name");
  if (name !== null && !isNodeName(name))
    throw invalid("name", "must be of letters, digits and . _ ~ - only, and not look like a UUID");
  const instanceUuid = textOrNull(document, "instance_uuid");
  if (instanceUuid !== null && !isUuid(instanceUuid)) throw invalid("instance_uuid", `"${instanceUuid}" is not a UUID`);
  const driver = textOrNull(document, "driver");
  if (driver === null || driver === "") throw invalid("driver", "is missing");
  const mode = textOrNull(document, "boot_mode");
  if (mode !== null && mode !== "bios" && mode !== "uefi") throw invalid("boot_mode", 'must be "bios" or "uefi"');
  const interfaces: Partial<Record<InterfaceName, string>> = {};
  for (const one of servedInterfaces) {
    const chosen = textOrNull(document, `${one}_interface`);
    if (chosen !== null) interfaces[one] = chosen;
  }
  return {
    ...node,
    name,
    driver,
    interfaces,
    instanceUuid,
    description: textOrNull(document, "description"),
    driverInfo: unmasked(document, "driver_info"),
    instanceInfo: unmasked(document, "instance_info"),
    properties: object(document, "properties"),
    extra: object(document, "extra"),
    resourceClass: textOrNull(document, "resource_class"),
    automatedClean: booleanOr(document, "automated_clean", null),
    bootMode: mode as BootMode | null,
    protected: booleanOr(document, "protected", false),
    protectedReason: textOrNull(document, "protected_reason"),
    retired: booleanOr(document, "retired", false),
    retiredReason: textOrNull(document, "retired_reason"),
  };
}

function textOrNull(document: JsonObject, field: string): string | null {
  const value = document[field] ?? null;
  if (value !== null && typeof value !== "string") throw invalid(field, "must be text");
  return value;
}

function booleanOr<T extends boolean | null>(document: JsonObject, field: string, absent: T): boolean | T {
  const value = document[field] ?? absent;
  if (value !== absent && typeof value !== "boolean") throw invalid(field, "must be true or false");
  return value as boolean | T;
}

function object(document: JsonObject, field: string): JsonObject {
  const value = document[field] ?? {};
  if (!isJsonObject(value)) throw invalid(field, "must be an object");
  return value;
}

/** A client that sends back what it was shown would store six stars as the password. */
export function unmasked(document: JsonObject, field: string): JsonObject {
  const value = object(document, field);
  for (const [key, one] of Object.entries(value)) {
    if (one === HIDDEN && masked({ [key]: one })[key] === HIDDEN)
      throw invalid(`${field}.${key}`, `${HIDDEN} stands for a hidden value and cannot be stored`);
  }
  return value;
}

/** The node after a JSON patch of the fields that its operator owns. @throws Fault invalid (names the field) */
export function patchNode(node: Node, patch: readonly JsonObject[]): Node {
  const document = patchable(node);
  for (const one of patch) {
    const path = one["path"];
    const field = typeof path === "string" ? (path.split("/")[1] ?? "") : "";
    if (!Object.hasOwn(document, field))
      throw invalid(
        "patch.path",
        `${JSON.stringify(path)} cannot be changed; fields are ${Object.keys(document).join(", ")}`,
      );
  }
  let patched: unknown;
  try {
    patched = jsonPatch.applyPatch(
      structuredClone(document),
      structuredClone(patch) as never,
      true,
      false,
      true,
    ).newDocument;
  } catch (error) {
    // fast-json-patch throws JsonPatchError and, for __proto__ or a move into itself, TypeError: both are the caller's patch.
    throw invalid("patch", error instanceof Error ? (error.message.split("\n")[0] ?? "is not valid") : "is not valid");
  }
  if (!isJsonObject(patched)) throw invalid("patch", "must leave an object");
  return fromPatchable(node, patched as Readonly<Record<string, Json>>);
}
