import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";

/** Blinks the chassis light: for so many seconds (0 to 255; 0 turns it off), or until told otherwise. */
export const chassisIdentify: IpmiCommand<{ readonly seconds: number } | "indefinite", void> = {
  name: "Chassis Identify",
  netFn: netFns.chassis,
  command: 0x04,
  effect: "write",
  privilege: "OPERATOR",
  source: "IPMI 2.0 §28.5, table 28-6",
  // The second byte is optional and refused by BMCs of IPMI 1.5, so it is sent only where it says something.
  encode: (request) =>
    request === "indefinite"
      ? new ByteWriter(2).u8(0).u8(1).toBytes()
      : new ByteWriter(1).u8(request.seconds).toBytes(),
  decode: () => undefined,
};
