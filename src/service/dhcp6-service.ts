import type { Clock } from "../core/clock.ts";
import { assertNever, MalformedFault, toFault } from "../core/fault.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import type { Log, LogFields } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import { type Address6View, type AssociationDecision, decideAssociation } from "../domain/address6-policy.ts";
import type { BootPlan, BootServices } from "../domain/boot-plan.ts";
import { OfferTable } from "../domain/offer-table.ts";
import type { LeaseReader, Store, Transaction } from "../domain/store.ts";
import {
  type PreparedSubnet6,
  prepareSubnet6,
  selectSubnet6,
  type Subnet6,
  subnet6Contains,
} from "../domain/subnet6.ts";
import type { DatagramEndpoint, DatagramServer, ReceivedDatagram } from "../net/datagram.ts";
import type { ClientServerMessage } from "../protocol/dhcp6/message.ts";
import { readOption } from "../protocol/dhcp6/options.ts";
import { type BootSettings, findMachine, type KnownMachine, planFor, servicesAt } from "./boot-lookup.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import {
  type Delivered,
  type Dhcp6Client,
  isSameDuid,
  leaseClient6,
  MOST_ASSOCIATIONS,
  readClient6,
  reservation6Keys,
  unpack,
} from "./dhcp6-client.ts";
import {
  type AnsweredAssociation,
  bootUrl,
  encodeReply6,
  type Link6Options,
  type Reply6Contents,
  replyMessage,
} from "./dhcp6-reply.ts";
import { type Dhcp6Link, SERVER_PORT } from "./dhcp6-link.ts";
import { MinuteLog } from "./minute-log.ts";

export interface Dhcp6Subnet {
  readonly subnet: Subnet6;
  readonly options: Link6Options;
}

export interface Dhcp6ServiceOptions {
  readonly store: Pick<Store, "nodes" | "ports" | "volumes" | "leases6" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: readonly Dhcp6Link[];
  readonly subnets: readonly Dhcp6Subnet[];
  readonly boot: BootSettings;
  /** What clients know this server by; the same for as long as the store lives (RFC 8415 §11). */
  readonly duid: Uint8Array;
  readonly rapidCommit: boolean;
  /** 0 to 255; clients take the highest, and 255 at once. */
  readonly preference: number;
  readonly offerTime: Millis;
  readonly quarantine: Millis;
}

export interface Dhcp6Counters {
  readonly received: number;
  readonly malformed: number;
  readonly advertises: number;
  readonly replies: number;
  readonly returned: number;
  readonly silent: number;
  readonly failed: number;
  readonly dropped: number;
  readonly offersHeld: number;
}

interface ServedSubnet6 {
  readonly prepared: PreparedSubnet6;
  readonly options: Link6Options;
}

interface ServedLink6 {
  readonly link: Dhcp6Link;
  readonly services: BootServices;
}

/** A message on its way through the service, with everything that the answer depends on. */
interface Exchange6 {
  readonly served: ServedLink6;
  /** That the request was heard on; the answer leaves by it. */
  readonly socket: DatagramServer;
  readonly from: DatagramEndpoint;
  readonly delivered: Delivered;
  readonly client: Dhcp6Client;
  readonly known: KnownMachine;
  readonly subnet: ServedSubnet6;
}

type Kind = Parameters<typeof decideAssociation>[0]["kind"];

/** The policy asks for no oldest offer of a subnet, so that all stand in one row. */
const ONE_ROW = 0;
const SWEEP_INTERVAL = 30_000;
/** Messages that wait for the disk; whoever comes behind them would be answered too late to care. */
const MOST_PENDING = 2048;
/** @source RFC 8415 §7.2 */
const CLIENT_PORT = 546;

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

/** The DHCPv6 server: reads, asks the address policy and the boot plan, stores, answers. */
export class Dhcp6Service implements AsyncDisposable {
  readonly #options: Dhcp6ServiceOptions;
  readonly #subnets: readonly ServedSubnet6[];
  readonly #prepared: readonly PreparedSubnet6[];
  readonly #offers = new OfferTable<Ipv6Address>();
  readonly #malformed: MinuteLog;
  readonly #counts = { received: 0, malformed: 0, advertises: 0, replies: 0, returned: 0, silent: 0, failed: 0 };
  readonly #pending = new Set<Promise<void>>();
  #cancelSweep: (() => void) | undefined;

  /** @throws Fault invalid when a subnet contradicts itself */
  constructor(options: Dhcp6ServiceOptions) {
    this.#options = options;
    this.#subnets = options.subnets.map(({ subnet, options: told }) => ({
      prepared: prepareSubnet6(subnet),
      options: told,
    }));
    this.#prepared = this.#subnets.map((one) => one.prepared);
    this.#malformed = new MinuteLog({ clock: options.clock, log: options.log, event: "dhcp.malformed" });
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
    return { ...this.#counts, dropped, offersHeld: this.#offers.size };
  }

  #sockets(): readonly DatagramServer[] {
    return this.#options.links.flatMap((link) => [...link.groupSockets, link.ownSocket]);
  }

  #sweepLater(): void {
    const { clock } = this.#options;
    this.#cancelSweep = clock.after(SWEEP_INTERVAL as Millis, () => {
      this.#offers.sweep(clock.now());
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

  #open(arrival: Omit<Exchange6, "subnet">): void {
    const { client, delivered, served, socket } = arrival;
    const { type } = delivered.message;
    if (!isRequestType(type)) {
      this.#silence(arrival, `a ${type} is not for this server`);
      return;
    }
    const wrong = this.#breaksRules(client, type);
    if (wrong !== undefined) {
      this.#silence(arrival, wrong);
      return;
    }
    const { linkAddress } = client;
    const prepared = selectSubnet6(this.#prepared, { interface: served.link.interface, linkAddress });
    const subnet = this.#subnets.find((one) => one.prepared === prepared);
    if (subnet === undefined) {
      this.#silence(arrival, "no subnet is configured for this link");
      return;
    }
    const exchange: Exchange6 = { ...arrival, subnet };
    if (socket === served.link.ownSocket && delivered.relays.length === 0) {
      this.#answerUnicast(exchange, type);
      return;
    }
    this.#answer(exchange, type);
  }

  /** Why the message must be passed over, if it must. */
  #breaksRules(
    { duid, server, associations, temporary, prefixes }: Dhcp6Client,
    type: RequestType,
  ): string | undefined {
    const rule = RULES[type];
    if (rule.client === "must" && duid === undefined) return "it names no client";
    if (rule.server === "must-not" && server !== undefined) return "it names a server, and must not";
    if (rule.server === "must" && server === undefined) return "it names no server";
    if (server !== undefined && !isSameDuid(server, this.#options.duid)) return "it is for another server";
    if (type === "informationRequest" && associations.length + temporary.length + prefixes.length > 0)
      return "it asks for options only, and names an association (RFC 8415 §16.12)";
    return undefined;
  }

  /** Nobody was told that we may be called by our own address. @source RFC 8415 §18.4 */
  #answerUnicast(exchange: Exchange6, type: RequestType): void {
    if (type === "request" || type === "renew" || type === "release" || type === "decline") {
      const status = { name: "useMulticast", message: "call ff02::1:2" } as const;
      this.#reply(exchange, { ...bare, status, associations: [] }, "sent to our own address", undefined);
    } else {
      this.#silence(exchange, `a ${type} must be sent to ff02::1:2 (RFC 8415 §18.4)`);
    }
  }

  #answer(exchange: Exchange6, type: RequestType): void {
    switch (type) {
      case "confirm":
        this.#confirm(exchange);
        return;
      case "informationRequest":
        this.#tell(exchange, "reply", [], "asked for options only");
        return;
      case "solicit":
        if (exchange.client.rapidCommit && this.#options.rapidCommit) this.#store(exchange, "solicit");
        else this.#advertise(exchange);
        return;
      case "request":
      case "renew":
      case "rebind":
      case "release":
      case "decline":
        this.#store(exchange, type);
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
      this.#silence(exchange, "it names no address to confirm");
      return;
    }
    const foreign = named.find((address) => !subnet6Contains(subnet.prepared, address));
    const status =
      foreign === undefined
        ? ({ name: "success", message: "these addresses belong to this link" } as const)
        : ({ name: "notOnLink", message: `${foreign} does not belong to this link` } as const);
    this.#reply(exchange, { ...bare, status, associations: [] }, status.message, undefined);
  }

  #advertise(exchange: Exchange6): void {
    const answered = this.#decide(exchange, "solicit", this.#options.store.leases6);
    this.#tell(exchange, "advertise", answered, reasonOf(answered));
  }

  /** Without a transaction what is granted is held as an offer; with one it is put into it. */
  #decide(
    exchange: Exchange6,
    kind: Kind,
    leases: LeaseReader<Ipv6Address>,
    tx?: Transaction,
  ): readonly AnsweredAssociation[] {
    const { client, subnet } = exchange;
    const { clock, store, quarantine, offerTime } = this.#options;
    const { duid, mac } = client;
    if (duid === undefined) return [];
    const view: Address6View = {
      subnet: subnet.prepared,
      leases,
      offers: this.#offers,
      now: clock.now(),
      wall: clock.wall().getTime(),
      quarantine,
      enrolled: (one) => store.ports.byAddress(one) !== undefined,
    };
    const keys = subnet.prepared.reservedFor.size > 0 ? reservation6Keys(client) : [];
    const until = (view.now + offerTime) as Millis;
    const seen = new Set<number>();
    return client.associations.map(({ iaid, addresses }, at): AnsweredAssociation => {
      if (at >= MOST_ASSOCIATIONS || seen.has(iaid)) return { iaid, decision: tooMany };
      seen.add(iaid);
      // One card may have several associations; a reserved address goes to the first.
      const own = at === 0 ? keys : [];
      const decision = decideAssociation({ kind, client: leaseClient6(duid, iaid), mac, keys: own, addresses }, view);
      // Each is seen by the next one, so that no address is given twice.
      if (tx !== undefined) put(tx, decision);
      else if (decision.kind === "granted")
        this.#offers.hold({ address: decision.address, network: ONE_ROW, client: decision.lease.client, until });
      return { iaid, decision };
    });
  }

  /** Decides where the leases are that were granted a moment before, and answers when they are on disk. */
  #store(exchange: Exchange6, kind: Kind): void {
    if (this.#pending.size >= MOST_PENDING) {
      this.#silence(exchange, "more is asked for than the disk takes; the client asks again");
      return;
    }
    const storing = this.#storeAndReply(exchange, kind)
      .catch((error: unknown) => {
        const fault = toFault(error);
        this.#counts.failed += 1;
        const fields = { ...this.#fields(exchange, fault.message), code: fault.code };
        this.#options.log.error("dhcp.failed", fields, error);
      })
      .finally(() => this.#pending.delete(storing));
    this.#pending.add(storing);
  }

  async #storeAndReply(exchange: Exchange6, kind: Kind): Promise<void> {
    const answered = await this.#options.store.commit((tx) => this.#decide(exchange, kind, tx.leases6, tx));
    for (const { decision } of answered) {
      if (decision.kind === "granted") this.#offers.forget(decision.lease.client);
    }
    const reason = reasonOf(answered);
    if (kind !== "release" && kind !== "decline") {
      this.#tell(exchange, "reply", answered, reason);
      return;
    }
    if (answered.some(({ decision }) => decision.kind === "returned")) {
      this.#counts.returned += 1;
      this.#options.log.info("dhcp.returned", this.#fields(exchange, reason));
    }
    // Nothing is said of associations that went well (RFC 8415 §18.3.7).
    const associations = answered.filter(({ decision }) => decision.kind === "refused");
    const status = { name: "success", message: "so be it" } as const;
    this.#reply(exchange, { ...bare, status, associations }, reason, undefined);
  }

  /** With addresses, options and what to boot. */
  #tell(
    exchange: Exchange6,
    type: "advertise" | "reply",
    associations: readonly AnsweredAssociation[],
    reason: string,
  ): void {
    const { subnet, served, client, delivered } = exchange;
    const { preferredLifetime: preferred, validLifetime: valid } = subnet.prepared.subnet;
    const plan = this.#plan(exchange);
    const boot = plan?.network ?? null;
    const nothing =
      associations.length > 0 && associations.every(({ decision }) => decision.kind === "refused" && isEmpty(decision));
    this.#reply(
      exchange,
      {
        type,
        associations,
        // Older clients look for it outside of the association too (RFC 3315 §17.2.2).
        status: type === "advertise" && nothing ? { name: "noAddrsAvail", message: reason } : null,
        told: { options: subnet.options, boot, services: served.services },
        lifetimes: { preferred, valid },
        rapidCommit: delivered.message.type === "solicit" && type === "reply" && client.rapidCommit,
        preference: type === "advertise" ? this.#options.preference : 0,
      },
      reason,
      plan,
    );
  }

  #plan({ client, known, served }: Exchange6): BootPlan | undefined {
    const { firmware, mac } = client;
    return mac === null ? undefined : planFor(known, this.#options.boot, { mac, firmware, services: served.services });
  }

  #reply(exchange: Exchange6, contents: Reply6Contents, reason: string, plan: BootPlan | undefined): void {
    const { delivered, client, served, socket } = exchange;
    const bytes = encodeReply6(replyMessage(delivered.message, client, contents, this.#options.duid), delivered.relays);
    this.#counts[contents.type === "advertise" ? "advertises" : "replies"] += 1;
    const to = destination(exchange);
    const { firmware } = client;
    const addresses = contents.associations.flatMap(({ decision }) =>
      decision.kind === "granted" ? [decision.address] : [],
    );
    const { network } = plan ?? {};
    const fields: LogFields = {
      ...this.#fields(exchange, reason),
      answer: contents.type,
      address: addresses.length === 0 ? undefined : addresses.join(", "),
      to: `unicast ${to.address}`,
      firmware: firmware.program === "system" ? undefined : `${firmware.program} ${firmware.architecture}`,
      boot:
        network === undefined
          ? undefined
          : network.kind === "file"
            ? withoutBootSecret(bootUrl(network, served.services))
            : "none",
      boot_reason: network?.reason,
    };
    this.#options.log.info("dhcp.answered", fields);
    socket.post(bytes, to, (fault) => {
      this.#counts.failed += 1;
      this.#options.log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
    });
  }

  #silence(arrival: Omit<Exchange6, "subnet">, reason: string): void {
    this.#counts.silent += 1;
    this.#options.log.info("dhcp.silent", this.#fields(arrival, reason));
  }

  /** What every line about a message says. */
  #fields({ served, delivered, client, known, from }: Omit<Exchange6, "subnet">, reason: string): LogFields {
    const { message, relays } = delivered;
    return {
      interface: served.link.interface,
      xid: message.transactionId.toString(16).padStart(6, "0"),
      mac: client.mac ?? undefined,
      node: known.node?.uuid,
      relay: relays.length === 0 ? undefined : from.address,
      duid: client.duid === undefined ? undefined : Buffer.from(client.duid).toString("hex"),
      type: message.type,
      reason,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#cancelSweep?.();
    await Promise.all(this.#pending);
    await Promise.all(this.#sockets().map((socket) => socket.close()));
  }
}

const bare = {
  type: "reply",
  told: null,
  lifetimes: { preferred: 0 as Millis, valid: 0 as Millis },
  rapidCommit: false,
  preference: 0,
} as const;

const tooMany: AssociationDecision = {
  kind: "refused",
  status: "noAddrsAvail",
  reason: "more associations than one machine may have",
};

function isEmpty({ status }: Extract<AssociationDecision, { readonly kind: "refused" }>): boolean {
  return status === "noAddrsAvail";
}

function isRequestType(type: ClientServerMessage["type"]): type is RequestType {
  return Object.hasOwn(RULES, type);
}

function reasonOf(answered: readonly AnsweredAssociation[]): string {
  return answered.length === 0
    ? "no association is asked for"
    : answered.map(({ decision }) => decision.reason).join("; ");
}

function put(tx: Transaction, decision: AssociationDecision): void {
  if (decision.kind === "granted") {
    if (decision.instead !== null) tx.leases6.delete(decision.instead);
    tx.leases6.put(decision.lease);
  }
  if (decision.kind === "returned") for (const lease of decision.leases) tx.leases6.put(lease);
}

/** Back to where it came from: to the client's port, or to the relay's. @source RFC 8415 §18.3.10, §19.3, RFC 8357 §5.2 */
function destination({ delivered, from }: Exchange6): DatagramEndpoint {
  const [relay] = delivered.relays;
  if (relay === undefined) return { address: from.address, port: CLIENT_PORT };
  const ownPort = readOption(relay.options, "relaySourcePort") !== undefined;
  return { address: from.address, port: ownPort ? from.port : SERVER_PORT };
}
