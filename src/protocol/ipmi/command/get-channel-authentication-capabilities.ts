import { ByteWriter } from "../../../core/byte-writer.ts";
import { netFns, type IpmiCommand } from "../command.ts";
import { privilegeLevels, type PrivilegeLevel } from "../privilege-level.ts";

/** The channel on which the request arrives. */
const THIS_CHANNEL = 0x0e;

export interface AuthenticationCapabilities {
  readonly channel: number;
  readonly ipmi15: boolean;
  readonly ipmi20: boolean;
  /** K_G is not zero: sessions need `ipmi_hex_kg_key`. */
  readonly needsBmcKey: boolean;
  readonly perMessageAuthentication: boolean;
  readonly userLevelAuthentication: boolean;
  readonly namedUsers: boolean;
  readonly nullUsernames: boolean;
  readonly anonymousLogin: boolean;
  readonly oemIana: number;
}

export const getChannelAuthenticationCapabilities: IpmiCommand<
  { readonly privilege: PrivilegeLevel },
  AuthenticationCapabilities
> = {
  name: "Get Channel Authentication Capabilities",
  netFn: netFns.app,
  command: 0x38,
  effect: "read",
  privilege: "none",
  source: "IPMI 2.0 §22.13, table 22-15",
  // Bit 7 asks for the IPMI 2.0 form of the answer.
  encode: ({ privilege }) =>
    new ByteWriter(2)
      .u8(0x80 | THIS_CHANNEL)
      .u8(privilegeLevels[privilege])
      .toBytes(),
  decode(data) {
    const channel = data.u8("channel");
    const types = data.u8("authenticationTypes");
    const status = data.u8("authenticationStatus");
    const extended = data.u8("extendedCapabilities");
    const oemIana = data.u8("oemIana") | (data.u8("oemIana") << 8) | (data.u8("oemIana") << 16);
    const isExtended = (types & 0x80) !== 0;
    return {
      channel: channel & 0x0f,
      ipmi15: !isExtended || (extended & 0x01) !== 0,
      ipmi20: isExtended && (extended & 0x02) !== 0,
      needsBmcKey: isExtended && (status & 0x20) !== 0,
      perMessageAuthentication: (status & 0x10) === 0,
      userLevelAuthentication: (status & 0x08) === 0,
      namedUsers: (status & 0x04) !== 0,
      nullUsernames: (status & 0x02) !== 0,
      anonymousLogin: (status & 0x01) !== 0,
      oemIana,
    };
  },
};
