import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { MalformedFault, toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import { type AddressDecision, type AddressQuery, type AddressView, decideAddress } from "../domain/address-policy.ts";
import type { BootPlan } from "../domain/boot-plan.ts";
import { OfferTable } from "../domain/offer-table.ts";
import type { LeaseReader, Store } from "../domain/store.ts";
import {
  broadcastAddress,
  type PreparedSubnet,
  prepareSubnet,
  selectSubnet,
  type Subnet,
  subnetMask,
} from "../domain/subnet.ts";
import type { DatagramSocket, ReceivedDatagram } from "../net/datagram.ts";
import { type Dhcp4Message, decodeMessage, UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import {
  dhcpOptions,
  encodeOption,
  encodeOptions,
  type OptionBytes,
  type OptionValues,
} from "../protocol/dhcp4/options.ts";
import { broadcastDestination, type Destination, replyDestination } from "../protocol/dhcp4/reply-destination.ts";
import { type BootSettings, findMachine, planFor } from "./boot-lookup.ts";
import { addressQuery, type DhcpClient, leaseClient, readClient } from "./dhcp-client.ts";
import { encodeReply, type ReplyContents } from "./dhcp-reply.ts";
import { MinuteLog } from "./minute-log.ts";

/** One interface that DHCP is served on. */
export interface DhcpLink {
  readonly interface: string;
  /** Ours on it: what clients know the server by and where they find the boot services. */
  readonly address: Ipv4Address;
  /** Bound to port 67 of this interface alone. The service closes it. */
  readonly socket: DatagramSocket;
  /**
   * Makes an address reachable whose owner does not answer ARP yet, so that it is answered by unicast (RFC 2131 §4.1);
   * null: it is answered by broadcast. May throw; then it is broadcast too.
   */
  readonly introduce: ((address: Ipv4Address, mac: MacAddress) => void) | null;
}

/** Tells who has an address on a link. */
export interface AddressProbe {
  holder(address: Ipv4Address, link: DhcpLink): Promise<MacAddress | null>;
}

export interface DhcpSubnet {
  readonly subnet: Subnet;
  /** Router, name servers and the like, by name. Mask and broadcast address come from the subnet. */
  readonly options: OptionValues;
  /** Options without a name here, by code. */
  readonly otherOptions?: OptionBytes;
}

export interface DhcpServiceOptions {
  readonly store: Pick<Store, "nodes" | "ports" | "leases" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: readonly DhcpLink[];
  readonly subnets: readonly DhcpSubnet[];
  readonly boot: BootSettings;
  /** This is the only server here: what it does not know is refused or taken over, not left alone. */
  readonly authoritative: boolean;
  readonly rapidCommit: boolean;
  /** Machines that nobody enrolled get addresses too. */
  readonly serveUnknown: boolean;
  readonly offerTime: Millis;
  readonly quarantine: Millis;
  /** Asked before an address is offered that its client has no claim to (RFC 2131 §4.3.1); null: it is not asked. */
  readonly probe: AddressProbe | null;
}

export interface DhcpCounters {
  readonly received: number;
  readonly malformed: number;
  readonly offers: number;
  readonly acks: number;
  readonly naks: number;
  readonly bootp: number;
  readonly returned: number;
  readonly silent: number;
  readonly failed: number;
  readonly dropped: number;
  /** Addresses that a machine was found to use without a lease. */
  readonly conflicts: number;
  readonly offersHeld: number;
}

type Offered = Extract<AddressDecision, { readonly kind: "offer" }>;

/** A message on its way through the service. */
interface Exchange {
  readonly link: DhcpLink;
  readonly from: ReceivedDatagram["from"];
  readonly message: Dhcp4Message;
  readonly client: DhcpClient;
  readonly query: AddressQuery;
  readonly subnet: ServedSubnet | undefined;
  /** What we are to this client: the relay's override before our address (RFC 5107 §4). */
  readonly server: Ipv4Address;
}

interface ServedSubnet {
  readonly prepared: PreparedSubnet;
  readonly options: OptionBytes;
}

/** Kinds of BOOTREQUEST that are for servers; the rest is for others or not spoken here. */
const QUERY_KINDS: ReadonlyMap<string, AddressQuery["kind"]> = new Map([
  ["discover", "discover"],
  ["request", "request"],
  ["decline", "decline"],
  ["release", "release"],
  ["inform", "inform"],
]);
const SWEEP_INTERVAL = 30_000;
/** Beyond so many at once, offers go out unprobed rather than late. */
const MOST_PROBES = 256;
/** So many addresses in use in a row, and the next is offered as it is: the client has its own probe (RFC 2131 §4.4.1). */
const PROBE_ATTEMPTS = 4;

/** The DHCP server: reads, asks the address policy and the boot plan, stores, answers. */
export class DhcpService implements AsyncDisposable {
  readonly #options: DhcpServiceOptions;
  readonly #subnets: readonly ServedSubnet[];
  readonly #prepared: readonly PreparedSubnet[];
  readonly #offers = new OfferTable();
  readonly #malformed: MinuteLog;
  readonly #counts = {
    received: 0,
    malformed: 0,
    offers: 0,
    acks: 0,
    naks: 0,
    bootp: 0,
    returned: 0,
    silent: 0,
    failed: 0,
    conflicts: 0,
  };
  readonly #probing = new Map<string, Promise<void>>();
  #pending: Exchange[] = [];
  #committing: Promise<void> | undefined;
  #loops: readonly Promise<void>[] = [];
  #cancelSweep: (() => void) | undefined;

  /** @throws Fault invalid when a subnet contradicts itself */
  constructor(options: DhcpServiceOptions) {
    this.#options = options;
    this.#subnets = options.subnets.map(serve);
    this.#prepared = this.#subnets.map((one) => one.prepared);
    this.#malformed = new MinuteLog({ clock: options.clock, log: options.log, event: "dhcp.malformed" });
  }

  start(): void {
    const { links, log } = this.#options;
    this.#loops = links.map((link) => this.#serveLink(link));
    this.#sweepLater();
    for (const link of links) {
      log.info("dhcp.listening", {
        interface: link.interface,
        address: link.address,
        port: String(link.socket.local.port),
      });
    }
  }

  counters(): DhcpCounters {
    const dropped = this.#options.links.reduce((sum, link) => sum + link.socket.dropped, 0);
    return { ...this.#counts, dropped, offersHeld: this.#offers.size };
  }

  #sweepLater(): void {
    const { clock } = this.#options;
    this.#cancelSweep = clock.after(SWEEP_INTERVAL as Millis, () => {
      this.#offers.sweep(clock.now());
      this.#sweepLater();
    });
  }

  async #serveLink(link: DhcpLink): Promise<void> {
    for await (const batch of link.socket.receive()) {
      for (const datagram of batch) this.#receive(link, datagram);
    }
  }

  #receive(link: DhcpLink, datagram: ReceivedDatagram): void {
    this.#counts.received += 1;
    try {
      const message = decodeMessage(datagram.bytes);
      // Replies of other servers reach port 67 only by mistake.
      if (message.op !== "request") return;
      const exchange = this.#open(link, datagram, message);
      if (exchange !== undefined) this.#handle(exchange);
    } catch (error) {
      if (error instanceof MalformedFault) {
        this.#counts.malformed += 1;
        this.#malformed.report(error.field, {
          interface: link.interface,
          peer: datagram.from.address,
          reason: error.message,
          bytes: datagram.bytes.length,
        });
      } else {
        this.#counts.failed += 1;
        this.#options.log.error("dhcp.failed", { interface: link.interface, peer: datagram.from.address }, error);
      }
    }
  }

  #open(link: DhcpLink, datagram: ReceivedDatagram, message: Dhcp4Message): Exchange | undefined {
    const client = readClient(message);
    const kind = client.type === undefined ? "bootp" : QUERY_KINDS.get(client.type);
    if (kind === undefined) {
      this.#silence(link, message, client, `a ${client.type} is not for this server`);
      return undefined;
    }
    const managed = client.mac !== null && this.#options.store.ports.byAddress(client.mac) !== undefined;
    const leaseUnder = leaseClient(client, message, managed);
    if (leaseUnder === null) {
      this.#silence(link, message, client, "neither hardware address nor client identifier");
      return undefined;
    }
    if (!managed && !this.#options.serveUnknown && !this.#options.boot.policy.discovery) {
      this.#silence(link, message, client, "port unknown, and only enrolled machines get addresses");
      return undefined;
    }
    const prepared = selectSubnet(this.#prepared, {
      interface: link.interface,
      linkSelection: client.relay?.linkSelection ?? null,
      subnetSelection: client.subnetSelection,
      giaddr: client.giaddr,
      ciaddr: client.ciaddr,
    });
    return {
      link,
      from: datagram.from,
      message,
      client,
      query: addressQuery(client, kind, leaseUnder),
      subnet: this.#subnets.find((one) => one.prepared === prepared),
      server: client.relay?.serverIdentifierOverride ?? link.address,
    };
  }

  #handle(exchange: Exchange): void {
    const { kind } = exchange.query;
    // What ends in a lease is decided where the leases are that were granted a moment before: in the transaction.
    if (kind === "discover" || kind === "inform") {
      const decision = this.#decide(exchange, this.#options.store.leases);
      if (decision.kind === "ack") this.#enqueue(exchange);
      else if (decision.kind === "offer" && this.#mustProbe(exchange, decision)) this.#probe(exchange, decision);
      else this.#carryOut(exchange, decision);
    } else {
      this.#enqueue(exchange);
    }
  }

  #decide(exchange: Exchange, leases: LeaseReader): AddressDecision {
    const { clock, authoritative, rapidCommit, quarantine } = this.#options;
    const view: AddressView = {
      subnet: exchange.subnet?.prepared,
      leases,
      offers: this.#offers,
      now: clock.now(),
      wall: clock.wall().getTime(),
      servers:
        exchange.server === exchange.link.address ? [exchange.link.address] : [exchange.server, exchange.link.address],
      authoritative,
      rapidCommit,
      quarantine,
    };
    return decideAddress(exchange.query, view);
  }

  #mustProbe(exchange: Exchange, offer: Offered): boolean {
    const local =
      exchange.client.giaddr === null && exchange.subnet?.prepared.subnet.interface === exchange.link.interface;
    if (this.#options.probe === null || !local) return false;
    return this.#probing.has(exchange.query.client) || (offer.fresh && this.#probing.size < MOST_PROBES);
  }

  /** The offer waits until nobody answered for its address; meanwhile the address is held and the client's repetitions pass. */
  #probe(exchange: Exchange, offer: Offered): void {
    const { client } = exchange.query;
    if (this.#probing.has(client)) return;
    this.#hold(exchange, offer);
    const probing = this.#offerUnlessHeld(exchange, offer)
      .catch((error: unknown) => {
        this.#counts.failed += 1;
        this.#options.log.error("dhcp.failed", { interface: exchange.link.interface, address: offer.address }, error);
      })
      .finally(() => this.#probing.delete(client));
    this.#probing.set(client, probing);
  }

  async #offerUnlessHeld(exchange: Exchange, first: Offered): Promise<void> {
    const { probe, store, clock, quarantine, log } = this.#options;
    let offer = first;
    for (let attempt = 0; probe !== null && attempt < PROBE_ATTEMPTS; attempt += 1) {
      const { address } = offer;
      const holder = await probe.holder(address, exchange.link);
      // The kernel may still know the former owner, or the client itself, from the time when it had the address.
      if (holder === null || holder === exchange.client.mac || holder === store.leases.byAddress(address)?.mac) break;
      this.#counts.conflicts += 1;
      log.warn("dhcp.conflict", { interface: exchange.link.interface, address, mac: holder });
      const expiresAt = clock.wall().getTime() + quarantine;
      await store.commit((tx) =>
        tx.leases.put({
          address,
          client: `declined:${address}`,
          mac: holder,
          hostname: null,
          state: "declined",
          expiresAt,
        }),
      );
      this.#offers.forget(exchange.query.client);
      const next = this.#decide(exchange, store.leases);
      if (next.kind !== "offer") {
        this.#carryOut(exchange, next);
        return;
      }
      offer = next;
      this.#hold(exchange, offer);
      if (!offer.fresh) break;
    }
    this.#carryOut(exchange, offer);
  }

  #hold(exchange: Exchange, offer: Offered): void {
    const until = (this.#options.clock.now() + this.#options.offerTime) as Millis;
    this.#offers.hold({ address: offer.address, client: exchange.query.client, until });
  }

  #enqueue(exchange: Exchange): void {
    this.#pending.push(exchange);
    this.#committing ??= this.#commitPending();
  }

  /** While one group is on its way to the disk the next one gathers: one wait for the disk serves many clients. */
  async #commitPending(): Promise<void> {
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      await this.#commitGroup(group);
    }
    this.#committing = undefined;
  }

  async #commitGroup(group: readonly Exchange[]): Promise<void> {
    let decided: readonly { readonly exchange: Exchange; readonly decision: AddressDecision }[];
    try {
      decided = await this.#options.store.commit((tx) =>
        group.map((exchange) => {
          const decision = this.#decide(exchange, tx.leases);
          if (decision.kind === "ack") {
            if (decision.instead !== null) tx.leases.delete(decision.instead);
            tx.leases.put(decision.lease);
          }
          if (decision.kind === "returned") tx.leases.put(decision.lease);
          return { exchange, decision };
        }),
      );
    } catch (error) {
      const fault = toFault(error);
      this.#counts.failed += group.length;
      this.#options.log.error(
        "dhcp.failed",
        { reason: fault.message, code: fault.code, messages: group.length },
        error,
      );
      return;
    }
    for (const { exchange, decision } of decided) {
      try {
        this.#carryOut(exchange, decision);
      } catch (error) {
        this.#counts.failed += 1;
        this.#options.log.error(
          "dhcp.failed",
          { xid: xidOf(exchange.message), mac: exchange.client.mac ?? undefined },
          error,
        );
      }
    }
  }

  /** Only after what the decision promises is on disk. */
  #carryOut(exchange: Exchange, decision: AddressDecision): void {
    const { client, query, message, link, server } = exchange;
    switch (decision.kind) {
      case "silent":
        // The client took another server's offer: ours is free again.
        if (query.kind === "request" && query.server !== null && query.server !== server)
          this.#offers.forget(query.client);
        this.#silence(link, message, client, decision.reason);
        return;
      case "returned":
        this.#offers.forget(query.client);
        this.#counts.returned += 1;
        this.#options.log.info("dhcp.returned", {
          ...this.#fields(link, message, client),
          type: client.type,
          reason: decision.reason,
        });
        return;
      case "nak":
        this.#counts.naks += 1;
        this.#offers.forget(query.client);
        this.#reply(
          exchange,
          { type: "nak", yiaddr: UNSPECIFIED, leaseTime: null, hostname: null, boot: null, message: decision.reason },
          decision.reason,
        );
        return;
      case "offer":
        this.#counts.offers += 1;
        this.#hold(exchange, decision);
        this.#replyWithAddress(exchange, "offer", decision, decision.reason);
        return;
      case "ack":
        this.#offers.forget(query.client);
        if (query.kind === "bootp") this.#counts.bootp += 1;
        else this.#counts.acks += 1;
        this.#replyWithAddress(exchange, query.kind === "bootp" ? "bootp" : "ack", decision, decision.reason);
        return;
      case "inform":
        this.#counts.acks += 1;
        this.#replyWithAddress(
          exchange,
          "ack",
          { address: UNSPECIFIED, leaseTime: null, hostname: null },
          decision.reason,
        );
        return;
    }
  }

  #replyWithAddress(
    exchange: Exchange,
    type: "offer" | "ack" | "bootp",
    given: { readonly address: Ipv4Address; readonly leaseTime: Millis | null; readonly hostname: string | null },
    reason: string,
  ): void {
    const plan = this.#plan(exchange);
    this.#reply(
      exchange,
      {
        type,
        yiaddr: given.address,
        leaseTime: type === "bootp" ? null : given.leaseTime,
        hostname: given.hostname,
        boot: plan?.network ?? null,
        message: null,
      },
      reason,
      plan,
    );
  }

  #plan({ client, link }: Exchange): BootPlan | undefined {
    if (client.mac === null) return undefined;
    const machine = { mac: client.mac, firmware: client.firmware, address: link.address };
    return planFor(this.#options.store, this.#options.boot, machine).plan;
  }

  #reply(
    exchange: Exchange,
    contents: Omit<ReplyContents, "server" | "options">,
    reason: string,
    plan?: BootPlan,
  ): void {
    const { message, client, link, from, server, subnet } = exchange;
    const encoded = encodeReply(message, client, { ...contents, server, options: subnet?.options ?? new Map() });
    const to = replyDestination({
      type: contents.type,
      giaddr: message.giaddr,
      ciaddr: message.ciaddr,
      broadcast: message.broadcast,
      yiaddr: contents.yiaddr,
      source: { address: from.address as Ipv4Address, port: from.port },
      relayUsesSourcePort: client.relay?.usesSourcePort ?? false,
      reachesUnconfigured: client.mac !== null && link.introduce !== null,
    });
    const destination =
      to.kind === "unicast" && to.address === contents.yiaddr ? this.#introduced(link, client, to) : to;
    const fields = {
      ...this.#fields(link, message, client),
      type: client.type ?? "bootp",
      answer: contents.type,
      ...(contents.yiaddr === UNSPECIFIED ? {} : { address: contents.yiaddr }),
      to: `${destination.kind} ${destination.address}`,
      reason,
      firmware:
        client.firmware.program === "system" ? undefined : `${client.firmware.program} ${client.firmware.architecture}`,
      ...(plan === undefined
        ? {}
        : { boot: plan.network.kind === "file" ? plan.network.file : "none", boot_reason: plan.network.reason }),
      ...(encoded.omitted.length === 0 ? {} : { omitted: [...encoded.omitted] }),
    };
    this.#send(link, encoded.bytes, destination, fields);
  }

  #introduced(link: DhcpLink, client: DhcpClient, to: Destination): Destination {
    try {
      if (client.mac !== null && client.ciaddr === null) link.introduce?.(to.address, client.mac);
      return to;
    } catch (error) {
      this.#options.log.debug("dhcp.failed", {
        interface: link.interface,
        mac: client.mac ?? undefined,
        reason: toFault(error).message,
      });
      return broadcastDestination;
    }
  }

  #send(link: DhcpLink, bytes: Uint8Array, to: Destination, fields: Parameters<Log["info"]>[1]): void {
    const { log } = this.#options;
    log.info("dhcp.answered", fields);
    link.socket.send(bytes, to).catch((error: unknown) => {
      const fault = toFault(error);
      if (fault.kind === "cancelled") return;
      this.#counts.failed += 1;
      log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
    });
  }

  #silence(link: DhcpLink, message: Dhcp4Message, client: DhcpClient, reason: string): void {
    this.#counts.silent += 1;
    this.#options.log.info("dhcp.silent", {
      ...this.#fields(link, message, client),
      type: client.type ?? "bootp",
      reason,
    });
  }

  #fields(link: DhcpLink, message: Dhcp4Message, client: DhcpClient): { readonly [field: string]: string | undefined } {
    const known = client.mac === null ? undefined : findMachine(this.#options.store, client.mac);
    return {
      interface: link.interface,
      xid: xidOf(message),
      mac: client.mac ?? undefined,
      node: known?.node?.uuid,
      relay: client.giaddr ?? undefined,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelSweep?.();
    await Promise.all(this.#probing.values());
    await this.#committing;
    await Promise.all(this.#options.links.map((link) => link.socket.close()));
    await Promise.all(this.#loops);
  }
}

function xidOf(message: Dhcp4Message): string {
  return message.xid.toString(16).padStart(8, "0");
}

function serve({ subnet, options, otherOptions }: DhcpSubnet): ServedSubnet {
  const prepared = prepareSubnet(subnet);
  const bytes = new Map<number, Uint8Array>();
  bytes.set(dhcpOptions.subnetMask.code, encodeOption("subnetMask", subnetMask(prepared)));
  bytes.set(dhcpOptions.broadcastAddress.code, encodeOption("broadcastAddress", broadcastAddress(prepared)));
  for (const [code, value] of encodeOptions(options)) bytes.set(code, value);
  for (const [code, value] of otherOptions ?? []) bytes.set(code, value);
  return { prepared, options: bytes };
}
