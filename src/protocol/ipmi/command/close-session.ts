import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";

export const closeSession: IpmiCommand<{ readonly managedSessionId: number }, void> = {
  name: "Close Session",
  netFn: netFns.app,
  command: 0x3c,
  effect: "write",
  privilege: "CALLBACK",
  source: "IPMI 2.0 §22.19, table 22-22",
  encode: ({ managedSessionId }) => new ByteWriter(4).u32LE(managedSessionId).toBytes(),
  decode: () => undefined,
  completions: { 0x87: { kind: "not-found", sentence: "the BMC does not know the session" } },
};
