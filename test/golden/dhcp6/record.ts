/**
 * Records what real DHCPv6 clients send: `node build/test/golden/dhcp6/record.js DIRECTORY [NAME]`, as root. Each client
 * runs in the lab of the peer tests beside tcpdump; the first message of each type becomes a file of hex with its provenance.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BootLab } from "../../peer/boot-lab.ts";
import { firmwareOvmf, machine, TAP } from "../../peer/boot-machine.ts";
import { IPV6, LAYOUT, ONLY_IPV6, routerAdvertisements } from "../../peer/ipv6-lab.ts";
import { readClient6, unpack } from "../../../src/service/dhcp6-client.ts";
import { captured, type Client, packageVersion, recordAll, writeGolden } from "../capture.ts";

const MAC = "52:54:00:79:00:77";

interface Recording extends Client {
  readonly machine: boolean;
  /** Which of the messages on the wire are meant. */
  readonly program: "system" | "pxe" | "ipxe";
  readonly run: (lab: BootLab) => Promise<void>;
}

async function boot(lab: BootLab, until: string): Promise<void> {
  await using _router = routerAdvertisements(lab);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, [
    ...firmwareOvmf(lab),
    "-fw_cfg",
    "name=opt/org.tianocore/IPv4PXESupport,string=no",
  ]);
  const isReply = (firmware: unknown): boolean => String(firmware).startsWith(until);
  await lab.logged((line) => line["answer"] === "reply" && isReply(line["firmware"]), 180);
}

const recordings: readonly Recording[] = [
  {
    name: "dhclient",
    client: () => packageVersion("isc-dhcp-client"),
    how: "dhclient -6 -1 eth0, -x, -1 (CONFIRM), -r (RELEASE)",
    machine: false,
    program: "system",
    run: async (lab) => {
      const script = lab.script(
        "dhclient.sh",
        '#!/bin/sh\ncase "$reason" in BOUND6) ip -6 addr replace $new_ip6_address/64 dev $interface nodad;; esac\nexit 0\n',
      );
      const files = ["-lf", join(lab.directory, "leases"), "-pf", join(lab.directory, "pid")];
      for (const act of ["-1", "-x", "-1", "-r"])
        await lab.client(["dhclient", act, "-6", "-q", "-sf", script, ...files, "eth0"]);
    },
  },
  {
    name: "dhcpcd",
    client: () => packageVersion("dhcpcd-base"),
    how: "dhcpcd -6 -B eth0 with a DUID and Rapid Commit, SIGALRM (RELEASE)",
    machine: false,
    program: "system",
    run: async (lab) => {
      const config = lab.script(
        "dhcpcd.conf",
        "duid\nnoipv6rs\nnohook resolv.conf, hostname, ntp.conf\noption rapid_commit\nscript /bin/true\ninterface eth0\nia_na 1\n",
      );
      await lab.client(["mount", "-t", "tmpfs", "tmpfs", "/var/lib/dhcpcd"]);
      const log = join(lab.directory, "dhcpcd.log");
      const dhcpcd = lab.enclosure.spawn("site", ["dhcpcd", "-6", "-B", "-d", "-f", config, "eth0"], { logFile: log });
      await lab.until(() => readFileSync(log, "utf8").includes("DHCPv6 DAD completed"), "the address");
      await dhcpcd.kill("SIGALRM");
      await dhcpcd.ended;
    },
  },
  {
    name: "systemd-networkd",
    client: () => packageVersion("systemd"),
    how: "systemd-networkd with DHCP=ipv6 and WithoutRA=solicit, SIGTERM (RELEASE)",
    machine: false,
    program: "system",
    run: async (lab) => {
      const lines = ["[Network]", "DHCP=ipv6", "LinkLocalAddressing=ipv6", "IPv6AcceptRA=no"];
      const networkd = await lab.networkd([...lines, "[DHCPv6]", "WithoutRA=solicit"]);
      const reply = await lab.logged((line) => line["answer"] === "reply");
      await lab.until(() => lab.networkdLog().includes(String(reply["address"])), "networkd's address");
      await networkd.stop();
    },
  },
  {
    name: "ovmf-pxe",
    client: () => packageVersion("ovmf"),
    how: "QEMU virtio-net-pci without ROM under OVMF: UEFI PXE over IPv6, with router advertisements (M flag)",
    machine: true,
    program: "pxe",
    run: (lab) => boot(lab, "pxe"),
  },
  {
    name: "ipxe-snponly-uefi",
    client: () => packageVersion("ipxe"),
    how: "snponly.efi, chain-loaded by OVMF's PXE over IPv6",
    machine: true,
    program: "ipxe",
    run: (lab) => boot(lab, "ipxe"),
  },
];

async function record(recording: Recording, directory: string): Promise<Iterable<string>> {
  const options = { nodes: [{ mac: MAC, bootTarget: "ramdisk" as const }], ipv6: { ...IPV6, rapidCommit: true } };
  const layout = recording.machine ? [...TAP, ...LAYOUT, ...ONLY_IPV6] : LAYOUT;
  await using lab = await BootLab.open(options, layout);
  const kept = new Set<string>();
  for (const bytes of await captured(lab, 547, () => recording.run(lab))) {
    const delivered = unpack(bytes);
    if (delivered === null || readClient6(delivered, "fe80::1").firmware.program !== recording.program) continue;
    const { type } = delivered.message;
    if (kept.has(type)) continue;
    kept.add(type);
    writeGolden(directory, `${recording.name}-${type}`, type, recording, bytes);
  }
  return kept;
}

await recordAll(recordings, "test/golden/dhcp6", record);
