/**
 * Records how real TFTP clients ask: `node build/test/golden/tftp/record.js [DIRECTORY] [NAME]`, as root. Each client runs in
 * the lab of the peer tests beside tcpdump; of its requests the first with each set of options becomes a file of hex.
 */
import { decodeTftp } from "../../../src/protocol/tftp/packet.ts";
import { BootLab, SERVER } from "../../peer/boot-lab.ts";
import {
  firmwareOvmf,
  ipxeMachine,
  machine,
  pxelinux,
  signedLoaders,
  TAP,
  uBootMachine,
} from "../../peer/boot-machine.ts";
import type { BootServerOptions } from "../../peer/boot-server.ts";
import { captured, type Client, packageVersion, recordAll, unpackedVersion, writeGolden } from "../capture.ts";

const MAC = "52:54:00:79:00:77";
const NIC = `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`;
const IPXE = "/usr/lib/ipxe/ipxe.lkrn";

interface Recording extends Client {
  /** The names that the client itself asks for; others are another program's before it. */
  readonly own: RegExp;
  readonly loaders?: () => Readonly<Record<string, string>>;
  readonly node?: Partial<BootServerOptions["nodes"][number]>;
  readonly run: (lab: BootLab) => Promise<void>;
}

function taken(lab: BootLab, file: RegExp): Promise<unknown> {
  return lab.logged(({ event, file: name }) => event === "tftp.done" && file.test(String(name)), 240);
}

function onTheWire(name: string, version: string, ...argv: readonly string[]): Recording {
  return {
    name,
    client: () => packageVersion(version),
    how: argv.join(" "),
    own: /./,
    run: async (lab) => {
      await lab.client(["ip", "addr", "add", "10.79.0.9/24", "dev", "eth0"]);
      await lab.enclosure.spawn("site", argv, { cwd: lab.directory }).ended;
    },
  };
}

/** iPXE of a file, which leaves for another program. */
async function chained(lab: BootLab, script: string, until: RegExp): Promise<void> {
  await using _qemu = ipxeMachine(lab, MAC, script);
  await taken(lab, until);
}

const recordings: readonly Recording[] = [
  onTheWire("curl", "curl", "curl", "-sS", "--tftp-blksize", "1468", `tftp://${SERVER}/file`, "-o", "got"),
  onTheWire("tftp-hpa", "tftp-hpa", "tftp", "-m", "binary", SERVER, "-c", "get", "file", "got"),
  onTheWire(
    "atftp",
    "atftp",
    "atftp",
    "--option",
    "blksize 1468",
    "--option",
    "windowsize 16",
    "--option",
    "timeout 3",
    "--option",
    "tsize 0",
    "-g",
    "-r",
    "file",
    "-l",
    "got",
    SERVER,
  ),
  onTheWire("busybox", "busybox", "busybox", "tftp", "-g", "-b", "1024", "-r", "file", "-l", "got", SERVER),
  {
    name: "ovmf-pxe",
    client: () => packageVersion("ovmf"),
    how: "QEMU virtio-net-pci without ROM under OVMF: UEFI PXE over IPv4",
    own: /snponly/,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC, firmwareOvmf(lab));
      await taken(lab, /snponly/);
    },
  },
  {
    name: "shim",
    client: () => unpackedVersion("shim-signed"),
    how: "shimx64.efi, chain-loaded by OVMF's PXE",
    own: /grubx64/,
    node: { secureBoot: true },
    loaders: signedLoaders,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC, firmwareOvmf(lab));
      await taken(lab, /grubx64/);
    },
  },
  {
    name: "grub",
    client: () => unpackedVersion("grub-efi-amd64-signed"),
    how: "grubnetx64.efi.signed, started by shim under OVMF",
    own: /^\/grub\/grub|^\/ramdisk/,
    node: { secureBoot: true },
    loaders: signedLoaders,
    run: async (lab) => {
      await using _qemu = machine(lab, NIC, firmwareOvmf(lab));
      await taken(lab, /ramdisk\/kernel/);
    },
  },
  {
    name: "ipxe",
    client: () => packageVersion("ipxe"),
    how: "ipxe.lkrn: chain tftp://10.79.0.1/undionly.kpxe",
    own: /undionly/,
    run: (lab) => chained(lab, `chain tftp://${SERVER}/undionly.kpxe`, /undionly/),
  },
  {
    name: "pxelinux",
    client: () => unpackedVersion("pxelinux"),
    how: "pxelinux.0, started by iPXE",
    own: /ldlinux|pxelinux\.cfg|ramdisk/,
    loaders: pxelinux,
    run: (lab) => chained(lab, `set 210:string tftp://${SERVER}/\nchain tftp://${SERVER}/pxelinux.0`, /pxelinux\.cfg/),
  },
  {
    name: "u-boot",
    client: () => unpackedVersion("u-boot-qemu"),
    how: "QEMU virt (arm64), e1000, qemu_arm64/u-boot.bin: dhcp; pxe get",
    own: /pxelinux/,
    node: { cpuArch: "aarch64" },
    run: async (lab) => {
      await using _qemu = uBootMachine(lab, MAC, "dhcp; pxe get");
      await taken(lab, /cfg\/pxelinux/);
    },
  },
];

async function record(recording: Recording, directory: string): Promise<Iterable<string>> {
  const { loaders } = recording;
  await using lab = await BootLab.open(
    {
      nodes: [{ mac: MAC, bootTarget: "ramdisk", ...recording.node }],
      kernel: IPXE,
      arm64Ramdisk: { kernel: IPXE, initrd: IPXE },
      ...(loaders === undefined ? {} : { loaders: loaders() }),
    },
    TAP,
  );
  const kept = new Set<string>();
  for (const bytes of await captured(lab, 69, () => recording.run(lab))) {
    const packet = decodeTftp(bytes);
    if (packet.kind !== "rrq" || !recording.own.test(packet.file)) continue;
    const options = [...packet.options.keys()].join(" ");
    if (kept.has(options)) continue;
    kept.add(options);
    const name = `${recording.name}${kept.size === 1 ? "" : `-${kept.size}`}`;
    writeGolden(directory, name, "RRQ", recording, bytes);
  }
  return kept;
}

await recordAll(recordings, "test/golden/tftp", record);
