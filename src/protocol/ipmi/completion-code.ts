import { Fault, type FaultKind, type Retry } from "../../core/fault.ts";

interface CompletionRow {
  readonly code: number;
  readonly kind: FaultKind;
  readonly sentence: string;
  /** "now": the BMC did nothing and asks to be asked again. */
  readonly retry?: Retry;
}

/** @source IPMI 2.0 table 5-2 */
export const completionCodes = [
  { code: 0xc0, kind: "busy", sentence: "the BMC is busy", retry: "now" },
  { code: 0xc1, kind: "unsupported", sentence: "the BMC does not know the command" },
  { code: 0xc2, kind: "unsupported", sentence: "the BMC does not know the command for this LUN" },
  { code: 0xc3, kind: "timeout", sentence: "the BMC gave up on the command; whether it was carried out is not known" },
  { code: 0xc4, kind: "busy", sentence: "the BMC is out of space" },
  { code: 0xc5, kind: "conflict", sentence: "the reservation was cancelled" },
  { code: 0xc6, kind: "refused", sentence: "the request was truncated" },
  { code: 0xc7, kind: "refused", sentence: "the BMC calls the length of the request wrong" },
  { code: 0xc8, kind: "refused", sentence: "a field of the request is longer than the BMC allows" },
  { code: 0xc9, kind: "refused", sentence: "a parameter is out of the BMC's range" },
  { code: 0xca, kind: "refused", sentence: "the BMC cannot return that many bytes" },
  { code: 0xcb, kind: "not-found", sentence: "the sensor, record or data is not present" },
  { code: 0xcc, kind: "refused", sentence: "the BMC calls a field of the request invalid" },
  { code: 0xcd, kind: "refused", sentence: "the command is illegal for this sensor or record" },
  { code: 0xce, kind: "refused", sentence: "the BMC could not give the response" },
  { code: 0xcf, kind: "conflict", sentence: "the BMC took the request for a repeated one" },
  { code: 0xd0, kind: "busy", sentence: "the BMC updates its sensor data records", retry: "later" },
  {
    code: 0xd1,
    kind: "busy",
    sentence: "the BMC is in firmware update mode; wait until the update is over",
    retry: "later",
  },
  { code: 0xd2, kind: "busy", sentence: "the BMC is still initialising", retry: "now" },
  { code: 0xd3, kind: "unreachable", sentence: "the BMC cannot deliver the request to its destination" },
  {
    code: 0xd4,
    kind: "refused",
    sentence: "the privilege level does not suffice; raise ipmi_priv_level or the user's limit in the BMC",
  },
  { code: 0xd5, kind: "conflict", sentence: "the BMC cannot carry out the command in its present state" },
  { code: 0xd6, kind: "refused", sentence: "the command is disabled in the BMC's firmware firewall" },
  { code: 0xff, kind: "refused", sentence: "the BMC reports an unspecified error" },
] as const satisfies readonly CompletionRow[];

/** Meanings that one command gives to the codes 80h to BEh. */
export type CommandCompletions = Readonly<Record<number, { readonly kind: FaultKind; readonly sentence: string }>>;

/** The Fault of a completion code other than 0, with the code `ipmi.completion.XX`. */
export function completionFault(code: number, command: string, own: CommandCompletions = {}): Fault {
  const row: Omit<CompletionRow, "code"> = own[code] ??
    completionCodes.find((known) => known.code === code) ?? {
      kind: "refused",
      sentence:
        code <= 0x7e
          ? "the BMC gave a code of its manufacturer's own"
          : "the BMC gave a code that IPMI 2.0 does not define",
    };
  const hex = code.toString(16).padStart(2, "0");
  return new Fault(row.kind, `ipmi.completion.${hex}`, `${command}: ${row.sentence} (completion code 0x${hex})`, {
    detail: { completionCode: code, command },
    ...(row.retry === undefined ? {} : { retry: row.retry }),
  });
}
