import { ByteReader } from "../../core/byte-reader.ts";
import type { IpmiCommand } from "./command.ts";
import { decodeLanMessage } from "./lan-message.ts";

export type SessionlessAnswer<Response> =
  | { readonly kind: "answer"; readonly response: Response }
  | { readonly kind: "refused"; readonly completionCode: number }
  | { readonly kind: "other" };

/** What a message says about that request; `other` if it answers another one. @throws MalformedFault */
export function decodeSessionlessAnswer<Response>(
  command: IpmiCommand<never, Response>,
  rqSeq: number,
  payload: Uint8Array,
): SessionlessAnswer<Response> {
  const message = decodeLanMessage(payload);
  if (message.netFn !== command.netFn + 1 || message.command !== command.command || message.sequence !== rqSeq) {
    return { kind: "other" };
  }
  const reader = new ByteReader(message.data);
  const completionCode = reader.u8("completionCode");
  if (completionCode !== 0) return { kind: "refused", completionCode };
  return { kind: "answer", response: command.decode(reader) };
}
