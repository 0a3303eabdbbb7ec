import { hexOfWord, type Ipv4Address } from "../core/brand.ts";
import { toFault } from "../core/fault.ts";
import type { Log, LogFields } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import type { BootPlan } from "../domain/boot-plan.ts";
import { UNSPECIFIED } from "../protocol/dhcp4/message.ts";
import { broadcastDestination, type Destination, replyDestination } from "../protocol/dhcp4/reply-destination.ts";
import { type BootSettings, planFor } from "./boot-lookup.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import type { DhcpCounts } from "./dhcp-counters.ts";
import type { Arrival, Exchange } from "./dhcp-exchange.ts";
import { firmwareWord } from "./dhcp-firmware.ts";
import { encodeReply, type ReplyContents } from "./dhcp-reply.ts";
import { optionsFor } from "./dhcp-subnet.ts";

/** What a client is granted. */
export interface Grant {
  readonly address: Ipv4Address;
  readonly leaseTime: Millis | null;
  readonly hostname: string | null;
  readonly reason: string;
}

interface DhcpAnswererParts {
  readonly boot: BootSettings;
  readonly log: Log;
  readonly counts: DhcpCounts;
}

/** Says to a client what was decided, and tells it in the log. */
export class DhcpAnswerer {
  readonly #parts: DhcpAnswererParts;

  constructor(parts: DhcpAnswererParts) {
    this.#parts = parts;
  }

  grant(exchange: Exchange, type: "offer" | "ack" | "bootp", given: Grant): void {
    const plan = this.#plan(exchange);
    const leaseTime = type === "bootp" ? null : given.leaseTime;
    const boot = plan?.network ?? null;
    const contents = { type, yiaddr: given.address, leaseTime, hostname: given.hostname, boot, message: null };
    this.#reply(exchange, contents, given.reason, plan);
  }

  refuse(exchange: Exchange, reason: string): void {
    this.#parts.counts.naks += 1;
    const nothing = { yiaddr: UNSPECIFIED, leaseTime: null, hostname: null, boot: null };
    this.#reply(exchange, { type: "nak", ...nothing, message: reason }, reason, undefined);
  }

  silence(arrival: Arrival, reason: string): void {
    this.#parts.counts.silent += 1;
    this.#parts.log.info("dhcp.silent", fieldsOf(arrival, reason));
  }

  #plan({ client, known, served }: Exchange): BootPlan | undefined {
    if (client.mac === null) return undefined;
    const { firmware, mac } = client;
    return planFor(known, this.#parts.boot, { mac, firmware, services: served.services });
  }

  #reply(exchange: Exchange, contents: ReplyContents, reason: string, plan: BootPlan | undefined): void {
    const { message, client, served, server } = exchange;
    const { log, counts } = this.#parts;
    const encoded = encodeReply(message, client, contents, server, optionsFor(exchange, contents.yiaddr));
    const to = this.#destination(exchange, contents);
    // One literal, without spreading others into it: this runs twice for each lease.
    const fields: LogFields = {
      interface: served.link.interface,
      xid: hexOfWord(message.xid),
      mac: client.mac ?? undefined,
      node: exchange.known.node?.uuid,
      relay: client.giaddr ?? undefined,
      type: client.type ?? "bootp",
      reason,
      answer: contents.type,
      address: contents.yiaddr === UNSPECIFIED ? undefined : contents.yiaddr,
      to: `${to.kind} ${to.address}`,
      firmware: firmwareWord(client.firmware),
      boot:
        plan === undefined ? undefined : plan.network.kind === "file" ? withoutBootSecret(plan.network.file) : "none",
      boot_reason: plan?.network.reason,
      omitted: encoded.omitted.length === 0 ? undefined : encoded.omitted,
    };
    log.info("dhcp.answered", fields);
    served.link.socket.post(encoded.bytes, to, (fault) => {
      counts.failed += 1;
      log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
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
      this.#parts.log.debug("dhcp.failed", { interface: link.interface, mac: client.mac, reason });
      return broadcastDestination;
    }
  }
}

/** What every line about a message says. */
export function fieldsOf({ served, message, client, known }: Arrival, reason: string): LogFields {
  return {
    interface: served.link.interface,
    xid: hexOfWord(message.xid),
    mac: client.mac ?? undefined,
    node: known.node?.uuid,
    relay: client.giaddr ?? undefined,
    type: client.type ?? "bootp",
    reason,
  };
}
