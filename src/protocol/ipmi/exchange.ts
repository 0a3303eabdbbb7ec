import type { Fault } from "../../core/fault.ts";
import { millis, type Millis } from "../../core/units.ts";

/** What happens to an exchange. `iv` has 16 random bytes, for a packet that may have to be encrypted. */
export type ExchangeInput =
  | { readonly kind: "start"; readonly iv: Uint8Array }
  | { readonly kind: "packet"; readonly bytes: Uint8Array; readonly iv: Uint8Array }
  /** The time that was last armed has passed. `network` is what the network said meanwhile, such as "port unreachable". */
  | { readonly kind: "timeout"; readonly iv: Uint8Array; readonly network: Fault | undefined };

/** What an exchange wants done, in order. `done` and `failed` end it. */
export type ExchangeOutput<Result> =
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  | { readonly kind: "arm"; readonly after: Millis }
  /** A packet was dropped; `malformed` if it was not of its format. */
  | { readonly kind: "ignored"; readonly reason: string; readonly malformed: boolean }
  | { readonly kind: "done"; readonly result: Result }
  | { readonly kind: "failed"; readonly fault: Fault };

export interface ExchangeStep<State, Result> {
  readonly state: State;
  readonly outputs: readonly ExchangeOutput<Result>[];
}

/** An exchange with retries as a pure machine. */
export type Advance<State, Result> = (state: State, input: ExchangeInput) => ExchangeStep<State, Result>;

/** How often a packet is sent and how long each answer is waited for. */
export interface RetryPlan {
  /** At least 1. */
  readonly attempts: number;
  readonly first: Millis;
  /** Each further wait is longer by this factor. */
  readonly growth: number;
}

export function waitOf(plan: RetryPlan, attempt: number): Millis {
  return millis(plan.first * plan.growth ** (attempt - 1));
}
