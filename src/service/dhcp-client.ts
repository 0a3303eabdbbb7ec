import { type Ipv4Address, type MacAddress, macAddressFromBytes } from "../core/brand.ts";
import { MalformedFault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import type { AddressQuery } from "../domain/address-policy.ts";
import type { Firmware } from "../domain/boot-firmware.ts";
import type { ReservationKey } from "../domain/subnet.ts";
import { type Dhcp4Message, UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import type { MessageType } from "../protocol/dhcp4/message-type.ts";
import { dhcpOptions, type OptionBytes, optionReader } from "../protocol/dhcp4/options.ts";
import { type RelayAgentInformation, readRelayAgentInformation } from "../protocol/dhcp4/relay-agent-information.ts";
import { firmwareOf } from "./dhcp-firmware.ts";

/** What a message says about its client, read once. */
export interface DhcpClient {
  /** undefined: BOOTP. */
  readonly type: MessageType | undefined;
  /** null: not Ethernet. */
  readonly mac: MacAddress | null;
  readonly clientIdentifier: Uint8Array | undefined;
  readonly firmware: Firmware;
  readonly hostname: string | null;
  readonly requested: Ipv4Address | null;
  readonly server: Ipv4Address | null;
  readonly ciaddr: Ipv4Address | null;
  readonly giaddr: Ipv4Address | null;
  readonly subnetSelection: Ipv4Address | null;
  readonly relay: RelayAgentInformation | undefined;
  readonly leaseTime: Millis | null;
  readonly rapidCommit: boolean;
  /** Option 55 as it stands: the codes that the client asks for, in its order. */
  readonly parameterRequestList: Uint8Array | undefined;
  /** Of the UDP payload. */
  readonly maximumSize: number;
}

const ETHERNET = 1;
const IP_AND_UDP = 28;
/** Over this a datagram would be cut into fragments, which firmware often cannot join. */
const LARGEST_REPLY = 1472;

const read = {
  relayAgentInformation: optionReader("relayAgentInformation"),
  leaseTime: optionReader("leaseTime"),
  messageType: optionReader("messageType"),
  clientIdentifier: optionReader("clientIdentifier"),
  vendorClassIdentifier: optionReader("vendorClassIdentifier"),
  userClass: optionReader("userClass"),
  clientSystemArchitecture: optionReader("clientSystemArchitecture"),
  ipxe: optionReader("ipxe"),
  hostName: optionReader("hostName"),
  requestedAddress: optionReader("requestedAddress"),
  serverIdentifier: optionReader("serverIdentifier"),
  subnetSelection: optionReader("subnetSelection"),
  rapidCommit: optionReader("rapidCommit"),
  maximumMessageSize: optionReader("maximumMessageSize"),
} as const;

/** @throws MalformedFault when an option that matters is not of its form */
export function readClient(message: Dhcp4Message): DhcpClient {
  const { options } = message;
  const relay = read.relayAgentInformation(options);
  const seconds = read.leaseTime(options);
  return {
    type: read.messageType(options),
    mac: message.htype === ETHERNET && message.chaddr.length === 6 ? macAddressFromBytes(message.chaddr) : null,
    clientIdentifier: read.clientIdentifier(options),
    firmware: firmwareOf({
      vendorClass: read.vendorClassIdentifier(options),
      userClass: read.userClass(options),
      architectures: read.clientSystemArchitecture(options),
      ipxe: read.ipxe(options),
    }),
    hostname: hostnameOf(read.hostName(options)),
    requested: specified(read.requestedAddress(options)),
    server: specified(read.serverIdentifier(options)),
    ciaddr: specified(message.ciaddr),
    giaddr: specified(message.giaddr),
    subnetSelection: specified(read.subnetSelection(options)),
    relay: relay === undefined ? undefined : readRelayAgentInformation(relay),
    leaseTime: seconds === undefined ? null : ((seconds * 1000) as Millis),
    rapidCommit: read.rapidCommit(options) !== undefined,
    parameterRequestList: requestList(options),
    maximumSize: Math.min(Math.max(read.maximumMessageSize(options) ?? 576, 576) - IP_AND_UDP, LARGEST_REPLY),
  };
}

function requestList(options: OptionBytes): Uint8Array | undefined {
  const list = options.get(dhcpOptions.parameterRequestList.code);
  if (list?.length === 0) throw new MalformedFault("parameterRequestList", 0, 1, 0);
  return list;
}

function specified(address: Ipv4Address | undefined): Ipv4Address | null {
  return address === undefined || address === UNSPECIFIED ? null : address;
}

/** Kept only when it is a name; what strangers send goes into logs and answers. */
function hostnameOf(text: string | undefined): string | null {
  return text !== undefined && /^[A-Za-z0-9._-]{1,255}$/.test(text) ? text : null;
}

/**
 * What the client's lease is stored under. A machine passes through firmware, iPXE, ramdisk and its own system, each with
 * another client identifier, and must keep its address: firmware and enrolled machines go by their MAC address, as does
 * an identifier that is only the MAC again. Firmware's identifier may also be the machine's UUID, the same for each of
 * its NICs. Everybody else goes by the identifier (RFC 2131 §4.2). null: nothing tells this client from others.
 */
export function leaseClient(client: DhcpClient, message: Dhcp4Message, managed: boolean): string | null {
  const { mac, clientIdentifier } = client;
  if (clientIdentifier === undefined || (mac !== null && (managed || client.firmware.program !== "system"))) {
    if (mac !== null) return `mac:${mac}`;
    return message.chaddr.length === 0 ? null : `hw:${message.htype}:${hex(message.chaddr)}`;
  }
  if (mac !== null && isHardwareAddress(clientIdentifier, message)) return `mac:${mac}`;
  return `id:${hex(clientIdentifier)}`;
}

/** The type of hardware, then its address: the usual identifier (RFC 2132 §9.14). */
function isHardwareAddress(clientIdentifier: Uint8Array, { htype, chaddr }: Dhcp4Message): boolean {
  if (clientIdentifier.length !== chaddr.length + 1 || clientIdentifier[0] !== htype) return false;
  return chaddr.every((octet, at) => clientIdentifier[at + 1] === octet);
}

/** Most specific first: what the operator tied to a switch port, then to an identifier, then to a NIC. */
export function reservationKeys(client: DhcpClient): readonly ReservationKey[] {
  const keys: ReservationKey[] = [];
  const circuit = client.relay?.circuitId ?? null;
  if (circuit !== null) keys.push({ kind: "circuit-id", hex: hex(circuit) });
  if (client.clientIdentifier !== undefined) keys.push({ kind: "client-id", hex: hex(client.clientIdentifier) });
  if (client.mac !== null) keys.push({ kind: "mac", mac: client.mac });
  return keys;
}

/** `reserved`: whether there are reservations at all. */
export function addressQuery(
  client: DhcpClient,
  kind: AddressQuery["kind"],
  leaseUnder: string,
  reserved: boolean,
): AddressQuery {
  return {
    kind,
    client: leaseUnder,
    mac: client.mac,
    keys: reserved ? reservationKeys(client) : [],
    hostname: client.hostname,
    requested: client.requested,
    ciaddr: client.ciaddr,
    server: client.server,
    leaseTime: client.leaseTime,
    rapidCommit: client.rapidCommit,
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
