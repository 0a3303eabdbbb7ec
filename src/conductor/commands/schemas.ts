import { Type } from "typebox";
import type { JsonObject } from "../../core/json.ts";

/** Schemas that several commands share. Objects are closed: an unknown field is an error that names it. */
export const closed = { additionalProperties: false } as const;

export const freeObject = Type.Unsafe<JsonObject>(Type.Object({}, { additionalProperties: true }));

/** One of these words. */
export function oneOf<T extends string>(words: readonly T[]) {
  return Type.Unsafe<T>({ type: "string", enum: [...words] });
}

export const nodeIdent = Type.String({ minLength: 1, description: "UUID or name of the node" });

/** Ironic's node as `representNode` makes it. */
export const nodeResult = Type.Unsafe<JsonObject>(
  Type.Object(
    {
      uuid: Type.String(),
      name: Type.Union([Type.String(), Type.Null()]),
      provision_state: Type.String(),
      target_provision_state: Type.Union([Type.String(), Type.Null()]),
      power_state: Type.Union([Type.String(), Type.Null()]),
      maintenance: Type.Boolean(),
      last_error: Type.Union([Type.String(), Type.Null()]),
    },
    { additionalProperties: true, description: "Ironic's node" },
  ),
);

export const portResult = Type.Unsafe<JsonObject>(
  Type.Object(
    { uuid: Type.String(), node_uuid: Type.String(), address: Type.String(), pxe_enabled: Type.Boolean() },
    { additionalProperties: true, description: "Ironic's port" },
  ),
);

const volumeFields = { uuid: Type.String(), node_uuid: Type.String() };

export const volumeConnectorResult = Type.Unsafe<JsonObject>(
  Type.Object(
    { ...volumeFields, type: Type.String(), connector_id: Type.String() },
    { additionalProperties: true, description: "Ironic's volume connector" },
  ),
);

export const volumeTargetResult = Type.Unsafe<JsonObject>(
  Type.Object(
    {
      ...volumeFields,
      volume_type: Type.String(),
      boot_index: Type.Integer(),
      volume_id: Type.String(),
      properties: Type.Object({}, { additionalProperties: true, description: "secrets as ******" }),
    },
    { additionalProperties: true, description: "Ironic's volume target" },
  ),
);

export const eventResult = Type.Unsafe<JsonObject>(
  Type.Object(
    {
      seq: Type.Integer(),
      time: Type.String(),
      type: Type.String(),
      severity: Type.String(),
      node: Type.Union([Type.String(), Type.Null()]),
      name: Type.Union([Type.String(), Type.Null()]),
      operation: Type.Union([Type.String(), Type.Null()]),
      data: freeObject,
    },
    closed,
  ),
);

export const acceptedResult = Type.Object(
  {
    operation: Type.Union([Type.String(), Type.Null()], { description: "id that the operation's events carry" }),
    provision_state: Type.String(),
    target_provision_state: Type.Union([Type.String(), Type.Null()]),
  },
  closed,
);
