import type { Ipv6Address } from "../core/ipv6-address.ts";
import { bindUdpToInterface } from "../core/native-addon.ts";
import { DatagramSocket, type DatagramServer } from "../net/datagram.ts";

/** @source RFC 8415 §7.2 */
export const SERVER_PORT = 547;

/** All_DHCP_Relay_Agents_and_Servers, which clients call, and All_DHCP_Servers, which relays call. @source RFC 8415 §7.1 */
const GROUPS = ["ff02::1:2", "ff05::1:3"];

/** One interface that DHCPv6 is served on. The service closes its sockets. */
export interface Dhcp6Link {
  readonly interface: string;
  /** Ours on it, of global or unique local scope: where machines find the boot services. */
  readonly address: Ipv6Address;
  /** Port 547 of the groups. Bound to the group itself, a socket hears nothing else: so is known how a client called us. */
  readonly groupSockets: readonly DatagramServer[];
  /** Port 547 of our own address: for relays. */
  readonly ownSocket: DatagramServer;
}

/** @throws Fault not-found when the interface has not the address, conflict when another serves there */
export async function openDhcp6Link(name: string, address: Ipv6Address): Promise<Dhcp6Link> {
  return {
    interface: name,
    address,
    groupSockets: await Promise.all(GROUPS.map((group) => ipv6Socket(name, group, SERVER_PORT, group))),
    ownSocket: await ipv6Socket(name, address, SERVER_PORT),
  };
}

/** A UDP socket that hears one interface alone; of a group when it is named. */
export async function ipv6Socket(
  name: string,
  address: string,
  port: number,
  group: string | null = null,
): Promise<DatagramSocket> {
  const fd = bindUdpToInterface({ interface: name, address, port, broadcast: false });
  const multicast = group === null ? null : { group, interface: name };
  return await DatagramSocket.open({ kind: "fd", fd, broadcast: false, ipv6: { multicast } });
}
