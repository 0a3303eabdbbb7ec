import { join } from "node:path";
import type { Child } from "../rack/child.ts";
import type { BootLab } from "./boot-lab.ts";
import type { BootServerOptions } from "./boot-server.ts";

export const SERVER6 = "fd79::1";

/** The wire with addresses that need not wait for duplicate address detection. */
export const LAYOUT = [
  `ip addr add ${SERVER6}/64 dev br0 nodad`,
  "ip -n site addr flush dev eth0 scope link",
  "ip -n site addr add fe80::5054:ff:fe79:1/64 dev eth0 nodad",
];

export const IPV6: NonNullable<BootServerOptions["ipv6"]> = {
  address: SERVER6,
  prefixLength: 64,
  pool: ["fd79::1000", "fd79::10ff"],
  preferredLifetime_s: 2400,
  validLifetime_s: 3600,
};

/** What a network that machines boot over by IPv6 needs besides: a router that says so (docs/boot.md). */
export function routerAdvertisements(lab: BootLab): Child {
  const config = lab.script(
    "radvd.conf",
    "interface br0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvManagedFlag on; AdvOtherConfigFlag on; AdvDefaultLifetime 0; prefix fd79::/64 { AdvOnLink on; AdvAutonomous off; }; };\n",
  );
  const files = ["-C", config, "-p", join(lab.directory, "radvd.pid")];
  return lab.enclosure.spawn("rack", ["radvd", "-n", "-m", "stderr", ...files], {
    logFile: join(lab.directory, "radvd.log"),
  });
}

/** Nobody answers IPv4. */
export const ONLY_IPV6 = [
  "nft add table ip t",
  "nft 'add chain ip t in { type filter hook input priority 0; policy drop; }'",
  "ip addr flush dev lo",
];
