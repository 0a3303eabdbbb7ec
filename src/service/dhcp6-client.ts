import { hexOfWord, type MacAddress } from "../core/brand.ts";
import { MalformedFault } from "../core/fault.ts";
import { type Ipv6Address, parseZonedIpv6Address } from "../core/ipv6-address.ts";
import type { Firmware } from "../domain/boot-firmware.ts";
import type { Reservation6Key } from "../domain/subnet6.ts";
import { hardwareAddressOf } from "../protocol/dhcp6/hardware-address.ts";
import { type ClientServerMessage, decodeMessage, type RelayMessage } from "../protocol/dhcp6/message.ts";
import { dhcp6Options, type OptionName, readOption, readOptions } from "../protocol/dhcp6/options.ts";
import { firmwareOf } from "./dhcp-firmware.ts";

/** A client's message with the relays that it came through, the one beside us first. */
export interface Delivered {
  readonly message: ClientServerMessage;
  readonly relays: readonly RelayMessage[];
}

/** @source RFC 8415 §7.6 (HOP_COUNT_LIMIT) */
const MOST_RELAYS = 8;

/** Takes the message out of what relays packed it into. null: it is not for a server. @throws MalformedFault */
export function unpack(bytes: Uint8Array): Delivered | null {
  const relays: RelayMessage[] = [];
  let message = decodeMessage(bytes);
  while (message.kind === "relay") {
    if (message.type !== "relayForward") return null;
    if (relays.length >= MOST_RELAYS)
      throw new MalformedFault("relay", 0, MOST_RELAYS, MOST_RELAYS + 1, "relay: more relays than may be");
    relays.push(message);
    const inner = readOption(message.options, "relayMessage");
    if (inner === undefined) throw new MalformedFault("relay", 0, 1, 0, "relay: there is no message in it");
    message = decodeMessage(inner);
  }
  return { message, relays };
}

/** What a client asks for one association, and under which number. */
export interface AskedAssociation {
  readonly iaid: number;
  readonly addresses: readonly Ipv6Address[];
}

/** What a message says about its client, read once. */
export interface Dhcp6Client {
  readonly duid: Uint8Array | undefined;
  readonly server: Uint8Array | undefined;
  readonly mac: MacAddress | null;
  readonly firmware: Firmware;
  readonly associations: readonly AskedAssociation[];
  /** IAIDs of what is not given out here. */
  readonly temporary: readonly number[];
  readonly prefixes: readonly number[];
  readonly requested: readonly number[] | undefined;
  readonly rapidCommit: boolean;
  /** How long it has been trying, in hundredths of a second. */
  readonly elapsed: number | undefined;
  /** Where the relay beside the client stands; null: it says nothing, or there is none. */
  readonly linkAddress: Ipv6Address | null;
  /** What the vendor class answered to must repeat. */
  readonly enterprise: number | null;
}

/** More associations in one message are answered as if the pool were empty. */
export const MOST_ASSOCIATIONS = 8;
const UNSPECIFIED = "::";

/** @throws MalformedFault when an option that matters is not of its form */
export function readClient6({ message, relays }: Delivered, source: string): Dhcp6Client {
  const { options } = message;
  const nearest = relays.at(-1);
  const duid = readOption(options, "clientIdentifier");
  const vendorClass = readOptions(options, "vendorClass")[0];
  const [vendorData] = vendorClass?.data ?? [];
  const linkAddress = relays.findLast((relay) => relay.linkAddress !== UNSPECIFIED)?.linkAddress ?? null;
  return {
    duid,
    server: readOption(options, "serverIdentifier"),
    mac: hardwareAddressOf({
      relayed: nearest === undefined ? undefined : readOption(nearest.options, "clientLinkLayerAddress"),
      peer: nearest?.peerAddress ?? parseZonedIpv6Address(source),
      duid,
    }),
    firmware: firmwareOf({
      vendorClass: vendorData === undefined ? undefined : Buffer.from(vendorData).toString("latin1"),
      userClass: readOptions(options, "userClass")[0]?.[0],
      architectures: readOption(options, "clientArchitecture"),
      ipxe: undefined,
    }),
    associations: readOptions(options, "nonTemporaryAddresses").map((ia) => ({
      iaid: ia.iaid,
      addresses: readOptions(ia.options, "address").map(({ address }) => address),
    })),
    temporary: readOptions(options, "temporaryAddresses").map(({ iaid }) => iaid),
    prefixes: readOptions(options, "delegatedPrefixes").map(({ iaid }) => iaid),
    requested: readOption(options, "optionRequest"),
    rapidCommit: readOption(options, "rapidCommit") !== undefined,
    elapsed: readOption(options, "elapsedTime"),
    linkAddress,
    enterprise: vendorClass?.enterprise ?? null,
  };
}

/** What the client's lease is stored under. */
export function leaseClient6(duid: Uint8Array, iaid: number): string {
  return `duid:${hex(duid)}/${hexOfWord(iaid)}`;
}

/** A DUID is of one machine, a MAC address of one card of it: what names more comes first. */
export function reservation6Keys({ duid, mac }: Dhcp6Client): readonly Reservation6Key[] {
  const keys: Reservation6Key[] = [];
  if (mac !== null) keys.push({ kind: "mac", mac });
  if (duid !== undefined) keys.push({ kind: "duid", hex: hex(duid) });
  return keys;
}

export function isSameDuid(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, at) => octet === b[at]);
}

/** Whether it wants this option; who names none at all wants everything. */
export function asksFor({ requested }: Dhcp6Client, name: OptionName): boolean {
  return requested === undefined || requested.includes(dhcp6Options[name].code);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
