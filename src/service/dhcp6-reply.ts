import type { Millis } from "../core/units.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { AssociationDecision } from "../domain/address6-policy.ts";
import { type BootServices, type NetworkBoot, urlHost } from "../domain/boot-plan.ts";
import { type ClientServerMessage, encodeMessage, type RelayMessage } from "../protocol/dhcp6/message.ts";
import { dhcp6Options, option, type StatusName, statusCodes } from "../protocol/dhcp6/options.ts";
import type { RawOption } from "../protocol/dhcp6/raw-options.ts";
import { asksFor, type Dhcp6Client } from "./dhcp6-client.ts";

/** What machines of one link are told besides addresses. */
export interface Link6Options {
  readonly nameServers: readonly Ipv6Address[];
  readonly domainSearch: readonly string[];
}

/** An association with what was decided about it. */
export interface AnsweredAssociation {
  readonly iaid: number;
  readonly decision: AssociationDecision;
}

/** What a reply says beyond what it repeats of the request. */
export interface Reply6Contents {
  readonly type: "advertise" | "reply";
  readonly associations: readonly AnsweredAssociation[];
  /** Of the whole message; null: none. */
  readonly status: { readonly name: StatusName; readonly message: string } | null;
  /** null: nothing besides identifiers and status. */
  readonly told: {
    readonly options: Link6Options;
    readonly boot: NetworkBoot | null;
    readonly services: BootServices;
  } | null;
  readonly lifetimes: { readonly preferred: Millis; readonly valid: Millis };
  readonly rapidCommit: boolean;
  /** Of ADVERTISE; 0: none. */
  readonly preference: number;
}

/** So often, in seconds, does a client ask for ever that nobody answers, where RFC 8415 would have it wait an hour. */
const SOL_MAX_RT = 60;

/** The reply, without relays. @source RFC 8415 §18.3.9, §18.3.10 */
export function replyMessage(
  request: ClientServerMessage,
  client: Dhcp6Client,
  contents: Reply6Contents,
  server: Uint8Array,
): ClientServerMessage {
  const options: RawOption[] = [];
  if (client.duid !== undefined) options.push(option("clientIdentifier", client.duid));
  options.push(option("serverIdentifier", server));
  if (contents.preference > 0) options.push(option("preference", contents.preference));
  if (contents.rapidCommit) options.push(option("rapidCommit", true));
  if (contents.status !== null) options.push(statusOption(contents.status.name, contents.status.message));
  for (const answered of contents.associations) options.push(associationOption(answered, contents));
  options.push(...refusals(request, client));
  if (contents.told !== null) options.push(...toldOptions(client, contents.told));
  return { kind: "client-server", type: contents.type, transactionId: request.transactionId, options };
}

function statusOption(name: StatusName, message: string): RawOption {
  return option("statusCode", { code: statusCodes[name], message });
}

function associationOption({ iaid, decision }: AnsweredAssociation, { lifetimes }: Reply6Contents): RawOption {
  const none = { iaid, t1: 0, t2: 0 };
  switch (decision.kind) {
    case "granted": {
      const preferred = toSeconds(lifetimes.preferred);
      const given = option("address", {
        address: decision.address,
        preferredLifetime: preferred,
        validLifetime: toSeconds(lifetimes.valid),
        options: [],
      });
      // The recommended parts of the preferred lifetime (RFC 8415 §21.4).
      const [t1, t2] = [Math.floor(preferred * 0.5), Math.floor(preferred * 0.8)];
      const options = [given, ...decision.invalid.map(ended)];
      return option("nonTemporaryAddresses", { iaid, t1, t2, options });
    }
    case "invalid":
      return option("nonTemporaryAddresses", { ...none, options: decision.invalid.map(ended) });
    case "refused":
      return option("nonTemporaryAddresses", { ...none, options: [statusOption(decision.status, decision.reason)] });
    case "returned":
      return option("nonTemporaryAddresses", { ...none, options: [statusOption("success", decision.reason)] });
  }
}

/** To be used no more. */
function ended(address: Ipv6Address): RawOption {
  return option("address", { address, preferredLifetime: 0, validLifetime: 0, options: [] });
}

function toSeconds(time: Millis): number {
  return Math.floor(time / 1000);
}

/** Temporary addresses and prefixes are not given out here. */
function refusals({ type }: ClientServerMessage, { temporary, prefixes }: Dhcp6Client): readonly RawOption[] {
  if (type === "confirm" || type === "informationRequest") return [];
  const asks = type === "solicit" || type === "request";
  const noAddress = asks ? statusOption("noAddrsAvail", "no temporary addresses here") : unbound;
  const noPrefix = asks ? statusOption("noPrefixAvail", "no prefixes are delegated here") : unbound;
  return [
    ...temporary.map((iaid) => option("temporaryAddresses", { iaid, options: [noAddress] })),
    ...prefixes.map((iaid) => option("delegatedPrefixes", { iaid, t1: 0, t2: 0, options: [noPrefix] })),
  ];
}

const unbound = statusOption("noBinding", "not leased to this client");

function toldOptions(
  client: Dhcp6Client,
  { options, boot, services }: NonNullable<Reply6Contents["told"]>,
): readonly RawOption[] {
  const told: RawOption[] = [];
  if (options.nameServers.length > 0 && asksFor(client, "nameServers"))
    told.push(option("nameServers", options.nameServers));
  if (options.domainSearch.length > 0 && asksFor(client, "domainSearch"))
    told.push(option("domainSearch", options.domainSearch));
  if (client.requested !== undefined && asksFor(client, "solicitMaximumRetransmission"))
    told.push(option("solicitMaximumRetransmission", SOL_MAX_RT));
  if (boot?.kind !== "file") return told;
  if (asksFor(client, "bootFileUrl")) told.push(option("bootFileUrl", bootUrl(boot, services)));
  // Firmware takes the URL only from a server that says so in turn (UEFI 2.10 §24.7.3.1).
  if (boot.vendorClass !== null) {
    const data = [Buffer.from(boot.vendorClass, "latin1")];
    told.push(option("vendorClass", { enterprise: client.enterprise ?? 0, data }));
  }
  return told;
}

/** DHCPv6 has no other way to name a file than its URL. @source RFC 5970 §3.1 */
export function bootUrl(boot: Extract<NetworkBoot, { readonly kind: "file" }>, services: BootServices): string {
  return boot.by === "tftp" ? `tftp://${urlHost(services)}/${boot.file}` : boot.file;
}

/** What a relay wants back: Interface-Id (RFC 8415 §21.18), Relay Source Port (RFC 8357 §5.2). */
const ECHOED: readonly number[] = [dhcp6Options.interfaceId.code, dhcp6Options.relaySourcePort.code];

/** The reply's bytes, packed for the relays that the request came through. @source RFC 8415 §19.3 */
export function encodeReply6(reply: ClientServerMessage, relays: readonly RelayMessage[]): Uint8Array {
  return relays.reduceRight((inner, relay) => {
    const echoed = relay.options.filter(({ code }) => ECHOED.includes(code));
    return encodeMessage({ ...relay, type: "relayReply", options: [...echoed, option("relayMessage", inner)] });
  }, encodeMessage(reply));
}
