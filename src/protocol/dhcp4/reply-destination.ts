import type { Ipv4Address } from "../../core/brand.ts";
import { UNSPECIFIED } from "./message.ts";
import type { MessageType } from "./message-type.ts";

export const SERVER_PORT = 67;
export const CLIENT_PORT = 68;
const LIMITED_BROADCAST = "255.255.255.255" as Ipv4Address;

export interface Destination {
  readonly address: Ipv4Address;
  readonly port: number;
  readonly kind: "relay" | "unicast" | "broadcast" | "back";
}

export const broadcastDestination: Destination = { address: LIMITED_BROADCAST, port: CLIENT_PORT, kind: "broadcast" };

/** What decides where a reply goes. */
export interface ReplyAddressing {
  readonly type: Extract<MessageType, "offer" | "ack" | "nak"> | "bootp";
  /** Of the request. */
  readonly giaddr: Ipv4Address;
  readonly ciaddr: Ipv4Address;
  readonly broadcast: boolean;
  readonly yiaddr: Ipv4Address;
  /** Where the request came from. */
  readonly source: { readonly address: Ipv4Address; readonly port: number };
  /** The relay asked to be answered on its source port (RFC 8357 §5.2). */
  readonly relayUsesSourcePort: boolean;
  /**
   * Whether a frame can be sent to an address that its owner does not answer ARP for yet; without, such a client is
   * answered by broadcast, as RFC 2131 §4.1 permits.
   */
  readonly reachesUnconfigured: boolean;
}

/** Where a reply goes. @source RFC 2131 §4.1 */
export function replyDestination(reply: ReplyAddressing): Destination {
  if (reply.giaddr !== UNSPECIFIED) {
    return { address: reply.giaddr, port: reply.relayUsesSourcePort ? reply.source.port : SERVER_PORT, kind: "relay" };
  }
  // A client that is refused may hold an address that is wrong here.
  if (reply.type === "nak") return broadcastDestination;
  if (reply.ciaddr !== UNSPECIFIED) return { address: reply.ciaddr, port: CLIENT_PORT, kind: "unicast" };
  if (!reply.broadcast && reply.reachesUnconfigured && reply.yiaddr !== UNSPECIFIED) {
    return { address: reply.yiaddr, port: CLIENT_PORT, kind: "unicast" };
  }
  return broadcastDestination;
}

/** A PXE request on port 4011 comes from a client with an address and is answered where it came from. @source PXE 2.1 §2.2.2 */
export function bootServerDestination(source: { readonly address: Ipv4Address; readonly port: number }): Destination {
  return { ...source, kind: "back" };
}
