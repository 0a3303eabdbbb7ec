import type { ByteReader } from "../../core/byte-reader.ts";
import type { CommandCompletions } from "./completion-code.ts";
import type { PrivilegeLevel } from "./privilege-level.ts";

/** Network functions of requests; a response has the next odd number. @source IPMI 2.0 table 5-1 */
export const netFns = { chassis: 0x00, app: 0x06, storage: 0x0a } as const;

/**
 * What repeating a request does, which decides what may be done when no answer came:
 * `read` changes nothing; `write` leaves the same state however often it is sent; an `action` is never sent twice.
 */
export type CommandEffect = "read" | "write" | "action";

/** One command of IPMI: its numbers, and the codec of its request and response data. */
export interface IpmiCommand<Request, Response> {
  readonly name: string;
  readonly netFn: number;
  readonly command: number;
  readonly effect: CommandEffect;
  /** The lowest level that may use it, for the table of what a session needs. @source IPMI 2.0 appendix G */
  readonly privilege: PrivilegeLevel | "none";
  readonly source: string;
  encode(request: Request): Uint8Array;
  /** Reads the data after the completion code 0. Bytes that a later version of IPMI may append are left unread. */
  decode(data: ByteReader): Response;
  readonly completions?: CommandCompletions;
}

export const noBytes: Uint8Array = new Uint8Array(0);
