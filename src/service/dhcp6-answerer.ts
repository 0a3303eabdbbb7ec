import type { Log, LogFields } from "../core/log.ts";
import type { Millis } from "../core/units.ts";
import type { BootPlan } from "../domain/boot-plan.ts";
import type { DatagramEndpoint } from "../net/datagram.ts";
import { readOption } from "../protocol/dhcp6/options.ts";
import { type BootSettings, planFor } from "./boot-lookup.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import { firmwareWord } from "./dhcp-firmware.ts";
import type { Dhcp6Counts } from "./dhcp6-counters.ts";
import type { Arrival6, Exchange6 } from "./dhcp6-exchange.ts";
import { SERVER_PORT } from "./dhcp6-link.ts";
import { type AnsweredAssociation, bootUrl, encodeReply6, type Reply6Contents, replyMessage } from "./dhcp6-reply.ts";

export interface Dhcp6Identity {
  /** What clients know this server by; the same for as long as the store lives (RFC 8415 §11). */
  readonly duid: Uint8Array;
  /** 0 to 255; clients take the highest, and 255 at once. */
  readonly preference: number;
}

interface Dhcp6AnswererParts extends Dhcp6Identity {
  readonly boot: BootSettings;
  readonly log: Log;
  readonly counts: Dhcp6Counts;
}

/** @source RFC 8415 §7.2 */
const CLIENT_PORT = 546;

/** Says to a client what was decided, and tells it in the log. */
export class Dhcp6Answerer {
  readonly #parts: Dhcp6AnswererParts;

  constructor(parts: Dhcp6AnswererParts) {
    this.#parts = parts;
  }

  /** With addresses, options and what to boot. */
  tell(
    exchange: Exchange6,
    type: "advertise" | "reply",
    associations: readonly AnsweredAssociation[],
    reason: string,
  ): void {
    const { subnet, served, client } = exchange;
    const { preferredLifetime: preferred, validLifetime: valid } = subnet.prepared.subnet;
    const plan = this.#plan(exchange);
    const boot = plan?.network ?? null;
    const nothing = associations.length > 0 && associations.every(isEmpty);
    this.#reply(
      exchange,
      {
        type,
        associations,
        // Older clients look for it outside of the association too (RFC 3315 §17.2.2).
        status: type === "advertise" && nothing ? { name: "noAddrsAvail", message: reason } : null,
        told: { options: subnet.options, boot, services: served.services },
        lifetimes: { preferred, valid },
        rapidCommit: exchange.type === "solicit" && type === "reply" && client.rapidCommit,
        preference: type === "advertise" ? this.#parts.preference : 0,
      },
      reason,
      plan,
    );
  }

  /** How it went, without options; `associations`: those about which more is to be said. */
  conclude(
    exchange: Exchange6,
    status: NonNullable<Reply6Contents["status"]>,
    reason: string,
    associations: readonly AnsweredAssociation[] = [],
  ): void {
    const lifetimes = { preferred: 0 as Millis, valid: 0 as Millis };
    const contents = { status, associations, told: null, lifetimes, rapidCommit: false, preference: 0 };
    this.#reply(exchange, { type: "reply", ...contents }, reason, undefined);
  }

  silence(arrival: Arrival6, reason: string): void {
    this.#parts.counts.silent += 1;
    this.#parts.log.info("dhcp.silent", fieldsOf6(arrival, reason));
  }

  #plan({ client, known, served }: Exchange6): BootPlan | undefined {
    const { firmware, mac } = client;
    return mac === null ? undefined : planFor(known, this.#parts.boot, { mac, firmware, services: served.services });
  }

  #reply(exchange: Exchange6, contents: Reply6Contents, reason: string, plan: BootPlan | undefined): void {
    const { delivered, client, served, socket } = exchange;
    const { log, counts, duid } = this.#parts;
    const bytes = encodeReply6(replyMessage(delivered.message, client, contents, duid), delivered.relays);
    counts[contents.type === "advertise" ? "advertises" : "replies"] += 1;
    const to = destination(exchange);
    const addresses = contents.associations.flatMap(({ decision }) =>
      decision.kind === "granted" ? [decision.address] : [],
    );
    const { network } = plan ?? {};
    const fields: LogFields = {
      ...fieldsOf6(exchange, reason),
      answer: contents.type,
      address: addresses.length === 0 ? undefined : addresses.join(", "),
      to: `unicast ${to.address}`,
      firmware: firmwareWord(client.firmware),
      boot:
        network === undefined
          ? undefined
          : network.kind === "file"
            ? withoutBootSecret(bootUrl(network, served.services))
            : "none",
      boot_reason: network?.reason,
    };
    log.info("dhcp.answered", fields);
    socket.post(bytes, to, (fault) => {
      counts.failed += 1;
      log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
    });
  }
}

/** What every line about a message says. */
export function fieldsOf6({ served, delivered, client, known, from }: Arrival6, reason: string): LogFields {
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

function isEmpty({ decision }: AnsweredAssociation): boolean {
  return decision.kind === "refused" && decision.status === "noAddrsAvail";
}

/** Back to where it came from: to the client's port, or to the relay's. @source RFC 8415 §18.3.10, §19.3, RFC 8357 §5.2 */
function destination({ delivered, from }: Exchange6): DatagramEndpoint {
  const [relay] = delivered.relays;
  if (relay === undefined) return { address: from.address, port: CLIENT_PORT };
  const ownPort = readOption(relay.options, "relaySourcePort") !== undefined;
  return { address: from.address, port: ownPort ? from.port : SERVER_PORT };
}
