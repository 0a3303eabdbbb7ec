import { join } from "node:path";
import type { Child } from "../rack/child.ts";
import type { BootLab } from "./boot-lab.ts";

/** For the lab's layout: the other server's address on `eth0`. */
export const OTHER = ["ip -n site addr add 10.79.0.2/24 dev eth0"];

/** Somebody else's DHCP server on the same wire, at the site's interface; it knows nothing of booting. */
export function otherDhcpServer(lab: BootLab, name: string): Child {
  const own = ["dnsmasq", "-k", "-p", "0", "--conf-file=/dev/null", "--user=root", "--no-ping", "--dhcp-authoritative"];
  const leases = `--dhcp-leasefile=${join(lab.directory, "other")}`;
  return lab.enclosure.spawn("site", [...own, "-i", name, "--dhcp-range=10.79.0.200,10.79.0.220,1h", leases]);
}
