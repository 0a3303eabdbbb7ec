import type { Ipv4Address } from "../core/brand.ts";
import { isIpv6Address } from "../core/ipv6-address.ts";
import type { Millis } from "../core/units.ts";
import type { NetworkBoot } from "../domain/boot-plan.ts";
import {
  type Dhcp4Header,
  type Dhcp4Message,
  type Encoded,
  encodeMessage,
  encodeOptionsField,
  encodeWithField,
  UNSPECIFIED,
} from "../protocol/dhcp4/message.ts";
import { ipxeOptions } from "../protocol/dhcp4/ipxe-options.ts";
import { useBootFileNow } from "../protocol/dhcp4/pxe-options.ts";
import { dhcpOptions, encodeOption, type OptionBytes } from "../protocol/dhcp4/options.ts";
import type { DhcpClient } from "./dhcp-client.ts";

/** What a reply says beyond what it repeats of the request. */
export interface ReplyContents {
  readonly type: "offer" | "ack" | "nak" | "bootp";
  readonly yiaddr: Ipv4Address;
  /** null: none, as for INFORM (RFC 2131 §4.3.5) and BOOTP. */
  readonly leaseTime: Millis | null;
  readonly hostname: string | null;
  readonly boot: NetworkBoot | null;
  /** Option 56 of a NAK. */
  readonly message: string | null;
}

const code = {
  messageType: dhcpOptions.messageType.code,
  serverIdentifier: dhcpOptions.serverIdentifier.code,
  leaseTime: dhcpOptions.leaseTime.code,
  renewalTime: dhcpOptions.renewalTime.code,
  rebindingTime: dhcpOptions.rebindingTime.code,
  subnetMask: dhcpOptions.subnetMask.code,
  hostName: dhcpOptions.hostName.code,
  clientIdentifier: dhcpOptions.clientIdentifier.code,
  relayAgentInformation: dhcpOptions.relayAgentInformation.code,
  rapidCommit: dhcpOptions.rapidCommit.code,
  tftpServerName: dhcpOptions.tftpServerName.code,
  bootfileName: dhcpOptions.bootfileName.code,
  vendorClassIdentifier: dhcpOptions.vendorClassIdentifier.code,
  ipxe: dhcpOptions.ipxe.code,
  vendorSpecificInformation: dhcpOptions.vendorSpecificInformation.code,
  clientMachineIdentifier: dhcpOptions.clientMachineIdentifier.code,
  message: dhcpOptions.message.code,
} as const;

/** What clients look for first; the others follow in the client's own order. */
const FIRST = [
  code.messageType,
  code.serverIdentifier,
  code.leaseTime,
  code.renewalTime,
  code.rebindingTime,
  code.subnetMask,
];

const INFINITE_SECONDS = 0xffffffff;
const FILE_FIELD = 127;

/**
 * The reply's bytes; what did not fit is named in `omitted`. `options` are the subnet's: given when asked for, or when the
 * client asks for nothing by name.
 */
export function encodeReply(
  request: Dhcp4Message,
  client: DhcpClient,
  contents: ReplyContents,
  server: Ipv4Address,
  options: OptionBytes,
): Encoded {
  const header = replyHeader(request, contents);
  const relay = request.options.get(code.relayAgentInformation);
  if (saysTheUsual(client, contents)) {
    const { type, leaseTime } = contents;
    const usual = usualField(type, { server, leaseTime, options, asked: client.parameterRequestList });
    const bytes = encodeWithField(header, usual, ownOptions(client, relay), client.maximumSize);
    if (bytes !== undefined) return { bytes, omitted: [] };
  }
  const given = new Map<number, Uint8Array>();
  const asked = client.parameterRequestList;
  if (contents.type !== "bootp") {
    given.set(code.messageType, typeBytes[contents.type]);
    given.set(code.serverIdentifier, serverBytes(server));
  }
  if (contents.type === "nak") {
    if (contents.message !== null) given.set(code.message, encodeOption("message", contents.message));
  } else {
    addUsual(given, { leaseTime: contents.leaseTime, options, asked });
    if (contents.hostname !== null) given.set(code.hostName, encodeOption("hostName", contents.hostname));
    if (client.rapidCommit && client.type === "discover" && contents.type === "ack") {
      given.set(code.rapidCommit, encodeOption("rapidCommit", true));
    }
    if (contents.boot !== null) addBoot(given, client, contents.boot);
  }
  // RFC 6842 §3: the identifier comes back, so that clients which share a chaddr know whose answer it is.
  if (client.clientIdentifier !== undefined) given.set(code.clientIdentifier, client.clientIdentifier);
  // RFC 3046 §2.2: as it came.
  if (relay !== undefined) given.set(code.relayAgentInformation, relay);
  const order = asked === undefined ? FIRST : [...FIRST, ...asked];
  return encodeMessage({ ...header, options: given }, { order, maximumSize: client.maximumSize });
}

/** What the subnet's clients are told that ask for the same. */
interface Usual {
  readonly server: Ipv4Address;
  readonly leaseTime: Millis | null;
  readonly options: OptionBytes;
  readonly asked: Uint8Array | undefined;
}

/** Whether the reply says nothing but what others are told too, and the client's own options would be its last in any case. */
function saysTheUsual(
  client: DhcpClient,
  contents: ReplyContents,
): contents is ReplyContents & { readonly type: "offer" | "ack" } {
  const asked = client.parameterRequestList;
  return (
    (contents.type === "offer" || contents.type === "ack") &&
    contents.hostname === null &&
    (contents.boot === null || (contents.boot.kind === "silent" && client.firmware.program !== "ipxe")) &&
    !client.rapidCommit &&
    (client.clientIdentifier === undefined || (asked !== undefined && !asked.includes(code.clientIdentifier)))
  );
}

function ownOptions(client: DhcpClient, relay: Uint8Array | undefined): readonly (readonly [number, Uint8Array])[] {
  const own: (readonly [number, Uint8Array])[] = [];
  if (client.clientIdentifier !== undefined) own.push([code.clientIdentifier, client.clientIdentifier]);
  if (relay !== undefined) own.push([code.relayAgentInformation, relay]);
  return own;
}

/** Machines of a rack are alike: most ask as the one before them did, and then their options need not be encoded again. */
const lastUsual: { -readonly [Type in "offer" | "ack"]?: { readonly usual: Usual; readonly field: Uint8Array } } = {};

function usualField(type: "offer" | "ack", usual: Usual): Uint8Array {
  const last = lastUsual[type];
  if (last !== undefined && isSame(last.usual, usual)) return last.field;
  const given = new Map<number, Uint8Array>();
  given.set(code.messageType, typeBytes[type]);
  given.set(code.serverIdentifier, serverBytes(usual.server));
  addUsual(given, usual);
  const field = encodeOptionsField(given, usual.asked === undefined ? FIRST : [...FIRST, ...usual.asked]);
  lastUsual[type] = { usual, field };
  return field;
}

function isSame(one: Usual, other: Usual): boolean {
  if (one.options !== other.options || one.leaseTime !== other.leaseTime || one.server !== other.server) return false;
  if (one.asked === undefined || other.asked === undefined) return one.asked === other.asked;
  return Buffer.compare(one.asked, other.asked) === 0;
}

function addUsual(given: Map<number, Uint8Array>, { leaseTime, options, asked }: Omit<Usual, "server">): void {
  if (leaseTime !== null) addTimes(given, leaseTime);
  for (const [one, value] of options) {
    if (one === code.subnetMask || asked === undefined || asked.includes(one)) given.set(one, value);
  }
}

const typeBytes = {
  offer: encodeOption("messageType", "offer"),
  ack: encodeOption("messageType", "ack"),
  nak: encodeOption("messageType", "nak"),
} as const;

/** @source RFC 2131 table 3 */
function replyHeader(request: Dhcp4Message, contents: ReplyContents): Dhcp4Header {
  const boot = contents.boot?.kind === "file" ? contents.boot : undefined;
  const nak = contents.type === "nak";
  return {
    op: "reply",
    htype: request.htype,
    hops: 0,
    xid: request.xid,
    secs: 0,
    // A refused client behind a relay may have no address that the relay can reach (RFC 2131 §4.3.2).
    broadcast: request.broadcast || (nak && request.giaddr !== UNSPECIFIED),
    ciaddr: nak ? UNSPECIFIED : request.ciaddr,
    yiaddr: contents.yiaddr,
    siaddr: boot === undefined || isIpv6Address(boot.server) ? UNSPECIFIED : boot.server,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: "",
    file: boot !== undefined && boot.file.length <= FILE_FIELD ? boot.file : "",
  };
}

function addTimes(options: Map<number, Uint8Array>, leaseTime: Millis): void {
  for (const [one, value] of timeBytes(Math.min(Math.floor(leaseTime / 1000), INFINITE_SECONDS)))
    options.set(one, value);
}

/** Nearly every answer says the same as the one before. */
const serverBytes = rememberLast((server: Ipv4Address) => encodeOption("serverIdentifier", server));

const timeBytes = rememberLast((seconds: number): readonly (readonly [number, Uint8Array])[] => {
  const lease = [code.leaseTime, encodeOption("leaseTime", seconds)] as const;
  if (seconds === INFINITE_SECONDS) return [lease];
  // The defaults of RFC 2131 §4.4.5, said aloud for clients that would choose others.
  return [
    lease,
    [code.renewalTime, encodeOption("renewalTime", Math.floor(seconds / 2))],
    [code.rebindingTime, encodeOption("rebindingTime", Math.floor((seconds * 7) / 8))],
  ];
});

function rememberLast<K, V>(make: (key: K) => V): (key: K) => V {
  let last: { readonly key: K; readonly value: V } | undefined;
  return (key) => {
    if (last?.key !== key) last = { key, value: make(key) };
    return last.value;
  };
}

function addBoot(options: Map<number, Uint8Array>, client: DhcpClient, boot: NetworkBoot): void {
  if (client.firmware.program === "ipxe") {
    // Nobody else boots machines here: iPXE need not wait for a ProxyDHCP server.
    options.set(code.ipxe, encodeOption("ipxe", new Map([[ipxeOptions.noPxeDhcp, Uint8Array.of(1)]])));
  }
  if (boot.kind === "silent") return;
  if (boot.vendorClass !== null)
    options.set(code.vendorClassIdentifier, encodeOption("vendorClassIdentifier", boot.vendorClass));
  const asked = client.parameterRequestList;
  if (boot.by === "tftp" && asked?.includes(code.tftpServerName) === true) {
    options.set(code.tftpServerName, encodeOption("tftpServerName", boot.server));
  }
  if (boot.file.length > FILE_FIELD || asked?.includes(code.bootfileName) === true) {
    options.set(code.bootfileName, encodeOption("bootfileName", boot.file));
  }
}

/** What the proxy says: what firmware is to load, and nothing about addresses. */
export interface ProxyContents {
  readonly type: "offer" | "ack";
  readonly server: Ipv4Address;
  readonly boot: Extract<NetworkBoot, { readonly kind: "file" }>;
}

/**
 * A ProxyDHCP reply: no address, no lease, but the class that firmware waits for and its machine identifier again. BIOS
 * firmware and iPXE are told to load the file without looking for boot servers; UEFI firmware asks again on port 4011,
 * and some of it passes over offers that forbid this (as seen by pixiecore).
 * @source PXE 2.1 §2.2.3, tables 2-2 and 2-4
 */
export function encodeProxyReply(request: Dhcp4Message, client: DhcpClient, proxied: ProxyContents): Encoded {
  const { boot, server, type } = proxied;
  const options = new Map<number, Uint8Array>();
  options.set(code.messageType, encodeOption("messageType", type));
  options.set(code.serverIdentifier, encodeOption("serverIdentifier", server));
  options.set(code.vendorClassIdentifier, encodeOption("vendorClassIdentifier", boot.vendorClass ?? "PXEClient"));
  const machine = request.options.get(code.clientMachineIdentifier);
  if (machine !== undefined) options.set(code.clientMachineIdentifier, machine);
  if (client.clientIdentifier !== undefined) options.set(code.clientIdentifier, client.clientIdentifier);
  if (boot.vendorClass === null && (client.firmware.program === "ipxe" || client.firmware.platform === "bios")) {
    options.set(code.vendorSpecificInformation, useBootFileNow());
  }
  if (boot.by === "tftp") options.set(code.tftpServerName, encodeOption("tftpServerName", boot.server));
  options.set(code.bootfileName, encodeOption("bootfileName", boot.file));
  const relay = request.options.get(code.relayAgentInformation);
  if (relay !== undefined) options.set(code.relayAgentInformation, relay);
  const contents: ReplyContents = { type, yiaddr: UNSPECIFIED, leaseTime: null, hostname: null, boot, message: null };
  const message = { ...replyHeader(request, contents), options };
  return encodeMessage(message, { order: FIRST, maximumSize: client.maximumSize });
}
