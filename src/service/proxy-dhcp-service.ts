import { hexOfWord, type Ipv4Address } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { MalformedFault } from "../core/fault.ts";
import type { Log } from "../core/log.ts";
import type { DatagramServer, ReceivedDatagram } from "../net/datagram.ts";
import { type Dhcp4Message, decodeMessage } from "../protocol/dhcp4/message.ts";
import { bootServerDestination, type Destination, replyDestination } from "../protocol/dhcp4/reply-destination.ts";
import { type BootDirectory, type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import { withoutBootSecret } from "./boot-secret.ts";
import { type DhcpClient, readClient } from "./dhcp-client.ts";
import { firmwareWord } from "./dhcp-firmware.ts";
import { encodeProxyReply } from "./dhcp-reply.ts";
import { MinuteLog } from "./minute-log.ts";

export interface ProxyDhcpLink {
  readonly interface: string;
  /** Ours on it, where the boot services are. */
  readonly address: Ipv4Address;
  /** Bound to port 67 of this interface alone. The service closes it. */
  readonly discoverSocket: DatagramServer;
  /** Bound to port 4011 of the address. The service closes it. */
  readonly requestSocket: DatagramServer;
}

export interface ProxyDhcpServiceOptions {
  readonly store: BootDirectory;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: readonly ProxyDhcpLink[];
  readonly boot: BootSettings;
}

export interface ProxyDhcpCounters {
  readonly received: number;
  readonly malformed: number;
  readonly offers: number;
  readonly acks: number;
  readonly silent: number;
  readonly failed: number;
}

/**
 * Tells machines what to boot and leaves their addresses to the DHCP server that is there already. Only firmware is
 * answered, and only when the machine is to boot something of ours.
 * @source PXE 2.1 §2.2.2 "ProxyDHCP"
 */
export class ProxyDhcpService implements AsyncDisposable {
  readonly #options: ProxyDhcpServiceOptions;
  readonly #malformed: MinuteLog;
  readonly #counts = { received: 0, malformed: 0, offers: 0, acks: 0, silent: 0, failed: 0 };

  constructor(options: ProxyDhcpServiceOptions) {
    this.#options = options;
    this.#malformed = new MinuteLog({ clock: options.clock, log: options.log, event: "dhcp.malformed" });
  }

  start(): void {
    const { links, log } = this.#options;
    for (const link of links) {
      link.discoverSocket.listen((datagram) => this.#receive(link, "discover", datagram));
      link.requestSocket.listen((datagram) => this.#receive(link, "request", datagram));
      log.info("dhcp.listening", { interface: link.interface, address: link.address, port: "67, 4011 (proxy)" });
    }
  }

  counters(): ProxyDhcpCounters {
    return { ...this.#counts };
  }

  #receive(link: ProxyDhcpLink, door: "discover" | "request", datagram: ReceivedDatagram): void {
    this.#counts.received += 1;
    try {
      const message = decodeMessage(datagram.bytes);
      if (message.op === "request") this.#answer(link, door, datagram, message, readClient(message));
    } catch (error) {
      if (error instanceof MalformedFault) {
        this.#counts.malformed += 1;
        this.#malformed.report(error.field, {
          interface: link.interface,
          peer: datagram.from.address,
          reason: error.message,
        });
      } else {
        this.#counts.failed += 1;
        this.#options.log.error("dhcp.failed", { interface: link.interface, peer: datagram.from.address }, error);
      }
    }
  }

  #answer(
    link: ProxyDhcpLink,
    door: "discover" | "request",
    datagram: ReceivedDatagram,
    message: Dhcp4Message,
    client: DhcpClient,
  ): void {
    const { store, boot, log } = this.#options;
    // On port 67 a REQUEST speaks to the server whose address is taken; on 4011 some firmware asks by INFORM.
    const asks =
      door === "discover" ? client.type === "discover" : client.type === "request" || client.type === "inform";
    // U-Boot takes the first offer that comes, also one without an address, and would end here.
    const { program } = client.firmware;
    if (!asks || program === "system" || program === "u-boot" || client.mac === null) return;
    const { mac, firmware } = client;
    const known = findMachine(store, mac);
    const plan = planFor(known, boot, { mac, firmware, services: servicesAt(boot, link.address) });
    const fields = {
      interface: link.interface,
      xid: hexOfWord(message.xid),
      mac: client.mac,
      node: known.node?.uuid,
      type: client.type,
      firmware: firmwareWord(firmware),
    };
    if (plan.network.kind === "silent") {
      this.#counts.silent += 1;
      log.info("dhcp.silent", { ...fields, reason: plan.network.reason });
      return;
    }
    const type = door === "discover" ? "offer" : "ack";
    const { bytes } = encodeProxyReply(message, client, { type, server: link.address, boot: plan.network });
    const to = destination(door, datagram, message, client);
    this.#counts[door === "discover" ? "offers" : "acks"] += 1;
    log.info("dhcp.answered", {
      ...fields,
      answer: `proxy ${type}`,
      to: `${to.kind} ${to.address}`,
      boot: withoutBootSecret(plan.network.file),
      reason: plan.network.reason,
    });
    const socket = door === "discover" ? link.discoverSocket : link.requestSocket;
    socket.post(bytes, to, (fault) => {
      this.#counts.failed += 1;
      log.warn("dhcp.failed", { ...fields, reason: fault.message, code: fault.code });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#options.links.flatMap((link) => [link.discoverSocket.close(), link.requestSocket.close()]));
  }
}

function destination(
  door: "discover" | "request",
  { from }: ReceivedDatagram,
  message: Dhcp4Message,
  client: DhcpClient,
): Destination {
  const source = { address: from.address as Ipv4Address, port: from.port };
  if (door === "request") return bootServerDestination(source);
  return replyDestination({
    type: "offer",
    giaddr: message.giaddr,
    ciaddr: message.ciaddr,
    broadcast: message.broadcast,
    yiaddr: message.yiaddr,
    source,
    relayUsesSourcePort: client.relay?.usesSourcePort ?? false,
    reachesUnconfigured: false,
  });
}
