import type { Json, JsonObject } from "../core/json.ts";

/** A command as the rack promised to carry it out: on disk before it is acknowledged, its answer kept for repetitions. */
export interface CommandRecord {
  /** Chosen by the caller; the same id gets the same answer. */
  readonly id: string;
  readonly method: string;
  /** Dropped once answered; may hold secrets and is encrypted at rest. */
  readonly params: JsonObject | null;
  readonly receivedAt: string;
  readonly expiresAt: string | null;
  readonly reply: { readonly topic: string; readonly correlation: string | null } | null;
  readonly answer: CommandAnswer | null;
  /** The broker acknowledged the answer. */
  readonly delivered: boolean;
}

export type CommandAnswer =
  | { readonly ok: true; readonly result: Json }
  | {
      readonly ok: false;
      readonly kind: string;
      readonly code: string;
      readonly message: string;
      readonly detail: JsonObject;
    };
