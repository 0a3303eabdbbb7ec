import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { AddressQuery } from "../domain/address-policy.ts";
import type { BootServices } from "../domain/boot-plan.ts";
import type { FreeAddresses } from "../domain/free-addresses.ts";
import { type PreparedSubnet, selectSubnet } from "../domain/subnet.ts";
import type { DatagramServer, ReceivedDatagram } from "../net/datagram.ts";
import type { Dhcp4Message } from "../protocol/dhcp4/message.ts";
import type { OptionBytes } from "../protocol/dhcp4/options.ts";
import type { KnownMachine } from "./boot-lookup.ts";
import { addressQuery, type DhcpClient, leaseClient } from "./dhcp-client.ts";

/** One interface that DHCP is served on. */
export interface DhcpLink {
  readonly interface: string;
  /** Ours on it: what clients know the server by and where they find the boot services. */
  readonly address: Ipv4Address;
  /** Bound to port 67 of this interface alone. The service closes it. */
  readonly socket: DatagramServer;
  /**
   * Makes an address reachable whose owner does not answer ARP yet, so that it is answered by unicast (RFC 2131 §4.1);
   * null: it is answered by broadcast. May throw; then it is broadcast too.
   */
  readonly introduce: ((address: Ipv4Address, mac: MacAddress) => void) | null;
}

/** A link with what is the same for all its clients. */
export interface ServedLink {
  readonly link: DhcpLink;
  readonly services: BootServices;
  /** What its clients may know us by. */
  readonly names: readonly Ipv4Address[];
}

export interface ServedSubnet {
  readonly prepared: PreparedSubnet;
  readonly free: FreeAddresses;
  readonly options: OptionBytes;
  /** Of a reserved address that has some of its own: all that its machine is told. */
  readonly reservedOptions: ReadonlyMap<Ipv4Address, OptionBytes>;
}

/** A message on its way through the service, with everything that the answer depends on. */
export interface Exchange {
  readonly served: ServedLink;
  readonly from: ReceivedDatagram["from"];
  readonly message: Dhcp4Message;
  readonly client: DhcpClient;
  readonly known: KnownMachine;
  readonly query: AddressQuery;
  readonly subnet: ServedSubnet | undefined;
  /** What we are to this client: the relay's override before our address (RFC 5107 §4). */
  readonly server: Ipv4Address;
}

/** Kinds of BOOTREQUEST that are for servers; the rest is for others or not spoken here. */
const QUERY_KINDS: ReadonlyMap<string | undefined, AddressQuery["kind"]> = new Map([
  [undefined, "bootp"],
  ["discover", "discover"],
  ["request", "request"],
  ["decline", "decline"],
  ["release", "release"],
  ["inform", "inform"],
]);

/** What arrived, before it is known whether it is for us. */
export type Arrival = Pick<Exchange, "served" | "from" | "message" | "client" | "known">;

export interface ExchangeRules {
  readonly subnets: readonly ServedSubnet[];
  readonly prepared: readonly PreparedSubnet[];
  /** Machines that nobody enrolled are answered too. */
  readonly serveUnknown: boolean;
}

/** The exchange that a message opens, or why it is none of ours. */
export function openExchange(arrival: Arrival, rules: ExchangeRules): Exchange | { readonly silence: string } {
  const { served, message, client, known } = arrival;
  const kind = QUERY_KINDS.get(client.type);
  if (kind === undefined) return { silence: `a ${client.type} is not for this server` };
  const managed = known.port !== undefined;
  const leaseUnder = leaseClient(client, message, managed);
  if (leaseUnder === null) return { silence: "neither hardware address nor client identifier" };
  if (!managed && !rules.serveUnknown) {
    return { silence: "port unknown, and only enrolled machines get addresses" };
  }
  const prepared = selectSubnet(rules.prepared, {
    interface: served.link.interface,
    linkSelection: client.relay?.linkSelection ?? null,
    subnetSelection: client.subnetSelection,
    giaddr: client.giaddr,
    ciaddr: client.ciaddr,
  });
  return {
    served,
    from: arrival.from,
    message,
    client,
    known,
    query: addressQuery(client, kind, leaseUnder, prepared !== undefined && prepared.reservedFor.size > 0),
    subnet: rules.subnets.find((one) => one.prepared === prepared),
    server: client.relay?.serverIdentifierOverride ?? served.link.address,
  };
}
