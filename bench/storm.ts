import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, type Report } from "./comparison.ts";
import { ironrackArgv, MeasuredServer, median, type ServerProgram } from "./measured-server.ts";
import { nativeClient } from "./native-client.ts";
import { nginxArgv } from "./nginx.ts";

/**
 * 64 machines that are powered on at once: DHCP, the loader by TFTP, DHCP as iPXE, the script, kernel and initrd by HTTP,
 * over a veth pair; how long until the last is served, and the processor time of the servers. ironrack beside dnsmasq
 * with nginx, leases on disk in both, no probes in either. Fresh servers in each round, in turns; the middle one of five counts.
 */
const MACHINES = 64;
const ROUNDS = 5;
const SERVER = "10.78.0.1";
const PORT = 8080;
const MIB = 1024 * 1024;
const LOADER = 256 * 1024 + 100;
const KERNEL = 8 * MIB;
const INITRD = 48 * MIB;

/** The machines' addresses are all the client's own, so that each machine speaks from the one it was given. */
const NETWORK = [
  "ip link add veth0 type veth peer name veth1 netns site",
  `ip addr add ${SERVER}/16 brd + dev veth0`,
  "ip link set veth0 up",
  "ip -n site addr add 10.78.0.2/16 brd + dev veth1",
  "ip -n site link set veth1 up",
  "ip -n site route add local 10.78.1.0/24 dev lo",
];

const systems: readonly ServerProgram[] = [
  {
    name: "ironrack",
    listens: ["udp", 67],
    argv: (directory) =>
      ironrackArgv(directory, {
        interface: "veth0",
        address: SERVER,
        network: "10.78.0.0",
        prefixLength: 16,
        pool: ["10.78.1.1", "10.78.1.250"],
        discovery: true,
        loaders: { "undionly.kpxe": join(directory, "undionly.kpxe") },
        tftpRoot: null,
        kernel: join(directory, "kernel"),
        initrd: join(directory, "initrd"),
        httpPort: PORT,
        storeDirectory: join(directory, "store"),
      }),
  },
  {
    name: "dnsmasq and nginx",
    listens: ["udp", 67],
    argv: (directory) => {
      const locations = `location /ramdisk/ { alias ${directory}/; } location /boot.ipxe { alias ${directory}/boot.ipxe; }`;
      const dnsmasq = [
        "dnsmasq",
        "-k",
        "-p",
        "0",
        "--interface=veth0",
        "--no-ping",
        "--dhcp-authoritative",
        "--user=root",
        "--conf-file=/dev/null",
        `--dhcp-leasefile=${directory}/leases`,
        "--dhcp-range=10.78.1.1,10.78.1.250,255.255.0.0,1h",
        "--enable-tftp",
        `--tftp-root=${directory}`,
        "--dhcp-match=set:ipxe,175",
        "--dhcp-boot=tag:!ipxe,undionly.kpxe",
        `--dhcp-boot=tag:ipxe,http://${SERVER}:${PORT}/boot.ipxe`,
        "--tftp-max=100",
      ];
      const nginx = nginxArgv(directory, `${SERVER}:${PORT}`, locations).map((word) => `'${word}'`);
      return ["sh", "-c", `${nginx.join(" ")} & exec "$@"`, "sh", ...dnsmasq];
    },
  },
];

interface Storm {
  readonly seconds: number;
  readonly dhcp_repeated: number;
  readonly tftp_repeated: number;
  /** Seconds until the last machine was through. */
  readonly phases: Readonly<Record<string, number>>;
}

async function storm(
  program: ServerProgram,
  files: ReadonlyMap<string, Buffer>,
): Promise<Storm & { readonly cpu_s: number; readonly rss_mb: number }> {
  const prepare = (directory: string): void => {
    for (const [name, bytes] of files) writeFileSync(join(directory, name), bytes);
  };
  await using server = await MeasuredServer.start(program, prepare, NETWORK);
  const before = server.cpuTime();
  const sizes = [LOADER, KERNEL, INITRD].map(String);
  const argv = [nativeClient("storm_client"), "veth1", SERVER, String(PORT), String(MACHINES), ...sizes];
  const { stdout } = await server.enclosure.run("site", argv);
  return { ...(JSON.parse(stdout) as Storm), cpu_s: server.cpuTime() - before, rss_mb: server.memory() };
}

export async function benchStorm(report: Report): Promise<void> {
  const files = new Map([
    ["undionly.kpxe", randomBytes(LOADER)],
    ["kernel", randomBytes(KERNEL)],
    ["initrd", randomBytes(INITRD)],
    ["boot.ipxe", Buffer.from("#!ipxe\n")],
  ]);
  const runs = new Map<string, Awaited<ReturnType<typeof storm>>[]>(systems.map(({ name }) => [name, []]));
  for (let round = 0; round < ROUNDS; round += 1)
    for (const program of systems) {
      const run = await storm(program, files);
      process.stderr.write(`${program.name}: ${JSON.stringify(run)}\n`);
      runs.get(program.name)?.push(run);
    }
  const figures = (name: string): { value: number; cpu: number } => ({
    value: median((runs.get(name) ?? []).map((run) => run.seconds)),
    cpu: median((runs.get(name) ?? []).map((run) => run.cpu_s)),
  });
  report(compare(`storm of ${MACHINES}`, "s", figures("ironrack"), figures("dnsmasq and nginx"), { most: 0.8 }));
}
