import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { toFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import type { AddressDecision } from "../domain/address-policy.ts";
import type { Store } from "../domain/store.ts";
import { fieldsOf } from "./dhcp-answerer.ts";
import type { DhcpCounts } from "./dhcp-counters.ts";
import type { DhcpDecider, Offered } from "./dhcp-decider.ts";
import type { DhcpLink, Exchange } from "./dhcp-exchange.ts";

/** Tells who has an address on a link. */
export interface AddressProbe {
  holder(address: Ipv4Address, link: DhcpLink): Promise<MacAddress | null>;
}

/** Beyond so many at once, offers go out unprobed rather than late. */
const MOST_PROBES = 256;
/** So many addresses in use in a row, and the next is offered as it is: the client has its own probe (RFC 2131 §4.4.1). */
const PROBE_ATTEMPTS = 4;

interface DhcpConflictCheckParts {
  readonly store: Pick<Store, "leases" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  readonly quarantine: Millis;
  readonly probe: AddressProbe;
  readonly decider: DhcpDecider;
  readonly counts: DhcpCounts;
  readonly decided: (exchange: Exchange, decision: AddressDecision) => void;
}

/** Finds out, before an address is offered that its client has no claim to, whether a machine uses it (RFC 2131 §4.3.1). */
export class DhcpConflictCheck implements AsyncDisposable {
  readonly #parts: DhcpConflictCheckParts;
  /** By client. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: DhcpConflictCheckParts) {
    this.#parts = parts;
  }

  /** Whether the offer must wait for `begin`: only machines on our own link can be asked. */
  concerns({ client, subnet, served, query }: Exchange, offer: Offered): boolean {
    if (client.giaddr !== null || subnet?.prepared.subnet.interface !== served.link.interface) return false;
    return this.#running.has(query.client) || (offer.fresh && this.#running.size < MOST_PROBES);
  }

  /** The offer waits until nobody answered for its address; meanwhile the address is held and the client's repetitions pass. */
  begin(exchange: Exchange, offer: Offered): void {
    const { decider, counts, log } = this.#parts;
    const { client } = exchange.query;
    if (this.#running.has(client)) return;
    decider.hold(exchange, offer);
    const running = this.#check(exchange, offer)
      .catch((error: unknown) => {
        counts.failed += 1;
        const fields = fieldsOf(exchange, toFault(error).message);
        log.error("dhcp.failed", { ...fields, address: offer.address }, error);
      })
      .finally(() => this.#running.delete(client));
    this.#running.set(client, running);
  }

  async #check(exchange: Exchange, first: Offered): Promise<void> {
    const { probe, store, decider, decided } = this.#parts;
    const { link } = exchange.served;
    const alive = new Set<Ipv4Address>();
    let offer = first;
    for (let attempt = 0; attempt < PROBE_ATTEMPTS; attempt += 1) {
      const { address, seized } = offer;
      const mac = await probe.holder(address, link);
      const former = store.leases.byAddress(address)?.mac;
      // The kernel may still know the former owner, or the client itself, from the time when it had the address.
      if (mac === null || mac === exchange.client.mac || (mac === former && !seized)) break;
      // Not ours, but it lives by its lease: nothing is taken from it.
      if (mac === former) alive.add(address);
      else await this.#decline(link, address, mac);
      decider.forget(exchange);
      const next = decider.decide(exchange, store.leases, alive);
      if (next.kind !== "offer") {
        decided(exchange, next);
        return;
      }
      if (next.seized && attempt === PROBE_ATTEMPTS - 1) {
        const reason = "every address is in use by machines that answer; the client asks again";
        decided(exchange, { kind: "silent", reason });
        return;
      }
      offer = next;
      decider.hold(exchange, offer);
      if (!offer.fresh) break;
    }
    decided(exchange, offer);
  }

  /** Nobody gets the address while it is in quarantine. */
  async #decline(link: DhcpLink, address: Ipv4Address, mac: MacAddress): Promise<void> {
    const { store, clock, log, quarantine, counts } = this.#parts;
    counts.conflicts += 1;
    log.warn("dhcp.conflict", { interface: link.interface, address, mac });
    const client = `declined:${address}`;
    const expiresAt = clock.wallMillis() + quarantine;
    await store.commit((tx) => tx.leases.put({ address, client, mac, hostname: null, state: "declined", expiresAt }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#running.values());
  }
}
