import type { BootServices } from "../domain/boot-plan.ts";
import { FreeAddresses } from "../domain/free-addresses.ts";
import { type PreparedSubnet6, prepareSubnet6, selectSubnet6, type Subnet6 } from "../domain/subnet6.ts";
import type { DatagramEndpoint, DatagramServer } from "../net/datagram.ts";
import type { ClientServerMessage } from "../protocol/dhcp6/message.ts";
import type { KnownMachine } from "./boot-lookup.ts";
import { type Delivered, type Dhcp6Client, isSameDuid } from "./dhcp6-client.ts";
import type { Dhcp6Link } from "./dhcp6-link.ts";
import type { Link6Options } from "./dhcp6-reply.ts";

export interface Dhcp6Subnet {
  readonly subnet: Subnet6;
  readonly options: Link6Options;
}

/** A link with what is the same for all its clients. */
export interface ServedLink6 {
  readonly link: Dhcp6Link;
  readonly services: BootServices;
}

export interface ServedSubnet6 {
  readonly prepared: PreparedSubnet6;
  readonly free: FreeAddresses;
  readonly options: Link6Options;
}

/** A message on its way through the service, with everything that the answer depends on. */
export interface Exchange6 {
  readonly served: ServedLink6;
  /** That the request was heard on; the answer leaves by it. */
  readonly socket: DatagramServer;
  readonly from: DatagramEndpoint;
  readonly delivered: Delivered;
  readonly client: Dhcp6Client;
  readonly known: KnownMachine;
  /** Of the message. */
  readonly type: RequestType;
  readonly subnet: ServedSubnet6;
}

/** What arrived, before it is known whether it is for us. */
export type Arrival6 = Omit<Exchange6, "type" | "subnet">;

export interface Exchange6Rules {
  readonly subnets: readonly ServedSubnet6[];
  readonly prepared: readonly PreparedSubnet6[];
  /** Ours. */
  readonly duid: Uint8Array;
}

/** What each message must and must not name. @source RFC 8415 §16.2 to §16.12 */
const RULES = {
  solicit: { client: "must", server: "must-not" },
  request: { client: "must", server: "must" },
  confirm: { client: "must", server: "must-not" },
  renew: { client: "must", server: "must" },
  rebind: { client: "must", server: "must-not" },
  release: { client: "must", server: "must" },
  decline: { client: "must", server: "must" },
  informationRequest: { client: "may", server: "may" },
} as const satisfies Partial<Record<ClientServerMessage["type"], object>>;

type RequestType = keyof typeof RULES;

/** The subnet, made ready. @throws Fault invalid when it contradicts itself */
export function serveSubnet6({ subnet, options }: Dhcp6Subnet): ServedSubnet6 {
  const prepared = prepareSubnet6(subnet);
  return { prepared, free: new FreeAddresses(prepared.pool.size), options };
}

/** The exchange that a message opens, or why it is none of ours. */
export function openExchange6(arrival: Arrival6, rules: Exchange6Rules): Exchange6 | { readonly silence: string } {
  const { client, delivered, served } = arrival;
  const { type } = delivered.message;
  if (!isRequestType(type)) return { silence: `a ${type} is not for this server` };
  const wrong = breaksRules(client, type, rules.duid);
  if (wrong !== undefined) return { silence: wrong };
  const { linkAddress } = client;
  const prepared = selectSubnet6(rules.prepared, { interface: served.link.interface, linkAddress });
  const subnet = rules.subnets.find((one) => one.prepared === prepared);
  if (subnet === undefined) return { silence: "no subnet is configured for this link" };
  return { ...arrival, type, subnet };
}

/** Why the message must be passed over, if it must. */
function breaksRules(
  { duid, server, associations, temporary, prefixes }: Dhcp6Client,
  type: RequestType,
  own: Uint8Array,
): string | undefined {
  const rule = RULES[type];
  if (rule.client === "must" && duid === undefined) return "it names no client";
  if (rule.server === "must-not" && server !== undefined) return "it names a server, and must not";
  if (rule.server === "must" && server === undefined) return "it names no server";
  if (server !== undefined && !isSameDuid(server, own)) return "it is for another server";
  if (type === "informationRequest" && associations.length + temporary.length + prefixes.length > 0)
    return "it asks for options only, and names an association (RFC 8415 §16.12)";
  return undefined;
}

function isRequestType(type: ClientServerMessage["type"]): type is RequestType {
  return Object.hasOwn(RULES, type);
}
