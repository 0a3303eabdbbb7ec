import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { BootLab, SERVER_PORT_HTTP } from "./boot-lab.ts";
import { fetched, firmwareOvmf, machine, TAP } from "./boot-machine.ts";
import { IPV6, LAYOUT, ONLY_IPV6, routerAdvertisements, SERVER6 } from "./ipv6-lab.ts";
import { unpackedPackage } from "./unpacked-package.ts";

const DHCLIENT_SCRIPT = `#!/bin/sh
echo "$reason ip=$new_ip6_address/$new_ip6_prefixlen life=$new_preferred_life/$new_max_life dns=$new_dhcp6_name_servers search=$new_dhcp6_domain_search" >> OUT
case "$reason" in
  BOUND6|REBIND6|RENEW6) ip -6 addr replace $new_ip6_address/64 dev $interface nodad ;;
  EXPIRE6|RELEASE6|STOP6|DEPREF6) ip -6 addr flush dev $interface scope global ;;
esac
exit 0
`;

function output(lab: BootLab): readonly string[] {
  const path = join(lab.directory, "events");
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
}

function types(lab: BootLab): readonly string[] {
  return lab.answers().map((line) => `${line["type"]}>${line["answer"]}`);
}

function dhclient(lab: BootLab): { readonly argv: readonly string[] } {
  const script = lab.script("dhclient.sh", DHCLIENT_SCRIPT.replace("OUT", join(lab.directory, "events")));
  const files = ["-lf", join(lab.directory, "leases"), "-pf", join(lab.directory, "pid")];
  return { argv: ["-6", "-q", "-sf", script, ...files, "eth0"] };
}

test("dhclient gets a lease with its options, confirms it, keeps it over a restart of the server, and releases it", async () => {
  await using lab = await BootLab.open({ ipv6: IPV6, onDisk: true }, LAYOUT);
  const { argv } = dhclient(lab);
  await lab.client(["dhclient", "-1", ...argv]);
  await lab.client(["dhclient", "-x", ...argv]);
  const bound = output(lab).find((line) => line.startsWith("BOUND6")) ?? "";
  assert.match(bound, /^BOUND6 ip=fd79::10\w\w\/128 life=2400\/3600 dns=fd79::1 search=rack\.test\.?$/);
  assert.deepEqual(types(lab), ["solicit>advertise", "request>reply"]);
  assert.equal(lab.answers()[0]?.["mac"], "52:54:00:79:00:01");
  await lab.restart("SIGKILL");
  await lab.client(["dhclient", "-1", ...argv]); // comes with its lease: CONFIRM
  await lab.logged((line) => line["type"] === "confirm" && line["answer"] === "reply");
  await lab.client(["dhclient", "-r", ...argv]);
  const returned = await lab.logged((line) => line["event"] === "dhcp.returned");
  assert.equal(returned["type"], "release");
  assert.match(String(returned["reason"]), new RegExp(`^${/ip=([^/]+)/.exec(bound)?.[1]} was given back`));
});

test("ironrackd serves DHCPv6, boot HTTP and TFTP at its IPv6 address as appliance.conf says, and lists the lease", async () => {
  await using lab = await BootLab.open({}, LAYOUT);
  const socket = join(lab.directory, "control.sock");
  const config = lab.script(
    "appliance.conf",
    `[appliance]
state_dir = "${lab.directory}/state"
[boot]
interface = "br0"
address = "10.79.0.1/24"
http_port = 8082
tftp_port = 1069
[dhcp]
enabled = false
discovery = "on"
[dhcp6]
enabled = true
address = "${SERVER6}/64"
pool_start = "fd79::2000"
pool_end = "fd79::20ff"
dns = ["${SERVER6}"]
[[dhcp6.reservations]]
mac = "52:54:00:79:00:01"
address = "fd79::42"
[control]
socket = "${socket}"
`,
  );
  const log = join(lab.directory, "ironrackd.log");
  const said = (): string => readFileSync(log, "utf8");
  const program = (name: string): string => resolve(import.meta.dirname, "../../src", name);
  await using _daemon = lab.enclosure.spawn("rack", [process.execPath, program("main.js"), "--config", config], {
    logFile: log,
  });
  await lab.until(() => said().includes('"daemon.ready"'), "the daemon");
  const { argv } = dhclient(lab);
  await lab.client(["dhclient", "-1", ...argv]);
  await lab.client(["dhclient", "-x", ...argv]);
  assert.match(output(lab).find((line) => line.startsWith("BOUND6")) ?? "", /ip=fd79::42\/\d+ life=2400\/3600/);
  const leases = await lab.client([process.execPath, program("cli/main.js"), "--socket", socket, "lease", "list"]);
  assert.match(leases.stdout, /fd79::42 +52:54:00:79:00:01 .*bound/);
  await lab.client(["ip", "addr", "replace", "fd79::42/64", "dev", "eth0", "nodad"]);
  const script = await lab.client(["curl", "-gsS", `http://[${SERVER6}]:8082/boot/52-54-00-79-00-01.ipxe`]);
  assert.match(
    script.stdout,
    /^kernel [^\n]*http:\/\/\[fd79::1\]:8082\/ramdisk\/kernel .*ipa-api-url=http:\/\/10\.79\.0\.1:6385/m,
  );
  const loader = await lab.client([
    "curl",
    "-gsS",
    "-o",
    "/dev/null",
    "-w",
    "%{size_download}",
    `tftp://[${SERVER6}]:1069/snponly.efi`,
  ]);
  assert.equal(Number(loader.stdout), statSync("/usr/lib/ipxe/snponly.efi").size);
  const done = '"tftp.done","peer":"fd79::42","mac":"52:54:00:79:00:01"';
  await lab.until(() => said().includes(done), "the end of the transfer");
});

test("dhclient renews by half of the preferred lifetime, and its address is told for longer", async () => {
  await using lab = await BootLab.open({ ipv6: { ...IPV6, preferredLifetime_s: 4, validLifetime_s: 30 } }, LAYOUT);
  const { argv } = dhclient(lab);
  await lab.client(["dhclient", "-1", ...argv]);
  const renewed = await lab.logged((line) => line["type"] === "renew" && line["answer"] === "reply");
  assert.equal(renewed["reason"], "renewed");
  await lab.until(() => output(lab).some((line) => line.startsWith("RENEW6")), "dhclient's word of it");
  await lab.client(["dhclient", "-x", ...argv]);
});

test("dhcpcd gets a lease with Rapid Commit, in two messages", async () => {
  await using lab = await BootLab.open({ ipv6: { ...IPV6, rapidCommit: true } }, LAYOUT);
  const config = lab.script(
    "dhcpcd.conf",
    "duid\nnoipv6rs\nnohook resolv.conf, hostname, ntp.conf\noption rapid_commit\nscript /bin/true\ninterface eth0\nia_na 1\n",
  );
  await lab.client(["mount", "-t", "tmpfs", "tmpfs", "/var/lib/dhcpcd"]);
  const log = join(lab.directory, "dhcpcd.log");
  lab.enclosure.spawn("site", ["dhcpcd", "-6", "-B", "-d", "-f", config, "eth0"], { logFile: log });
  const first = await lab.logged((line) => line["answer"] === "reply");
  assert.equal(first["type"], "solicit");
  const address = String(first["address"]);
  await lab.until(
    () => readFileSync(log, "utf8").includes(`adding address ${address}/`),
    "dhcpcd's word of its address",
  );
});

test("systemd-networkd gets a lease, and the address on its interface", async () => {
  await using lab = await BootLab.open({ ipv6: IPV6 }, LAYOUT);
  const lines = [
    "[Network]",
    "DHCP=ipv6",
    "LinkLocalAddressing=ipv6",
    "IPv6AcceptRA=no",
    "[DHCPv6]",
    "WithoutRA=solicit",
  ];
  await using _networkd = await lab.networkd(lines);
  const reply = await lab.logged((line) => line["answer"] === "reply");
  await lab.until(() => lab.networkdLog().includes(String(reply["address"])), "networkd's word of its address");
});

/** Behind a router on the side "site", the relay: a link of its own with a client on it. */
const FAR = [
  ...LAYOUT,
  "ip netns add far",
  "ip -n far link set lo up",
  "ip -n site link add r0 type veth peer name c0 netns far",
  "ip -n site addr add fd79::9/64 dev eth0 nodad",
  "ip -n site addr add fd80::1/64 dev r0 nodad",
  "ip -n site link set r0 up",
  "ip -n far link set c0 address 52:54:00:80:00:01 up",
  "ip -n far addr flush dev c0 scope link",
  "ip -n far addr add fe80::5054:ff:fe80:1/64 dev c0 nodad",
  "ip netns exec site sysctl -q -w net.ipv6.conf.all.forwarding=1",
  "ip route add fd80::/64 via fd79::9",
];

const RELAYS: readonly (readonly [name: string, argv: () => readonly string[]])[] = [
  [
    "dnsmasq",
    () => ["dnsmasq", "-k", "-p", "0", "--conf-file=/dev/null", "--user=root", `--dhcp-relay=fd80::1,${SERVER6}`],
  ],
  [
    "ISC dhcrelay",
    () => {
      const program = join(unpackedPackage("isc-dhcp-relay"), "usr/sbin/dhcrelay");
      return [program, "-6", "-d", "--no-pid", "-I", "-l", "fd80::1%r0", "-u", `${SERVER6}%eth0`];
    },
  ],
];

for (const [name, argv] of RELAYS) {
  test(`through ${name} as a relay a client gets an address of its own link`, async () => {
    const relayed = [{ prefix: "fd80::", pool: ["fd80::50", "fd80::5f"] as const }];
    await using lab = await BootLab.open({ ipv6: { ...IPV6, relayed } }, FAR);
    await using _relay = lab.enclosure.spawn("site", argv());
    const client = dhclient(lab);
    const far = ["ip", "netns", "exec", "far", "dhclient"];
    await lab.client([...far, "-1", ...client.argv.slice(0, -1), "c0"]);
    await lab.client([...far, "-x", ...client.argv.slice(0, -1), "c0"]);
    const reply = lab.answers().at(-1);
    assert.equal(`${reply?.["type"]}>${reply?.["answer"]}`, "request>reply");
    assert.equal(reply?.["mac"], "52:54:00:80:00:01");
    assert.match(String(reply["address"]), /^fd80::5\w$/);
    assert.match(output(lab).find((line) => line.startsWith("BOUND6")) ?? "", /ip=fd80::5\w\//);
  });
}

test("perfdhcp gets each of its clients an address of its own, some of them behind a relay, which it renews and releases", async () => {
  const relay = "ip -n site addr add fd79::9/64 dev eth0 nodad";
  await using lab = await BootLab.open({ ipv6: IPV6, onDisk: true, logLevel: "info" }, [...LAYOUT, relay]);
  const program = join(unpackedPackage("kea-admin"), "usr/sbin/perfdhcp");
  // It listens for four seconds after its last question. -u: two clients with one address are an error.
  const patience = ["-d", "30", "-W", "4000000", "-u"];
  const run = async (argv: readonly string[]): Promise<string> =>
    (await lab.client([program, "-6", "-l", "eth0", ...patience, ...argv])).stdout;
  const mixed = await run(["-r", "60", "-f", "20", "-F", "20", "-n", "120", "-R", "60", "-x", "l", "all"]);
  const relayed = await run(["-A", "1", "-r", "60", "-n", "60", "-R", "60", "-b", "mac=00:0c:01:02:04:00", SERVER6]);
  for (const said of [mixed, relayed]) {
    const drops = [...said.matchAll(/^drops: (\d+)$/gm)].map((one) => one[1]);
    assert.ok(drops.length >= 2 && drops.every((one) => one === "0"), said);
  }
  const kinds = new Set(types(lab));
  for (const kind of ["solicit>advertise", "request>reply", "renew>reply", "release>reply"])
    assert.ok(kinds.has(kind), `${kind} in ${[...kinds].join(", ")}`);
});

const MAC = "52:54:00:79:00:77";
const HTTP = `http://[${SERVER6}]:${SERVER_PORT_HTTP}`;

test("OVMF's own PXE over IPv6 gets snponly.efi by TFTP, which gets its script, kernel and initrd over IPv6", async () => {
  const reservations = [{ mac: MAC, address: "fd79::77" }];
  await using lab = await BootLab.open(
    { nodes: [{ mac: MAC, bootTarget: "ramdisk" }], kernel: "/usr/lib/ipxe/ipxe.efi", ipv6: { ...IPV6, reservations } },
    [...TAP, ...LAYOUT, ...ONLY_IPV6],
  );
  await using _router = routerAdvertisements(lab);
  await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, [
    ...firmwareOvmf(lab),
    "-fw_cfg",
    "name=opt/org.tianocore/IPv4PXESupport,string=no",
  ]);
  await fetched(lab, "/ramdisk/initrd", 180);
  await fetched(lab, "/ramdisk/kernel", 1);
  const done = await lab.logged((line) => line["event"] === "tftp.done", 1);
  assert.equal(done["file"], "snponly.efi");
  assert.equal(done["mac"], MAC);
  assert.equal(done["peer"], "fd79::77");
  // EDK2's own IPv6 stack asks too, before and in between, as the M flag tells it to.
  const firmware = lab.answers().filter((line) => line["firmware"] !== undefined);
  assert.deepEqual(lab.told(firmware), [
    `pxe x64 UEFI: tftp://[${SERVER6}]/snponly.efi`,
    `ipxe x64 UEFI: ${HTTP}/boot/${MAC.replaceAll(":", "-")}.ipxe`,
  ]);
  assert.ok(lab.lines().every((line) => line["event"] !== "http.served" || line["mac"] === MAC));
});
