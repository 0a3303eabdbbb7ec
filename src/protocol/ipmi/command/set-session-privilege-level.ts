import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";
import { privilegeLevels, type PrivilegeLevel } from "../privilege-level.ts";

/** A session starts as USER, whatever was asked when it was opened; this raises it. Answers the new level's number. */
export const setSessionPrivilegeLevel: IpmiCommand<
  { readonly privilege: PrivilegeLevel },
  { readonly privilege: number }
> = {
  name: "Set Session Privilege Level",
  netFn: netFns.app,
  command: 0x3b,
  effect: "write",
  privilege: "USER",
  source: "IPMI 2.0 §22.18, table 22-21",
  encode: ({ privilege }) => new ByteWriter(1).u8(privilegeLevels[privilege]).toBytes(),
  decode: (data) => ({ privilege: data.u8("privilege") & 0x0f }),
  completions: {
    0x80: {
      kind: "refused",
      sentence:
        "the user may not have this privilege level; set ipmi_priv_level lower or raise the user's limit in the BMC",
    },
    0x81: {
      kind: "refused",
      sentence:
        "the level exceeds the limit of the channel or the user; set ipmi_priv_level lower or raise the limit in the BMC",
    },
    0x82: { kind: "refused", sentence: "user level authentication cannot be disabled" },
  },
};
