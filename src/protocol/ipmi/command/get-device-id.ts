import { netFns, noBytes, type IpmiCommand } from "../command.ts";

export interface DeviceId {
  readonly deviceId: number;
  readonly deviceRevision: number;
  readonly providesSdrs: boolean;
  /** The device is updating or initialising and answers only this command. */
  readonly updating: boolean;
  /** "major.minor", the minor part in two BCD digits. */
  readonly firmware: string;
  /** "2.0" */
  readonly ipmiVersion: string;
  readonly chassisDevice: boolean;
  /** IANA enterprise number. */
  readonly manufacturerId: number;
  readonly productId: number;
}

export const getDeviceId: IpmiCommand<void, DeviceId> = {
  name: "Get Device ID",
  netFn: netFns.app,
  command: 0x01,
  effect: "read",
  privilege: "USER",
  source: "IPMI 2.0 §20.1, table 20-2",
  encode: () => noBytes,
  decode(data) {
    const deviceId = data.u8("deviceId");
    const revision = data.u8("deviceRevision");
    const major = data.u8("firmwareMajor");
    const minor = data.u8("firmwareMinor");
    const version = data.u8("ipmiVersion");
    const support = data.u8("deviceSupport");
    const manufacturerId =
      data.u8("manufacturerId") | (data.u8("manufacturerId") << 8) | (data.u8("manufacturerId") << 16);
    const productId = data.u16LE("productId");
    return {
      deviceId,
      deviceRevision: revision & 0x0f,
      providesSdrs: (revision & 0x80) !== 0,
      updating: (major & 0x80) !== 0,
      firmware: `${major & 0x7f}.${minor.toString(16).padStart(2, "0")}`,
      ipmiVersion: `${version & 0x0f}.${version >> 4}`,
      chassisDevice: (support & 0x80) !== 0,
      manufacturerId: manufacturerId & 0xfffff,
      productId,
    };
  },
};
