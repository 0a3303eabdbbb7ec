import type { SubOptions } from "./option-values.ts";

/** Codes within option 175. @source iPXE src/include/ipxe/dhcp.h and src/include/ipxe/features.h */
export const ipxeOptions = {
  /** Signed 8-bit: which of several offers wins. */
  priority: 1,
  /** Do not go on when the boot file of the first network fails. */
  keepSan: 8,
  skipSanBoot: 9,
  /** 1: do not wait for a ProxyDHCP server; boots seconds earlier. */
  noPxeDhcp: 176,
  busId: 177,
  biosDrive: 189,
  username: 190,
  password: 191,
  version: 235,
} as const;

/** Features that iPXE announces, each as a one-byte version under its code. */
export const ipxeFeatures = {
  pxeExtensions: 16,
  iscsi: 17,
  ataOverEthernet: 18,
  http: 19,
  https: 20,
  tftp: 21,
  ftp: 22,
  dns: 23,
  bzimage: 24,
  multiboot: 25,
  slam: 26,
  srp: 27,
  nbi: 32,
  pxe: 33,
  elf: 34,
  comboot: 35,
  efi: 36,
  fcoe: 37,
  vlan: 38,
  menu: 39,
  sdi: 40,
  nfs: 41,
} as const;

export type IpxeFeature = keyof typeof ipxeFeatures;

export function ipxeAnnounces(encapsulated: SubOptions, feature: IpxeFeature): boolean {
  return encapsulated.get(ipxeFeatures[feature])?.[0] === 1;
}

/** "1.21.1" and the like, or null; the first byte is a one that iPXE puts before the three numbers. */
export function ipxeVersion(encapsulated: SubOptions): string | null {
  const value = encapsulated.get(ipxeOptions.version);
  return value === undefined || value.length !== 3 ? null : Array.from(value).join(".");
}
