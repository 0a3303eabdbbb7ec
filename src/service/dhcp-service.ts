import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { assertNever, MalformedFault, toFault } from "../core/fault.ts";
import type { Log, LogFields } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import { type AddressDecision, type AddressView, decideAddress } from "../domain/address-policy.ts";
import type { BootPlan } from "../domain/boot-plan.ts";
import { OfferTable } from "../domain/offer-table.ts";
import type { LeaseReader, Store } from "../domain/store.ts";
import type { PreparedSubnet } from "../domain/subnet.ts";
import type { ReceivedDatagram } from "../net/datagram.ts";
import { type Dhcp4Message, decodeMessage, UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import { broadcastDestination, type Destination, replyDestination } from "../protocol/dhcp4/reply-destination.ts";
import { type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import { readClient } from "./dhcp-client.ts";
import {
  type Arrival,
  type DhcpLink,
  type Exchange,
  openExchange,
  type ServedLink,
  type ServedSubnet,
} from "./dhcp-exchange.ts";
import { encodeReply, type ReplyContents } from "./dhcp-reply.ts";
import { type DhcpSubnet, optionsFor, serveSubnet } from "./dhcp-subnet.ts";
import { MinuteLog } from "./minute-log.ts";

export type { DhcpLink } from "./dhcp-exchange.ts";
export type { DhcpSubnet } from "./dhcp-subnet.ts";

/** Tells who has an address on a link. */
export interface AddressProbe {
  holder(address: Ipv4Address, link: DhcpLink): Promise<MacAddress | null>;
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

const SWEEP_INTERVAL = 30_000;
/** Messages that wait for the disk; whoever comes behind them would be answered too late to care. */
const MOST_PENDING = 2048;
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
  #cancelSweep: (() => void) | undefined;

  /** @throws Fault invalid when a subnet contradicts itself */
  constructor(options: DhcpServiceOptions) {
    this.#options = options;
    this.#subnets = options.subnets.map(serveSubnet);
    this.#prepared = this.#subnets.map((one) => one.prepared);
    this.#malformed = new MinuteLog({ clock: options.clock, log: options.log, event: "dhcp.malformed" });
  }

  start(): void {
    const { links, boot, log } = this.#options;
    this.#sweepLater();
    for (const link of links) {
      const { interface: name, address, socket } = link;
      const served: ServedLink = { link, services: servicesAt(boot, address) };
      socket.listen((datagram) => this.#receive(served, datagram));
      log.info("dhcp.listening", { interface: name, address, port: String(socket.local.port) });
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

  #receive(served: ServedLink, datagram: ReceivedDatagram): void {
    this.#counts.received += 1;
    try {
      const message = decodeMessage(datagram.bytes);
      // Replies of other servers reach port 67 only by mistake.
      if (message.op !== "request") return;
      const client = readClient(message);
      const known = findMachine(this.#options.store, client.mac);
      this.#open({ served, from: datagram.from, message, client, known });
    } catch (error) {
      const where = { interface: served.link.interface, peer: datagram.from.address };
      if (error instanceof MalformedFault) {
        this.#counts.malformed += 1;
        this.#malformed.report(error.field, { ...where, reason: error.message, bytes: datagram.bytes.length });
      } else {
        this.#counts.failed += 1;
        this.#options.log.error("dhcp.failed", where, error);
      }
    }
  }

  #open(arrival: Arrival): void {
    const { serveUnknown, boot } = this.#options;
    const exchange = openExchange(arrival, {
      subnets: this.#subnets,
      prepared: this.#prepared,
      serveUnknown: serveUnknown || boot.policy.discovery,
    });
    if ("silence" in exchange) {
      this.#silence(arrival, exchange.silence);
      return;
    }
    const { kind } = exchange.query;
    // What ends in a lease is decided where the leases are that were granted a moment before: in the transaction.
    if (kind !== "discover" && kind !== "inform") {
      this.#enqueue(exchange);
      return;
    }
    const decision = this.#decide(exchange, this.#options.store.leases);
    if (decision.kind === "ack") this.#enqueue(exchange);
    else if (decision.kind === "offer" && this.#mustProbe(exchange, decision)) this.#probe(exchange, decision);
    else this.#carryOut(exchange, decision);
  }

  #decide(exchange: Exchange, leases: LeaseReader, alive: ReadonlySet<Ipv4Address> = noAddresses): AddressDecision {
    const { clock, store, authoritative, rapidCommit, quarantine } = this.#options;
    const { address } = exchange.served.link;
    const view: AddressView = {
      subnet: exchange.subnet?.prepared,
      leases,
      offers: this.#offers,
      now: clock.now(),
      wall: clock.wall().getTime(),
      servers: exchange.server === address ? [address] : [exchange.server, address],
      authoritative,
      rapidCommit,
      quarantine,
      enrolled: (mac) => store.ports.byAddress(mac) !== undefined,
      alive,
    };
    return decideAddress(exchange.query, view);
  }

  #mustProbe(exchange: Exchange, offer: Offered): boolean {
    const { client, subnet, served, query } = exchange;
    const local = client.giaddr === null && subnet?.prepared.subnet.interface === served.link.interface;
    if (this.#options.probe === null || !local) return false;
    return this.#probing.has(query.client) || (offer.fresh && this.#probing.size < MOST_PROBES);
  }

  /** The offer waits until nobody answered for its address; meanwhile the address is held and the client's repetitions pass. */
  #probe(exchange: Exchange, offer: Offered): void {
    const { client } = exchange.query;
    if (this.#probing.has(client)) return;
    this.#hold(exchange, offer);
    const probing = this.#offerUnlessHeld(exchange, offer)
      .catch((error: unknown) => {
        this.#counts.failed += 1;
        const { link } = exchange.served;
        this.#options.log.error("dhcp.failed", { interface: link.interface, address: offer.address }, error);
      })
      .finally(() => this.#probing.delete(client));
    this.#probing.set(client, probing);
  }

  async #offerUnlessHeld(exchange: Exchange, first: Offered): Promise<void> {
    const { probe, store, clock, quarantine, log } = this.#options;
    const { link } = exchange.served;
    const alive = new Set<Ipv4Address>();
    let offer = first;
    for (let attempt = 0; probe !== null && attempt < PROBE_ATTEMPTS; attempt += 1) {
      const { address, seized } = offer;
      const mac = await probe.holder(address, link);
      const former = store.leases.byAddress(address)?.mac;
      // The kernel may still know the former owner, or the client itself, from the time when it had the address.
      if (mac === null || mac === exchange.client.mac || (mac === former && !seized)) break;
      if (mac === former) {
        // Not ours, but it lives by its lease: nothing is taken from it.
        alive.add(address);
      } else {
        this.#counts.conflicts += 1;
        log.warn("dhcp.conflict", { interface: link.interface, address, mac });
        const client = `declined:${address}`;
        const expiresAt = clock.wall().getTime() + quarantine;
        await store.commit((tx) =>
          tx.leases.put({ address, client, mac, hostname: null, state: "declined", expiresAt }),
        );
      }
      this.#offers.forget(exchange.query.client);
      const next = this.#decide(exchange, store.leases, alive);
      if (next.kind !== "offer") {
        this.#carryOut(exchange, next);
        return;
      }
      if (next.seized && attempt === PROBE_ATTEMPTS - 1) {
        this.#silence(exchange, "every address is in use by machines that answer; the client asks again");
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
    if (this.#pending.length >= MOST_PENDING) {
      this.#silence(exchange, "more is asked for than the disk takes; the client asks again");
      return;
    }
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
    let decisions: readonly AddressDecision[];
    try {
      decisions = await this.#options.store.commit((tx) =>
        group.map((exchange) => {
          const decision = this.#decide(exchange, tx.leases);
          if (decision.kind === "ack") {
            if (decision.instead !== null) tx.leases.delete(decision.instead);
            tx.leases.put(decision.lease);
          }
          if (decision.kind === "returned") tx.leases.put(decision.lease);
          return decision;
        }),
      );
    } catch (error) {
      const fault = toFault(error);
      this.#counts.failed += group.length;
      const fields = { reason: fault.message, code: fault.code, messages: group.length };
      this.#options.log.error("dhcp.failed", fields, error);
      return;
    }
    for (const [at, exchange] of group.entries()) {
      const decision = decisions[at];
      if (decision !== undefined) this.#carryOutSafely(exchange, decision);
    }
  }

  /** One answer that cannot be made must not keep the others of its group back. */
  #carryOutSafely(exchange: Exchange, decision: AddressDecision): void {
    try {
      this.#carryOut(exchange, decision);
    } catch (error) {
      this.#counts.failed += 1;
      this.#options.log.error("dhcp.failed", this.#fields(exchange, "an answer could not be made"), error);
    }
  }

  /** Only after what the decision promises is on disk. */
  #carryOut(exchange: Exchange, decision: AddressDecision): void {
    const { query } = exchange;
    switch (decision.kind) {
      case "silent":
        // The client took another server's offer: ours is free again.
        if (query.kind === "request" && query.server !== null && query.server !== exchange.server) {
          this.#offers.forget(query.client);
        }
        this.#silence(exchange, decision.reason);
        return;
      case "returned":
        this.#offers.forget(query.client);
        this.#counts.returned += 1;
        this.#options.log.info("dhcp.returned", this.#fields(exchange, decision.reason));
        return;
      case "nak":
        this.#counts.naks += 1;
        this.#offers.forget(query.client);
        this.#reply(exchange, refusal(decision.reason), decision.reason, undefined);
        return;
      case "offer":
        this.#counts.offers += 1;
        this.#hold(exchange, decision);
        this.#grant(exchange, "offer", decision);
        return;
      case "ack":
        this.#offers.forget(query.client);
        this.#counts[query.kind === "bootp" ? "bootp" : "acks"] += 1;
        this.#grant(exchange, query.kind === "bootp" ? "bootp" : "ack", decision);
        return;
      case "inform":
        this.#counts.acks += 1;
        this.#grant(exchange, "ack", {
          address: UNSPECIFIED,
          leaseTime: null,
          hostname: null,
          reason: decision.reason,
        });
        return;
      default:
        assertNever(decision);
    }
  }

  #grant(
    exchange: Exchange,
    type: "offer" | "ack" | "bootp",
    given: {
      readonly address: Ipv4Address;
      readonly leaseTime: Millis | null;
      readonly hostname: string | null;
      readonly reason: string;
    },
  ): void {
    const plan = this.#plan(exchange);
    const leaseTime = type === "bootp" ? null : given.leaseTime;
    const boot = plan?.network ?? null;
    const contents = { type, yiaddr: given.address, leaseTime, hostname: given.hostname, boot, message: null };
    this.#reply(exchange, contents, given.reason, plan);
  }

  #plan({ client, known, served }: Exchange): BootPlan | undefined {
    if (client.mac === null) return undefined;
    const { firmware, mac } = client;
    return planFor(known, this.#options.boot, { mac, firmware, services: served.services });
  }

  #reply(exchange: Exchange, contents: ReplyContents, reason: string, plan: BootPlan | undefined): void {
    const { message, client, served, server } = exchange;
    const encoded = encodeReply(message, client, contents, server, optionsFor(exchange, contents.yiaddr));
    const to = this.#destination(exchange, contents);
    const { firmware } = client;
    // One literal, without spreading others into it: this runs twice for each lease.
    const fields: LogFields = {
      interface: served.link.interface,
      xid: xidOf(message),
      mac: client.mac ?? undefined,
      node: exchange.known.node?.uuid,
      relay: client.giaddr ?? undefined,
      type: client.type ?? "bootp",
      reason,
      answer: contents.type,
      address: contents.yiaddr === UNSPECIFIED ? undefined : contents.yiaddr,
      to: `${to.kind} ${to.address}`,
      firmware: firmware.program === "system" ? undefined : `${firmware.program} ${firmware.architecture}`,
      boot:
        plan === undefined ? undefined : plan.network.kind === "file" ? withoutBootSecret(plan.network.file) : "none",
      boot_reason: plan?.network.reason,
      omitted: encoded.omitted.length === 0 ? undefined : encoded.omitted,
    };
    this.#options.log.info("dhcp.answered", fields);
    served.link.socket.post(encoded.bytes, to, (fault) => {
      this.#counts.failed += 1;
      this.#options.log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
    });
  }

  #destination({ message, client, served, from }: Exchange, contents: ReplyContents): Destination {
    const { link } = served;
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
    if (to.kind !== "unicast" || client.ciaddr !== null || client.mac === null) return to;
    try {
      link.introduce?.(to.address, client.mac);
      return to;
    } catch (error) {
      const { message: reason } = toFault(error);
      this.#options.log.debug("dhcp.failed", { interface: link.interface, mac: client.mac, reason });
      return broadcastDestination;
    }
  }

  #silence(arrival: Arrival, reason: string): void {
    this.#counts.silent += 1;
    this.#options.log.info("dhcp.silent", this.#fields(arrival, reason));
  }

  /** What every line about a message says. */
  #fields({ served, message, client, known }: Arrival, reason: string): LogFields {
    return {
      interface: served.link.interface,
      xid: xidOf(message),
      mac: client.mac ?? undefined,
      node: known.node?.uuid,
      relay: client.giaddr ?? undefined,
      type: client.type ?? "bootp",
      reason,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelSweep?.();
    await Promise.all(this.#probing.values());
    await this.#committing;
    await Promise.all(this.#options.links.map((link) => link.socket.close()));
  }
}

const noAddresses: ReadonlySet<Ipv4Address> = new Set();

function refusal(reason: string): ReplyContents {
  return { type: "nak", yiaddr: UNSPECIFIED, leaseTime: null, hostname: null, boot: null, message: reason };
}

function xidOf(message: Dhcp4Message): string {
  return message.xid.toString(16).padStart(8, "0");
}
