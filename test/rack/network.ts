/** The addresses of every virtual rack; racks do not meet, so that all use the same. */
export const PROVISIONING = {
  interface: "prov0",
  address: "10.77.0.1",
  prefix: 24,
  firstLease: "10.77.0.100",
  lastLease: "10.77.0.199",
} as const;
export const BMC_NETWORK = { interface: "bmc0", address: "10.77.1.1", prefix: 24 } as const;
export const WAN = {
  rackInterface: "wan0",
  siteInterface: "rack0",
  rackAddress: "10.77.2.1",
  siteAddress: "10.77.2.2",
  prefix: 24,
} as const;

export function bmcAddress(index: number): string {
  return `10.77.1.${11 + index}`;
}

/** The last byte counts machines; the prefix is QEMU's. */
export function machineMac(index: number): string {
  return `52:54:00:77:00:${(0x11 + index).toString(16).padStart(2, "0")}`;
}

export function tapName(index: number): string {
  return `tap${index}`;
}

/** Shell commands that lay out the rack: a bridge with a tap per machine, the BMC network, and a cable to the site. */
export function layoutCommands(machines: number): readonly string[] {
  const indexes = Array.from({ length: machines }, (_, index) => index);
  return [
    `ip link add ${PROVISIONING.interface} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `ip addr add ${PROVISIONING.address}/${PROVISIONING.prefix} brd + dev ${PROVISIONING.interface}`,
    `ip link set ${PROVISIONING.interface} up`,
    ...indexes.flatMap((index) => [
      `ip tuntap add ${tapName(index)} mode tap`,
      `ip link set ${tapName(index)} master ${PROVISIONING.interface} up`,
    ]),
    // A bridge without ports serves as the dummy interface that small kernels lack.
    `ip link add ${BMC_NETWORK.interface} type bridge`,
    `ip addr add ${BMC_NETWORK.address}/${BMC_NETWORK.prefix} dev ${BMC_NETWORK.interface}`,
    ...indexes.map((index) => `ip addr add ${bmcAddress(index)}/${BMC_NETWORK.prefix} dev ${BMC_NETWORK.interface}`),
    `ip link set ${BMC_NETWORK.interface} up`,
    `ip link add ${WAN.rackInterface} type veth peer name ${WAN.siteInterface} netns site`,
    `ip addr add ${WAN.rackAddress}/${WAN.prefix} dev ${WAN.rackInterface}`,
    `ip link set ${WAN.rackInterface} up`,
    `ip -n site addr add ${WAN.siteAddress}/${WAN.prefix} dev ${WAN.siteInterface}`,
    `ip -n site link set ${WAN.siteInterface} up`,
  ];
}
