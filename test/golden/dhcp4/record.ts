/**
 * Records what real DHCP clients send: `node build/test/golden/dhcp4/record.js [DIRECTORY]`, as root. Each client runs in
 * the lab of the peer tests beside tcpdump; the first message of each type becomes a file of hex with its provenance.
 */
import { join } from "node:path";
import { decodeMessage } from "../../../src/protocol/dhcp4/message.ts";
import { readOption } from "../../../src/protocol/dhcp4/options.ts";
import { BootLab } from "../../peer/boot-lab.ts";
import {
  armMachine,
  firmwareAavmf,
  firmwareOvmf,
  machine,
  NO_PXE,
  TAP,
  uBootMachine,
} from "../../peer/boot-machine.ts";
import { captured, type Client, packageVersion, recordAll, unpackedVersion, writeGolden } from "../capture.ts";

const MAC = "52:54:00:79:00:77";
const NIC = `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`;
const NIC_WITHOUT_ROM = `${NIC},romfile=`;

interface Recording extends Client {
  readonly tap: boolean;
  /** Of the node, where it is not x86-64: EDK2 passes over offers without a boot file. */
  readonly cpuArch?: string;
  readonly run: (lab: BootLab) => Promise<void>;
}

async function untilAcks(lab: BootLab, count: number, within_s: number): Promise<void> {
  await lab.logged(() => lab.answers().filter((line) => line["answer"] === "ack").length >= count, within_s);
}

const recordings: readonly Recording[] = [
  {
    name: "udhcpc",
    client: () => packageVersion("busybox"),
    how: "busybox udhcpc -i eth0 -f -R, SIGUSR1 (renew), SIGTERM (release)",
    tap: false,
    run: async (lab) => {
      const script = lab.script(
        "udhcpc.sh",
        '#!/bin/sh\ncase "$1" in bound|renew) ip addr flush dev $interface; ip addr add $ip/$mask dev $interface;; esac\n',
      );
      const udhcpc = lab.enclosure.spawn("site", ["busybox", "udhcpc", "-i", "eth0", "-f", "-R", "-s", script]);
      await untilAcks(lab, 1, 20);
      await lab.wait(0.5);
      await udhcpc.kill("SIGUSR1");
      await untilAcks(lab, 2, 20);
      await udhcpc.stop();
    },
  },
  {
    name: "dhclient",
    client: () => packageVersion("isc-dhcp-client"),
    how: "dhclient -4 -1 eth0, then -r (release)",
    tap: false,
    run: async (lab) => {
      const script = lab.script(
        "dhclient.sh",
        '#!/bin/sh\ncase "$reason" in BOUND) ip addr flush dev $interface; ip addr add $new_ip_address/$new_subnet_mask dev $interface;; esac\nexit 0\n',
      );
      const argv = [
        "-4",
        "-sf",
        script,
        "-lf",
        join(lab.directory, "leases"),
        "-pf",
        join(lab.directory, "pid"),
        "eth0",
      ];
      await lab.client(["dhclient", "-1", ...argv]);
      await lab.client(["dhclient", "-r", ...argv]);
    },
  },
  {
    name: "dhcpcd",
    client: () => packageVersion("dhcpcd-base"),
    how: "dhcpcd -4 -B eth0 with a DUID, SIGALRM (release)",
    tap: false,
    run: async (lab) => {
      const config = lab.script(
        "dhcpcd.conf",
        "duid\nnoarp\nnohook resolv.conf, hostname, ntp.conf\noption subnet_mask, routers, domain_name\nscript /bin/true\n",
      );
      await lab.client(["mount", "-t", "tmpfs", "tmpfs", "/var/lib/dhcpcd"]);
      const dhcpcd = lab.enclosure.spawn("site", ["dhcpcd", "-4", "-B", "-f", config, "eth0"]);
      await untilAcks(lab, 1, 30);
      await lab.wait(1);
      await dhcpcd.kill("SIGALRM");
      await dhcpcd.ended;
    },
  },
  {
    name: "ipxe-rom-bios",
    client: () => packageVersion("ipxe-qemu"),
    how: "QEMU virtio-net-pci with its iPXE ROM under SeaBIOS",
    tap: true,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC, []);
      await untilAcks(lab, 1, 90);
      await lab.wait(1);
    },
  },
  {
    name: "ovmf-pxe",
    client: () => packageVersion("ovmf"),
    how: "QEMU virtio-net-pci without ROM under OVMF: UEFI PXE over IPv4",
    tap: true,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC_WITHOUT_ROM, firmwareOvmf(lab));
      await lab.logged((line) => line["answer"] === "ack" && String(line["firmware"]).startsWith("pxe"), 120);
    },
  },
  {
    name: "ipxe-snponly-uefi",
    client: () => packageVersion("ipxe"),
    how: "snponly.efi, chain-loaded by OVMF's PXE",
    tap: true,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC_WITHOUT_ROM, firmwareOvmf(lab));
      await lab.logged((line) => line["answer"] === "ack" && String(line["firmware"]).startsWith("ipxe"), 180);
    },
  },
  {
    name: "ovmf-http",
    client: () => packageVersion("ovmf"),
    how: "QEMU without ROM under OVMF, loader withheld so that PXE fails: UEFI HTTP boot over IPv4",
    tap: true,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC_WITHOUT_ROM, firmwareOvmf(lab));
      await lab.logged((line) => line["answer"] === "ack" && String(line["firmware"]).startsWith("uefi-http"), 400);
    },
  },
  {
    name: "systemd-networkd",
    client: () => packageVersion("systemd"),
    how: "systemd-networkd with DHCP=ipv4 and its own DUID, SIGTERM (release)",
    tap: false,
    run: async (lab) => {
      const lines = ["[Network]", "DHCP=ipv4", "LinkLocalAddressing=no", "IPv6AcceptRA=no"];
      const networkd = await lab.networkd(lines);
      await lab.until(() => lab.networkdLog().includes("DHCPv4 address"), "networkd's address");
      await networkd.stop();
    },
  },
  {
    name: "aavmf-pxe",
    client: () => unpackedVersion("qemu-efi-aarch64"),
    how: "QEMU virt (arm64), virtio-net-pci without ROM: UEFI PXE over IPv4",
    tap: true,
    cpuArch: "aarch64",
    run: async (lab) => {
      await using _qemu = armMachine(lab, NIC_WITHOUT_ROM, firmwareAavmf(lab, ""));
      await lab.logged((line) => line["answer"] === "ack" && String(line["firmware"]).startsWith("pxe"), 120);
    },
  },
  {
    name: "aavmf-http",
    client: () => unpackedVersion("qemu-efi-aarch64"),
    how: "QEMU virt (arm64), virtio-net-pci without ROM, PXE off: UEFI HTTP boot over IPv4",
    tap: true,
    cpuArch: "aarch64",
    run: async (lab) => {
      await using _qemu = armMachine(lab, NIC_WITHOUT_ROM, [...firmwareAavmf(lab, ""), ...NO_PXE]);
      await lab.logged((line) => line["answer"] === "ack" && String(line["firmware"]).startsWith("uefi-http"), 200);
    },
  },
  {
    name: "u-boot",
    client: () => unpackedVersion("u-boot-qemu"),
    how: "QEMU virt (arm64), e1000, qemu_arm64/u-boot.bin: dhcp",
    tap: true,
    cpuArch: "aarch64",
    run: async (lab) => {
      await using _qemu = uBootMachine(lab, MAC, "dhcp");
      await untilAcks(lab, 1, 60);
    },
  },
  {
    name: "u-boot-efi",
    client: () => unpackedVersion("u-boot-qemu"),
    how: "QEMU virt (arm64), e1000, qemu_arm64/u-boot.bin: run bootcmd_dhcp, the second DHCP in it",
    tap: true,
    cpuArch: "aarch64",
    run: async (lab) => {
      await using _qemu = uBootMachine(lab, MAC, "run bootcmd_dhcp");
      await untilAcks(lab, 2, 60);
    },
  },
  {
    name: "perfdhcp",
    client: () => packageVersion("kea-admin"),
    how: "perfdhcp -4 -l 10.79.0.9 -r 2 -p 2 10.79.0.1: as a relay",
    tap: false,
    run: async (lab) => {
      await lab.client(["ip", "addr", "add", "10.79.0.9/24", "dev", "eth0"]);
      // -n 1 would end it before the OFFER has come.
      await lab.enclosure.spawn("site", ["perfdhcp", "-4", "-l", "10.79.0.9", "-r", "2", "-p", "2", "10.79.0.1"]).ended;
    },
  },
];

/** What the recording is for: which of the client's messages are kept. */
function belongs(name: string, vendorClass: string | undefined, ipxe: boolean): boolean {
  if (name === "u-boot-efi") return vendorClass?.startsWith("PXEClient") === true;
  if (name === "ovmf-pxe" || name === "aavmf-pxe") return !ipxe && vendorClass?.startsWith("PXEClient") === true;
  if (name === "ovmf-http" || name === "aavmf-http") return vendorClass?.startsWith("HTTPClient") === true;
  if (name === "ipxe-snponly-uefi") return ipxe;
  return true;
}

async function record(recording: Recording, directory: string): Promise<Iterable<string>> {
  const loaders: Readonly<Record<string, string>> =
    recording.name === "ovmf-http" ? {} : { "snponly.efi": "/usr/lib/ipxe/snponly.efi" };
  const { cpuArch } = recording;
  const node = { mac: MAC, bootTarget: "ramdisk" as const, ...(cpuArch === undefined ? {} : { cpuArch }) };
  // The lab serves no ramdisk for arm64; that it is named is enough.
  const arm64Ramdisk = { kernel: "/dev/null", initrd: "/dev/null" };
  await using lab = await BootLab.open({ nodes: [node], loaders, arm64Ramdisk }, recording.tap ? TAP : []);
  const kept = new Set<string>();
  for (const bytes of await captured(lab, 67, () => recording.run(lab))) {
    const { op, options } = decodeMessage(bytes);
    if (op !== "request") continue; // a relay is answered on the same port
    if (
      !belongs(recording.name, readOption(options, "vendorClassIdentifier"), readOption(options, "ipxe") !== undefined)
    )
      continue;
    const type = readOption(options, "messageType") ?? "bootp";
    const state =
      type === "request" && readOption(options, "serverIdentifier") === undefined ? "request-renewing" : type;
    if (kept.has(state)) continue;
    kept.add(state);
    writeGolden(directory, `${recording.name}-${state}`, state, recording, bytes);
  }
  return kept;
}

await recordAll(recordings, "test/golden/dhcp4", record);
