import type { Brand } from "./brand.ts";
import { invalid } from "./fault.ts";

export type Millis = Brand<number, "Millis">;
export type Bytes = Brand<number, "Bytes">;

export function millis(value: number): Millis {
  if (!Number.isFinite(value) || value < 0) throw invalid("duration", `${value} is not a duration in milliseconds`);
  return value as Millis;
}

export function seconds(value: number): Millis {
  return millis(value * 1000);
}

/** A byte count below 2^53. @throws Fault invalid */
export function bytes(value: number | bigint): Bytes {
  const count = Number(value);
  if (!Number.isSafeInteger(count) || count < 0) throw invalid("bytes", `${value} is not a byte count`);
  return count as Bytes;
}
