import type { Clock } from "../core/clock.ts";
import { assertNever, MalformedFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import type { Store } from "../domain/store.ts";
import { subnet6Contains } from "../domain/subnet6.ts";
import type { DatagramServer, ReceivedDatagram } from "../net/datagram.ts";
import { type BootSettings, findMachine, servicesAt } from "./boot-lookup.ts";
import { Dhcp6Answerer, type Dhcp6Identity, fieldsOf6 } from "./dhcp6-answerer.ts";
import { readClient6, unpack } from "./dhcp6-client.ts";
import { type Dhcp6Counters, noDhcp6Counts } from "./dhcp6-counters.ts";
import { type AskedKind, Dhcp6Decider, reasonOf } from "./dhcp6-decider.ts";
import {
  type Arrival6,
  type Dhcp6Subnet,
  type Exchange6,
  type Exchange6Rules,
  openExchange6,
  type ServedLink6,
  serveSubnet6,
} from "./dhcp6-exchange.ts";
import type { Dhcp6Link } from "./dhcp6-link.ts";
import type { AnsweredAssociation } from "./dhcp6-reply.ts";
import { LeaseQueue, TOO_MANY_WAIT } from "./lease-queue.ts";
import { MinuteLog } from "./minute-log.ts";

export interface Dhcp6ServiceOptions extends Dhcp6Identity {
  readonly store: Pick<Store, "nodes" | "ports" | "volumes" | "leases6" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: readonly Dhcp6Link[];
  readonly subnets: readonly Dhcp6Subnet[];
  readonly boot: BootSettings;
  readonly rapidCommit: boolean;
  readonly offerTime: Millis;
  readonly quarantine: Millis;
}

/** A message that may end in leases. */
interface Asked6 {
  readonly exchange: Exchange6;
  readonly kind: AskedKind;
}

const SWEEP_INTERVAL = 30_000;

/** The DHCPv6 server: reads, asks the address policy and the boot plan, stores, answers. */
export class Dhcp6Service implements AsyncDisposable {
  readonly #options: Dhcp6ServiceOptions;
  readonly #rules: Exchange6Rules;
  readonly #counts = noDhcp6Counts();
  readonly #malformed: MinuteLog;
  readonly #decider: Dhcp6Decider;
  readonly #answerer: Dhcp6Answerer;
  readonly #leases: LeaseQueue<Asked6, readonly AnsweredAssociation[]>;
  #cancelSweep: (() => void) | undefined;

  /** @throws Fault invalid when a subnet contradicts itself */
  constructor(options: Dhcp6ServiceOptions) {
    const { store, clock, log, boot, duid, preference } = options;
    const subnets = options.subnets.map(serveSubnet6);
    const counts = this.#counts;
    const decider = new Dhcp6Decider(options);
    this.#options = options;
    this.#rules = { subnets, prepared: subnets.map((one) => one.prepared), duid };
    this.#malformed = new MinuteLog({ clock, log, event: "dhcp.malformed" });
    this.#decider = decider;
    this.#answerer = new Dhcp6Answerer({ boot, log, counts, duid, preference });
    this.#leases = new LeaseQueue({
      store,
      log,
      counts,
      decide: ({ exchange, kind }, tx) => decider.decide(exchange, kind, tx),
      decided: (asked, answered) => this.#answerStored(asked, answered),
      fieldsOf: ({ exchange }, reason) => fieldsOf6(exchange, reason),
    });
  }

  start(): void {
    const { links, boot, log } = this.#options;
    this.#sweepLater();
    for (const link of links) {
      const served = { link, services: servicesAt(boot, link.address) };
      for (const socket of link.groupSockets) socket.listen((datagram) => this.#receive(served, socket, datagram));
      link.ownSocket.listen((datagram) => this.#receive(served, link.ownSocket, datagram));
      const port = String(link.ownSocket.local.port);
      log.info("dhcp.listening", { interface: link.interface, address: link.address, port });
    }
  }

  counters(): Dhcp6Counters {
    const dropped = this.#sockets().reduce((sum, socket) => sum + socket.dropped, 0);
    return { ...this.#counts, dropped, offersHeld: this.#decider.offersHeld };
  }

  #sockets(): readonly DatagramServer[] {
    return this.#options.links.flatMap((link) => [...link.groupSockets, link.ownSocket]);
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#options.clock.after(SWEEP_INTERVAL as Millis, () => {
      this.#decider.sweep();
      this.#sweepLater();
    });
  }

  #receive(served: ServedLink6, socket: DatagramServer, { bytes, from }: ReceivedDatagram): void {
    this.#counts.received += 1;
    const where = { interface: served.link.interface, peer: from.address };
    try {
      const delivered = unpack(bytes);
      if (delivered === null) return;
      const client = readClient6(delivered, from.address);
      const known = findMachine(this.#options.store, client.mac);
      this.#open({ served, socket, from, delivered, client, known });
    } catch (error) {
      if (error instanceof MalformedFault) {
        this.#counts.malformed += 1;
        this.#malformed.report(error.field, { ...where, reason: error.message, bytes: bytes.length });
      } else {
        this.#counts.failed += 1;
        this.#options.log.error("dhcp.failed", where, error);
      }
    }
  }

  #open(arrival: Arrival6): void {
    const exchange = openExchange6(arrival, this.#rules);
    if ("silence" in exchange) this.#answerer.silence(arrival, exchange.silence);
    else if (exchange.socket === exchange.served.link.ownSocket && exchange.delivered.relays.length === 0)
      this.#answerUnicast(exchange);
    else this.#answer(exchange);
  }

  /** Nobody was told that we may be called by our own address. @source RFC 8415 §18.4 */
  #answerUnicast(exchange: Exchange6): void {
    const { type } = exchange;
    if (type === "request" || type === "renew" || type === "release" || type === "decline") {
      const status = { name: "useMulticast", message: "call ff02::1:2" } as const;
      this.#answerer.conclude(exchange, status, "sent to our own address");
    } else {
      this.#answerer.silence(exchange, `a ${type} must be sent to ff02::1:2 (RFC 8415 §18.4)`);
    }
  }

  #answer(exchange: Exchange6): void {
    const { type, client } = exchange;
    switch (type) {
      case "confirm":
        this.#confirm(exchange);
        return;
      case "informationRequest":
        this.#answerer.tell(exchange, "reply", [], "asked for options only");
        return;
      case "solicit":
        if (client.rapidCommit && this.#options.rapidCommit) this.#queue(exchange, type);
        else this.#advertise(exchange);
        return;
      case "request":
      case "renew":
      case "rebind":
      case "release":
      case "decline":
        this.#queue(exchange, type);
        return;
      default:
        assertNever(type);
    }
  }

  /** @source RFC 8415 §18.3.3 */
  #confirm(exchange: Exchange6): void {
    const { client, subnet } = exchange;
    const named = client.associations.flatMap(({ addresses }) => addresses);
    if (named.length === 0) {
      this.#answerer.silence(exchange, "it names no address to confirm");
      return;
    }
    const foreign = named.find((address) => !subnet6Contains(subnet.prepared, address));
    const status =
      foreign === undefined
        ? ({ name: "success", message: "these addresses belong to this link" } as const)
        : ({ name: "notOnLink", message: `${foreign} does not belong to this link` } as const);
    this.#answerer.conclude(exchange, status, status.message);
  }

  #advertise(exchange: Exchange6): void {
    const answered = this.#decider.decide(exchange, "solicit");
    this.#answerer.tell(exchange, "advertise", answered, reasonOf(answered));
  }

  #queue(exchange: Exchange6, kind: AskedKind): void {
    if (!this.#leases.add({ exchange, kind })) this.#answerer.silence(exchange, TOO_MANY_WAIT);
  }

  /** Only after what was decided is on disk. */
  #answerStored({ exchange, kind }: Asked6, answered: readonly AnsweredAssociation[]): void {
    this.#decider.forget(answered);
    const reason = reasonOf(answered);
    if (kind !== "release" && kind !== "decline") {
      this.#answerer.tell(exchange, "reply", answered, reason);
      return;
    }
    if (answered.some(({ decision }) => decision.kind === "returned")) {
      this.#counts.returned += 1;
      this.#options.log.info("dhcp.returned", fieldsOf6(exchange, reason));
    }
    // Nothing is said of associations that went well (RFC 8415 §18.3.7).
    const refused = answered.filter(({ decision }) => decision.kind === "refused");
    this.#answerer.conclude(exchange, { name: "success", message: "so be it" }, reason, refused);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelSweep?.();
    await this.#leases[Symbol.asyncDispose]();
    await Promise.all(this.#sockets().map((socket) => socket.close()));
  }
}
