import type { Clock } from "../core/clock.ts";
import { assertNever, MalformedFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import type { AddressDecision } from "../domain/address-policy.ts";
import type { Store } from "../domain/store.ts";
import type { ReceivedDatagram } from "../net/datagram.ts";
import { decodeMessage, UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import { type BootSettings, findMachine, servicesAt } from "./boot-lookup.ts";
import { DhcpAnswerer, fieldsOf } from "./dhcp-answerer.ts";
import { readClient } from "./dhcp-client.ts";
import { type AddressProbe, DhcpConflictCheck } from "./dhcp-conflict-check.ts";
import { type DhcpCounters, noDhcpCounts } from "./dhcp-counters.ts";
import { DhcpDecider, type DhcpRules } from "./dhcp-decider.ts";
import {
  type Arrival,
  type DhcpLink,
  type Exchange,
  type ExchangeRules,
  openExchange,
  type ServedLink,
} from "./dhcp-exchange.ts";
import { type DhcpSubnet, serveSubnet } from "./dhcp-subnet.ts";
import { LeaseQueue, TOO_MANY_WAIT } from "./lease-queue.ts";
import { MinuteLog } from "./minute-log.ts";

export type { AddressProbe } from "./dhcp-conflict-check.ts";
export type { DhcpLink } from "./dhcp-exchange.ts";
export type { DhcpSubnet } from "./dhcp-subnet.ts";

export interface DhcpServiceOptions extends DhcpRules {
  readonly store: Pick<Store, "nodes" | "ports" | "volumes" | "leases" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: readonly DhcpLink[];
  readonly subnets: readonly DhcpSubnet[];
  readonly boot: BootSettings;
  /** Machines that nobody enrolled get addresses too. */
  readonly serveUnknown: boolean;
  /** Asked before an address is offered that its client has no claim to; null: it is not asked. */
  readonly probe: AddressProbe | null;
}

const SWEEP_INTERVAL = 30_000;

/** The DHCP server: reads, asks the address policy and the boot plan, stores, answers. */
export class DhcpService implements AsyncDisposable {
  readonly #options: DhcpServiceOptions;
  readonly #rules: ExchangeRules;
  readonly #counts = noDhcpCounts();
  readonly #malformed: MinuteLog;
  readonly #decider: DhcpDecider;
  readonly #answerer: DhcpAnswerer;
  readonly #leases: LeaseQueue<Exchange, AddressDecision>;
  readonly #conflicts: DhcpConflictCheck | null;
  #cancelSweep: (() => void) | undefined;

  /** @throws Fault invalid when a subnet contradicts itself */
  constructor(options: DhcpServiceOptions) {
    const { store, clock, log, boot, probe, quarantine } = options;
    const subnets = options.subnets.map(serveSubnet);
    const serveUnknown = options.serveUnknown || boot.policy.discovery;
    const counts = this.#counts;
    const decider = new DhcpDecider(options);
    const decided = (exchange: Exchange, decision: AddressDecision): void => this.#carryOut(exchange, decision);
    this.#options = options;
    this.#rules = { subnets, prepared: subnets.map((one) => one.prepared), serveUnknown };
    this.#malformed = new MinuteLog({ clock, log, event: "dhcp.malformed" });
    this.#decider = decider;
    this.#answerer = new DhcpAnswerer({ boot, log, counts });
    this.#leases = new LeaseQueue({
      store,
      log,
      counts,
      decide: (exchange, tx) => decider.settle(exchange, tx),
      decided,
      fieldsOf,
    });
    this.#conflicts =
      probe === null ? null : new DhcpConflictCheck({ store, clock, log, quarantine, probe, decider, counts, decided });
  }

  start(): void {
    const { links, boot, log } = this.#options;
    this.#sweepLater();
    for (const link of links) {
      const { interface: name, address, socket } = link;
      const served: ServedLink = { link, services: servicesAt(boot, address), names: [address] };
      socket.listen((datagram) => this.#receive(served, datagram));
      log.info("dhcp.listening", { interface: name, address, port: String(socket.local.port) });
    }
  }

  counters(): DhcpCounters {
    const dropped = this.#options.links.reduce((sum, link) => sum + link.socket.dropped, 0);
    return { ...this.#counts, dropped, offersHeld: this.#decider.offersHeld };
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#options.clock.after(SWEEP_INTERVAL as Millis, () => {
      this.#decider.sweep();
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
    const exchange = openExchange(arrival, this.#rules);
    if ("silence" in exchange) {
      this.#answerer.silence(arrival, exchange.silence);
      return;
    }
    const { kind } = exchange.query;
    if (kind !== "discover" && kind !== "inform") {
      this.#queue(exchange);
      return;
    }
    const decision = this.#decider.decide(exchange, this.#options.store.leases);
    if (decision.kind === "ack") this.#queue(exchange);
    else if (decision.kind === "offer" && this.#conflicts?.concerns(exchange, decision) === true)
      this.#conflicts.begin(exchange, decision);
    else this.#carryOut(exchange, decision);
  }

  #queue(exchange: Exchange): void {
    if (!this.#leases.add(exchange)) this.#answerer.silence(exchange, TOO_MANY_WAIT);
  }

  /** Only after what the decision promises is on disk. */
  #carryOut(exchange: Exchange, decision: AddressDecision): void {
    const { query } = exchange;
    switch (decision.kind) {
      case "silent":
        // The client took another server's offer: ours is free again.
        if (query.kind === "request" && query.server !== null && query.server !== exchange.server) {
          this.#decider.forget(exchange);
        }
        this.#answerer.silence(exchange, decision.reason);
        return;
      case "returned":
        this.#decider.forget(exchange);
        this.#counts.returned += 1;
        this.#options.log.info("dhcp.returned", fieldsOf(exchange, decision.reason));
        return;
      case "nak":
        this.#decider.forget(exchange);
        this.#answerer.refuse(exchange, decision.reason);
        return;
      case "offer":
        this.#counts.offers += 1;
        this.#decider.hold(exchange, decision);
        this.#answerer.grant(exchange, "offer", decision);
        return;
      case "ack":
        this.#decider.forget(exchange);
        this.#counts[query.kind === "bootp" ? "bootp" : "acks"] += 1;
        this.#answerer.grant(exchange, query.kind === "bootp" ? "bootp" : "ack", decision);
        return;
      case "inform": {
        this.#counts.acks += 1;
        const nothing = { address: UNSPECIFIED, leaseTime: null, hostname: null };
        this.#answerer.grant(exchange, "ack", { ...nothing, reason: decision.reason });
        return;
      }
      default:
        assertNever(decision);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelSweep?.();
    await this.#conflicts?.[Symbol.asyncDispose]();
    await this.#leases[Symbol.asyncDispose]();
    await Promise.all(this.#options.links.map((link) => link.socket.close()));
  }
}
