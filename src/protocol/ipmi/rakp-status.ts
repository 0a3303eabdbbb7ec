import { Fault, type FaultKind } from "../../core/fault.ts";

/** What an RMCP+ status means for the caller: `suite` may be tried again with another suite, `state` from the beginning. */
interface StatusRow {
  readonly code: number;
  readonly kind: FaultKind;
  readonly means: "user" | "privilege" | "suite" | "state" | "resources" | "other";
  readonly sentence: string;
}

/** @source IPMI 2.0 table 13-15 */
export const rakpStatuses = [
  {
    code: 0x01,
    kind: "busy",
    means: "resources",
    sentence: "the BMC has no free session; close other IPMI sessions or wait for them to expire",
  },
  { code: 0x02, kind: "protocol", means: "state", sentence: "the BMC does not know the session id" },
  { code: 0x03, kind: "protocol", means: "other", sentence: "the BMC calls the payload type invalid" },
  {
    code: 0x04,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this authentication algorithm; set ipmi_cipher_suite to one that it offers",
  },
  {
    code: 0x05,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this integrity algorithm; set ipmi_cipher_suite to one that it offers",
  },
  {
    code: 0x06,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this authentication; set ipmi_cipher_suite to one that it offers",
  },
  {
    code: 0x07,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this integrity; set ipmi_cipher_suite to one that it offers",
  },
  { code: 0x08, kind: "protocol", means: "state", sentence: "the BMC calls the session inactive" },
  {
    code: 0x09,
    kind: "refused",
    means: "privilege",
    sentence: "the BMC does not know the privilege level; set ipmi_priv_level to one that the user has",
  },
  {
    code: 0x0a,
    kind: "refused",
    means: "privilege",
    sentence:
      "the user may not have the privilege level; set ipmi_priv_level lower or raise the user's limit in the BMC",
  },
  {
    code: 0x0b,
    kind: "busy",
    means: "resources",
    sentence: "the BMC has no free session for this privilege level; close other sessions or wait",
  },
  {
    code: 0x0c,
    kind: "refused",
    means: "user",
    sentence: "the BMC calls the length of the user name invalid; correct ipmi_username",
  },
  {
    code: 0x0d,
    kind: "refused",
    means: "user",
    sentence: "the BMC does not know the user, or it is disabled; correct ipmi_username or enable the user in the BMC",
  },
  { code: 0x0e, kind: "refused", means: "other", sentence: "the BMC refuses the GUID" },
  { code: 0x0f, kind: "refused", means: "user", sentence: "the password is wrong; correct ipmi_password" },
  {
    code: 0x10,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this confidentiality algorithm; set ipmi_cipher_suite to one that it offers",
  },
  {
    code: 0x11,
    kind: "refused",
    means: "suite",
    sentence: "the BMC does not offer this cipher suite; set ipmi_cipher_suite to one that it offers",
  },
  { code: 0x12, kind: "refused", means: "other", sentence: "the BMC calls a parameter illegal" },
] as const satisfies readonly StatusRow[];

const unknownStatus = {
  kind: "refused",
  means: "other",
  sentence: "the BMC gave a status that IPMI 2.0 does not define",
} as const;

export function rakpStatus(code: number): Omit<StatusRow, "code"> {
  return rakpStatuses.find((row) => row.code === code) ?? unknownStatus;
}

/** The status as a Fault with the code `ipmi.rakp.XX`. */
export function rakpFault(code: number, doing: string): Fault {
  const { kind, sentence } = rakpStatus(code);
  const hex = code.toString(16).padStart(2, "0");
  return new Fault(kind, `ipmi.rakp.${hex}`, `IPMI login refused: ${sentence} (status 0x${hex} to ${doing})`, {
    detail: { status: code },
  });
}
