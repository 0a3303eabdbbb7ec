import { netFns, noBytes, type IpmiCommand } from "../command.ts";

export interface SelInfo {
  readonly version: number;
  readonly entries: number;
  readonly freeBytes: number;
  /** Seconds since 1970 by the BMC's clock; 0xffffffff: never. */
  readonly lastAddition: number;
  readonly lastErase: number;
  readonly overflow: boolean;
}

export const getSelInfo: IpmiCommand<void, SelInfo> = {
  name: "Get SEL Info",
  netFn: netFns.storage,
  command: 0x40,
  effect: "read",
  privilege: "USER",
  source: "IPMI 2.0 §31.2, table 31-2",
  encode: () => noBytes,
  decode(data) {
    const version = data.u8("selVersion");
    const entries = data.u16LE("entries");
    const freeBytes = data.u16LE("freeBytes");
    const lastAddition = data.u32LE("lastAddition");
    const lastErase = data.u32LE("lastErase");
    return { version, entries, freeBytes, lastAddition, lastErase, overflow: (data.u8("operations") & 0x80) !== 0 };
  },
};
