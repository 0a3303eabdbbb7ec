import { ByteReader } from "../../core/byte-reader.ts";
import { ByteWriter } from "../../core/byte-writer.ts";
import {
  boolean,
  bytesOfAtLeast,
  classlessRouteList,
  domainNameList,
  int32,
  ipv4,
  ipv4List,
  ipv4ListOrNone,
  ipv4PairList,
  messageTypeValue,
  subOptions,
  text,
  uint16List,
  uint8List,
} from "./option-values.ts";
import { flag, rawBytes, uint16, uint32, uint8, type ValueCodec, type ValueOf } from "../value-codec.ts";

interface OptionRow {
  readonly code: number;
  readonly value: ValueCodec<unknown>;
  readonly source: string;
}

/** Every DHCPv4 option by name: the documentation, the types and the codec in one table. */
export const dhcpOptions = {
  subnetMask: { code: 1, value: ipv4, source: "RFC 2132 §3.3" },
  timeOffset: { code: 2, value: int32, source: "RFC 2132 §3.4" },
  router: { code: 3, value: ipv4List, source: "RFC 2132 §3.5" },
  timeServer: { code: 4, value: ipv4List, source: "RFC 2132 §3.6" },
  nameServer: { code: 5, value: ipv4List, source: "RFC 2132 §3.7" },
  domainNameServer: { code: 6, value: ipv4List, source: "RFC 2132 §3.8" },
  logServer: { code: 7, value: ipv4List, source: "RFC 2132 §3.9" },
  cookieServer: { code: 8, value: ipv4List, source: "RFC 2132 §3.10" },
  lprServer: { code: 9, value: ipv4List, source: "RFC 2132 §3.11" },
  impressServer: { code: 10, value: ipv4List, source: "RFC 2132 §3.12" },
  resourceLocationServer: { code: 11, value: ipv4List, source: "RFC 2132 §3.13" },
  hostName: { code: 12, value: text, source: "RFC 2132 §3.14" },
  bootFileSize: { code: 13, value: uint16, source: "RFC 2132 §3.15" },
  meritDumpFile: { code: 14, value: text, source: "RFC 2132 §3.16" },
  domainName: { code: 15, value: text, source: "RFC 2132 §3.17" },
  swapServer: { code: 16, value: ipv4, source: "RFC 2132 §3.18" },
  rootPath: { code: 17, value: text, source: "RFC 2132 §3.19" },
  extensionsPath: { code: 18, value: text, source: "RFC 2132 §3.20" },
  ipForwarding: { code: 19, value: boolean, source: "RFC 2132 §4.1" },
  nonLocalSourceRouting: { code: 20, value: boolean, source: "RFC 2132 §4.2" },
  policyFilter: { code: 21, value: ipv4PairList, source: "RFC 2132 §4.3" },
  maximumDatagramReassemblySize: { code: 22, value: uint16, source: "RFC 2132 §4.4" },
  defaultIpTimeToLive: { code: 23, value: uint8, source: "RFC 2132 §4.5" },
  pathMtuAgingTimeout: { code: 24, value: uint32, source: "RFC 2132 §4.6" },
  pathMtuPlateauTable: { code: 25, value: uint16List, source: "RFC 2132 §4.7" },
  interfaceMtu: { code: 26, value: uint16, source: "RFC 2132 §5.1" },
  allSubnetsAreLocal: { code: 27, value: boolean, source: "RFC 2132 §5.2" },
  broadcastAddress: { code: 28, value: ipv4, source: "RFC 2132 §5.3" },
  performMaskDiscovery: { code: 29, value: boolean, source: "RFC 2132 §5.4" },
  maskSupplier: { code: 30, value: boolean, source: "RFC 2132 §5.5" },
  performRouterDiscovery: { code: 31, value: boolean, source: "RFC 2132 §5.6" },
  routerSolicitationAddress: { code: 32, value: ipv4, source: "RFC 2132 §5.7" },
  staticRoute: { code: 33, value: ipv4PairList, source: "RFC 2132 §5.8" },
  trailerEncapsulation: { code: 34, value: boolean, source: "RFC 2132 §6.1" },
  arpCacheTimeout: { code: 35, value: uint32, source: "RFC 2132 §6.2" },
  ethernetEncapsulation: { code: 36, value: boolean, source: "RFC 2132 §6.3" },
  tcpDefaultTimeToLive: { code: 37, value: uint8, source: "RFC 2132 §7.1" },
  tcpKeepaliveInterval: { code: 38, value: uint32, source: "RFC 2132 §7.2" },
  tcpKeepaliveGarbage: { code: 39, value: boolean, source: "RFC 2132 §7.3" },
  nisDomain: { code: 40, value: text, source: "RFC 2132 §8.1" },
  nisServer: { code: 41, value: ipv4List, source: "RFC 2132 §8.2" },
  ntpServer: { code: 42, value: ipv4List, source: "RFC 2132 §8.3" },
  vendorSpecificInformation: { code: 43, value: rawBytes, source: "RFC 2132 §8.4" },
  netbiosNameServer: { code: 44, value: ipv4List, source: "RFC 2132 §8.5" },
  netbiosDatagramDistributionServer: { code: 45, value: ipv4List, source: "RFC 2132 §8.6" },
  netbiosNodeType: { code: 46, value: uint8, source: "RFC 2132 §8.7" },
  netbiosScope: { code: 47, value: rawBytes, source: "RFC 2132 §8.8" },
  xWindowFontServer: { code: 48, value: ipv4List, source: "RFC 2132 §8.9" },
  xWindowDisplayManager: { code: 49, value: ipv4List, source: "RFC 2132 §8.10" },
  requestedAddress: { code: 50, value: ipv4, source: "RFC 2132 §9.1" },
  leaseTime: { code: 51, value: uint32, source: "RFC 2132 §9.2" },
  overload: { code: 52, value: uint8, source: "RFC 2132 §9.3" },
  messageType: { code: 53, value: messageTypeValue, source: "RFC 2132 §9.6" },
  serverIdentifier: { code: 54, value: ipv4, source: "RFC 2132 §9.7" },
  parameterRequestList: { code: 55, value: uint8List, source: "RFC 2132 §9.8" },
  message: { code: 56, value: text, source: "RFC 2132 §9.9" },
  maximumMessageSize: { code: 57, value: uint16, source: "RFC 2132 §9.10" },
  renewalTime: { code: 58, value: uint32, source: "RFC 2132 §9.11" },
  rebindingTime: { code: 59, value: uint32, source: "RFC 2132 §9.12" },
  vendorClassIdentifier: { code: 60, value: text, source: "RFC 2132 §9.13" },
  clientIdentifier: { code: 61, value: bytesOfAtLeast(2), source: "RFC 2132 §9.14" },
  netwareIpDomain: { code: 62, value: text, source: "RFC 2242 §2" },
  netwareIpInformation: { code: 63, value: rawBytes, source: "RFC 2242 §3" },
  nisPlusDomain: { code: 64, value: text, source: "RFC 2132 §8.11" },
  nisPlusServer: { code: 65, value: ipv4List, source: "RFC 2132 §8.12" },
  tftpServerName: { code: 66, value: text, source: "RFC 2132 §9.4" },
  bootfileName: { code: 67, value: text, source: "RFC 2132 §9.5" },
  mobileIpHomeAgent: { code: 68, value: ipv4ListOrNone, source: "RFC 2132 §8.13" },
  smtpServer: { code: 69, value: ipv4List, source: "RFC 2132 §8.14" },
  pop3Server: { code: 70, value: ipv4List, source: "RFC 2132 §8.15" },
  nntpServer: { code: 71, value: ipv4List, source: "RFC 2132 §8.16" },
  wwwServer: { code: 72, value: ipv4List, source: "RFC 2132 §8.17" },
  fingerServer: { code: 73, value: ipv4List, source: "RFC 2132 §8.18" },
  ircServer: { code: 74, value: ipv4List, source: "RFC 2132 §8.19" },
  streetTalkServer: { code: 75, value: ipv4List, source: "RFC 2132 §8.20" },
  streetTalkDirectoryAssistanceServer: { code: 76, value: ipv4List, source: "RFC 2132 §8.21" },
  // RFC 3004 §4 wants length-prefixed instances; iPXE and others send bare text. Bytes, so that both survive.
  userClass: { code: 77, value: rawBytes, source: "RFC 3004 §4" },
  slpDirectoryAgent: { code: 78, value: rawBytes, source: "RFC 2610 §3" },
  slpServiceScope: { code: 79, value: rawBytes, source: "RFC 2610 §4" },
  rapidCommit: { code: 80, value: flag, source: "RFC 4039 §4" },
  clientFqdn: { code: 81, value: bytesOfAtLeast(3), source: "RFC 4702 §2" },
  relayAgentInformation: { code: 82, value: subOptions({ terminated: false }), source: "RFC 3046 §2.0" },
  isns: { code: 83, value: rawBytes, source: "RFC 4174 §2" },
  ndsServer: { code: 85, value: ipv4List, source: "RFC 2241 §2" },
  ndsTreeName: { code: 86, value: text, source: "RFC 2241 §3" },
  ndsContext: { code: 87, value: text, source: "RFC 2241 §4" },
  bcmcsDomainNameList: { code: 88, value: domainNameList, source: "RFC 4280 §4.1" },
  bcmcsServer: { code: 89, value: ipv4List, source: "RFC 4280 §4.3" },
  authentication: { code: 90, value: bytesOfAtLeast(11), source: "RFC 3118 §2" },
  clientLastTransactionTime: { code: 91, value: uint32, source: "RFC 4388 §6.1" },
  associatedIp: { code: 92, value: ipv4List, source: "RFC 4388 §6.1" },
  clientSystemArchitecture: { code: 93, value: uint16List, source: "RFC 4578 §2.1" },
  clientNetworkInterface: { code: 94, value: bytesOfAtLeast(3), source: "RFC 4578 §2.2" },
  clientMachineIdentifier: { code: 97, value: bytesOfAtLeast(1), source: "RFC 4578 §2.3" },
  userAuthenticationProtocol: { code: 98, value: text, source: "RFC 2485 §2" },
  civicLocation: { code: 99, value: rawBytes, source: "RFC 4776 §3.1" },
  posixTimezone: { code: 100, value: text, source: "RFC 4833 §2" },
  tzdbTimezone: { code: 101, value: text, source: "RFC 4833 §2" },
  ipv6OnlyPreferred: { code: 108, value: uint32, source: "RFC 8925 §3.1" },
  netinfoAddress: { code: 112, value: ipv4List, source: "RFC 3679 §2.11" },
  netinfoTag: { code: 113, value: text, source: "RFC 3679 §2.11" },
  captivePortal: { code: 114, value: text, source: "RFC 8910 §2.1" },
  autoConfigure: { code: 116, value: uint8, source: "RFC 2563 §2" },
  nameServiceSearch: { code: 117, value: uint16List, source: "RFC 2937 §2" },
  subnetSelection: { code: 118, value: ipv4, source: "RFC 3011 §2" },
  domainSearch: { code: 119, value: domainNameList, source: "RFC 3397 §2" },
  sipServer: { code: 120, value: rawBytes, source: "RFC 3361 §3" },
  classlessStaticRoute: { code: 121, value: classlessRouteList, source: "RFC 3442" },
  cableLabsClientConfiguration: { code: 122, value: rawBytes, source: "RFC 3495 §4" },
  geoConf: { code: 123, value: rawBytes, source: "RFC 6225 §2.2" },
  vendorIdentifyingVendorClass: { code: 124, value: rawBytes, source: "RFC 3925 §3" },
  vendorIdentifyingVendorSpecific: { code: 125, value: rawBytes, source: "RFC 3925 §4" },
  panaAgent: { code: 136, value: ipv4List, source: "RFC 5192 §3" },
  lostServer: { code: 137, value: domainNameList, source: "RFC 5223 §3" },
  capwapAccessController: { code: 138, value: ipv4List, source: "RFC 5417 §2" },
  mobilityServerAddress: { code: 139, value: rawBytes, source: "RFC 5678 §2" },
  mobilityServerName: { code: 140, value: rawBytes, source: "RFC 5678 §3" },
  sipUserAgentDomains: { code: 141, value: domainNameList, source: "RFC 6011 §4.1" },
  andsfServer: { code: 142, value: ipv4List, source: "RFC 6153 §2" },
  sztpRedirect: { code: 143, value: rawBytes, source: "RFC 8572 §8.1" },
  geoLocation: { code: 144, value: rawBytes, source: "RFC 6225 §2.2" },
  forcerenewNonceCapable: { code: 145, value: uint8List, source: "RFC 6704 §3.1.1" },
  recursiveDnsSelection: { code: 146, value: rawBytes, source: "RFC 6731 §4.3" },
  dotsServerName: { code: 147, value: domainNameList, source: "RFC 8973 §6.1" },
  dotsServerAddress: { code: 148, value: ipv4List, source: "RFC 8973 §6.2" },
  tftpServerAddress: { code: 150, value: ipv4List, source: "RFC 5859 §2" },
  statusCode: { code: 151, value: rawBytes, source: "RFC 6926 §6.2.2" },
  baseTime: { code: 152, value: uint32, source: "RFC 6926 §6.2.3" },
  startTimeOfState: { code: 153, value: uint32, source: "RFC 6926 §6.2.4" },
  queryStartTime: { code: 154, value: uint32, source: "RFC 6926 §6.2.5" },
  queryEndTime: { code: 155, value: uint32, source: "RFC 6926 §6.2.6" },
  dhcpState: { code: 156, value: uint8, source: "RFC 6926 §6.2.7" },
  dataSource: { code: 157, value: uint8, source: "RFC 6926 §6.2.8" },
  portControlProtocolServer: { code: 158, value: rawBytes, source: "RFC 7291 §4" },
  portParameters: { code: 159, value: rawBytes, source: "RFC 7618 §9" },
  manufacturerUsageDescription: { code: 161, value: text, source: "RFC 8520 §10" },
  ipxe: { code: 175, value: subOptions({ terminated: true }), source: "iPXE src/include/ipxe/dhcp.h DHCP_EB_ENCAP" },
  pxelinuxMagic: { code: 208, value: rawBytes, source: "RFC 5071 §3" },
  pxelinuxConfigurationFile: { code: 209, value: text, source: "RFC 5071 §4" },
  pxelinuxPathPrefix: { code: 210, value: text, source: "RFC 5071 §5" },
  pxelinuxRebootTime: { code: 211, value: uint32, source: "RFC 5071 §6" },
  sixRd: { code: 212, value: rawBytes, source: "RFC 5969 §7.1.1" },
  accessNetworkDomain: { code: 213, value: domainNameList, source: "RFC 5986 §3.2" },
  subnetAllocation: { code: 220, value: rawBytes, source: "RFC 6656 §3" },
  virtualSubnetSelection: { code: 221, value: rawBytes, source: "RFC 6607 §3.1" },
  microsoftClasslessStaticRoute: { code: 249, value: classlessRouteList, source: "MS-DHCPE §2.2.8" },
  webProxyAutoDiscovery: { code: 252, value: text, source: "draft-ietf-wrec-wpad-01 §4.4.1" },
} as const satisfies Readonly<Record<string, OptionRow>>;

export type OptionName = keyof typeof dhcpOptions;
export type OptionValue<Name extends OptionName> = ValueOf<(typeof dhcpOptions)[Name]["value"]>;

/** Options by name, as a program states them. */
export type OptionValues = { readonly [Name in OptionName]?: OptionValue<Name> | undefined };

/** Options as they stand on the wire, joined (RFC 3396) but not read: codes in the order of their first appearance. */
export type OptionBytes = ReadonlyMap<number, Uint8Array>;

export const PAD = 0;
export const END = 255;

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(dhcpOptions, name);
}

const names = new Map<number, OptionName>(
  Object.entries(dhcpOptions).flatMap(([name, row]) => (isOptionName(name) ? [[row.code, name]] : [])),
);

export function optionNameFromCode(code: number): OptionName | undefined {
  return names.get(code);
}

/** The value of one option, or undefined when the message does not carry it. @throws MalformedFault */
export function readOption<Name extends OptionName>(options: OptionBytes, name: Name): OptionValue<Name> | undefined {
  return optionReader(name)(options);
}

/** `readOption` for one name, whose row is looked up once. */
export function optionReader<Name extends OptionName>(
  name: Name,
): (options: OptionBytes) => OptionValue<Name> | undefined {
  const { code } = dhcpOptions[name];
  // The table pairs each name with its codec; the compiler cannot follow that through a generic name.
  const codec = dhcpOptions[name].value as unknown as ValueCodec<OptionValue<Name>>;
  return (options) => {
    const bytes = options.get(code);
    if (bytes === undefined) return undefined;
    const reader = new ByteReader(bytes);
    const value = codec.decode(reader, name);
    reader.expectEnd(name);
    return value;
  };
}

export function encodeOption<Name extends OptionName>(name: Name, value: OptionValue<Name>): Uint8Array {
  const codec = dhcpOptions[name].value as unknown as ValueCodec<OptionValue<Name>>;
  const writer = new ByteWriter(codec.size ?? 16);
  codec.encode(value, writer);
  return writer.toBytes();
}

/** The named values in the order in which the object states them. */
export function encodeOptions(values: OptionValues): Map<number, Uint8Array> {
  const bytes = new Map<number, Uint8Array>();
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || !isOptionName(name)) continue;
    bytes.set(dhcpOptions[name].code, encodeOption(name, value as OptionValue<typeof name>));
  }
  return bytes;
}
