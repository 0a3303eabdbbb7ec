import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BootLab, SERVER } from "./boot-lab.ts";
import { otherDhcpServer } from "./other-dhcp-server.ts";

/** Like every DHCP client's own script, without what touches the rest of the system. */
const UDHCPC_SCRIPT = `#!/bin/sh
echo "$1 ip=$ip mask=$mask router=$router dns=$dns domain=$domain lease=$lease siaddr=$siaddr boot_file=$boot_file serverid=$serverid" >> OUT
case "$1" in
  bound|renew) ip addr flush dev $interface; ip addr add $ip/$mask dev $interface ;;
  deconfig) ip addr flush dev $interface ;;
esac
`;

const DHCLIENT_SCRIPT = `#!/bin/sh
echo "$reason ip=$new_ip_address mask=$new_subnet_mask router=$new_routers domain=$new_domain_name lease=$new_dhcp_lease_time serverid=$new_dhcp_server_identifier" >> OUT
case "$reason" in
  BOUND|RENEW|REBIND|REBOOT) ip addr flush dev $interface; ip addr add $new_ip_address/$new_subnet_mask dev $interface ;;
  EXPIRE|FAIL|RELEASE|STOP) ip addr flush dev $interface ;;
esac
exit 0
`;

function output(lab: BootLab): readonly string[] {
  const path = join(lab.directory, "events");
  return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
}

/** The first thing that the client's script said that begins so. It is said after the server's own line of the log. */
async function said(lab: BootLab, beginning: string): Promise<string> {
  await lab.until(() => output(lab).some((line) => line.startsWith(beginning)), `"${beginning}" of the client`);
  return output(lab).find((line) => line.startsWith(beginning)) ?? "";
}

function types(lab: BootLab): readonly string[] {
  return lab.answers().map((line) => `${line["type"]}>${line["answer"]}`);
}

test("udhcpc gets a lease with its options, renews it by unicast, releases it and gets the same address again", async () => {
  await using lab = await BootLab.open({ leaseTime_s: 60 });
  const script = lab.script("udhcpc.sh", UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events")));
  const udhcpc = lab.enclosure.spawn("site", ["busybox", "udhcpc", "-i", "eth0", "-f", "-R", "-s", script]);
  const bound = await said(lab, "bound");
  const pid = await udhcpc.pid();
  assert.ok(pid !== undefined);
  process.kill(pid, "SIGUSR1"); // renew now
  await lab.logged((line) => line["answer"] === "ack" && String(line["to"]).startsWith("unicast"));
  await said(lab, "renew");
  await udhcpc.stop(); // -R: releases
  const returned = await lab.logged((line) => line["event"] === "dhcp.returned");
  assert.equal(returned["type"], "release");
  const address = /ip=(\S+)/.exec(bound)?.[1];
  assert.match(
    bound,
    /^bound ip=10\.79\.0\.1\d\d mask=24 router=10\.79\.0\.1 dns=10\.79\.0\.1 domain=rack\.test lease=60 /,
  );
  assert.match(bound, new RegExp(`boot_file= serverid=${SERVER}$`));
  assert.match(await said(lab, "renew"), new RegExp(`^renew ip=${address} `));
  await lab.client(["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script]);
  assert.match(output(lab).at(-1) ?? "", new RegExp(`^bound ip=${address} `));
  // A renewal's answer that comes before udhcpc has closed the socket it asked through is lost to it: it asks once more.
  assert.match(types(lab).join(" "), /^discover>offer request>ack( request>ack){1,2} discover>offer request>ack$/);
});

test("dhclient that comes with a lease of another network is told no and starts again — RFC 2131 §4.3.2", async () => {
  await using lab = await BootLab.open();
  const script = lab.script("dhclient.sh", DHCLIENT_SCRIPT.replace("OUT", join(lab.directory, "events")));
  const leases = join(lab.directory, "leases");
  // A lease of yesterday's network: dhclient begins in INIT-REBOOT.
  lab.script(
    "leases",
    'lease { interface "eth0"; fixed-address 192.0.2.77; option subnet-mask 255.255.255.0; option dhcp-lease-time 86400; option dhcp-message-type 5; option dhcp-server-identifier 192.0.2.1; renew 6 2037/01/01 00:00:00; rebind 6 2037/01/02 00:00:00; expire 6 2037/01/03 00:00:00; }\n',
  );
  await lab.client([
    "dhclient",
    "-4",
    "-1",
    "-q",
    "-sf",
    script,
    "-lf",
    leases,
    "-pf",
    join(lab.directory, "pid"),
    "eth0",
  ]);
  assert.deepEqual(types(lab).slice(0, 3), ["request>nak", "discover>offer", "request>ack"]);
  assert.match(String(lab.answers()[0]?.["reason"]), /192\.0\.2\.77 does not belong to this link/);
  await lab.client(["dhclient", "-4", "-x", "-sf", script, "-lf", leases, "-pf", join(lab.directory, "pid"), "eth0"]);
});

test("dhclient gets a lease, confirms it from INIT-REBOOT and releases it", async () => {
  await using lab = await BootLab.open();
  const script = lab.script("dhclient.sh", DHCLIENT_SCRIPT.replace("OUT", join(lab.directory, "events")));
  const argv = ["-4", "-sf", script, "-lf", join(lab.directory, "leases"), "-pf", join(lab.directory, "pid"), "eth0"];
  await lab.client(["dhclient", "-1", ...argv]);
  await lab.client(["dhclient", "-x", ...argv]);
  await lab.client(["dhclient", "-1", ...argv]);
  await lab.client(["dhclient", "-r", ...argv]);
  await lab.logged((line) => line["event"] === "dhcp.returned");
  assert.equal(types(lab)[0], "discover>offer");
  assert.ok(types(lab).length >= 3);
  assert.ok(
    types(lab)
      .slice(1)
      .every((type) => type === "request>ack"),
  );
  const events = output(lab);
  const bound = events.find((line) => line.startsWith("BOUND"));
  assert.match(
    bound ?? "",
    /ip=10\.79\.0\.1\d\d mask=255\.255\.255\.0 router=10\.79\.0\.1 domain=rack\.test lease=3600/,
  );
  assert.ok(
    events.some((line) => line.startsWith("REBOOT ") && line.includes(/ip=\S+/.exec(bound ?? "")?.[0] ?? "none")),
  );
});

/** dhclient asks for options 224 and on, and its script writes them out. */
async function askDhclient(lab: BootLab, codes: readonly number[], send: string): Promise<readonly string[]> {
  const named = codes.map((code) => `option opt-${code} code ${code} = text;`).join("\n");
  const request = `request subnet-mask, ${codes.map((code) => `opt-${code}`).join(", ")};`;
  const config = lab.script("dhclient.conf", `${named}\n${send}\n${request}\n`);
  const echo = codes.map((code) => `echo "${code} $new_opt_${code}" >> ${join(lab.directory, "events")}`).join("\n");
  const script = lab.script("dhclient.sh", `#!/bin/sh\n[ "$reason" = BOUND ] || exit 0\n${echo}\nexit 0\n`);
  const files = ["-lf", join(lab.directory, "leases"), "-pf", join(lab.directory, "pid")];
  await lab.client(["dhclient", "-4", "-1", "-q", "-cf", config, "-sf", script, ...files, "eth0"]);
  const told = output(lab);
  await lab.client(["dhclient", "-4", "-x", "-cf", config, "-sf", script, ...files, "eth0"]);
  return told;
}

test("an option of 600 bytes arrives whole at dhclient — RFC 3396", async () => {
  const long = "abcdefghij".repeat(60);
  await using lab = await BootLab.open({ otherOptions: [[224, Buffer.from(long).toString("hex")]] });
  assert.deepEqual(await askDhclient(lab, [224], "send dhcp-max-message-size 1400;"), [`224 ${long}`]);
});

test("options that have no room of their own come in file and sname, and dhclient finds them — RFC 2132 §9.3", async () => {
  const codes = [224, 225, 226, 227, 228, 229, 230];
  const text = (code: number): string => `${code}-`.repeat(12);
  await using lab = await BootLab.open({
    otherOptions: codes.map((code) => [code, Buffer.from(text(code)).toString("hex")]),
  });
  assert.deepEqual(
    await askDhclient(lab, codes, ""),
    codes.map((code) => `${code} ${text(code)}`),
  );
});

test("dhcpcd gets a lease under its DUID, rebinds it and releases it", async () => {
  await using lab = await BootLab.open();
  const config = lab.script(
    "dhcpcd.conf",
    "duid\nnoarp\nnohook resolv.conf, hostname, ntp.conf\noption subnet_mask, routers, domain_name\nscript /bin/true\n",
  );
  await lab.client(["mount", "-t", "tmpfs", "tmpfs", "/var/lib/dhcpcd"]);
  const log = join(lab.directory, "dhcpcd.log");
  const dhcpcd = lab.enclosure.spawn("site", ["dhcpcd", "-4", "-B", "-d", "-f", config, "eth0"], { logFile: log });
  const says = (what: string, times: number): Promise<void> =>
    lab.until(() => readFileSync(log, "utf8").split(what).length > times, `"${what}" of dhcpcd`);
  await says("adding default route", 1); // its last act
  const shown = await lab.client(["ip", "-4", "-o", "addr", "show", "dev", "eth0"]);
  assert.match(shown.stdout, /inet 10\.79\.0\.1\d\d\/24 brd 10\.79\.0\.255/);
  const pid = await dhcpcd.pid();
  assert.ok(pid !== undefined);
  process.kill(pid, "SIGHUP"); // reads its configuration again and confirms the lease
  await says(": leased 10.79.0.1", 2);
  await lab.until(() => lab.answers().length >= 3, "the answer to the confirmation");
  process.kill(pid, "SIGALRM"); // release and exit
  await lab.logged((line) => line["event"] === "dhcp.returned");
  await dhcpcd.ended;
});

test("systemd-networkd gets a lease under its DUID with its options, and releases it", async () => {
  await using lab = await BootLab.open();
  const networkd = await lab.networkd(["[Network]", "DHCP=ipv4", "LinkLocalAddressing=no", "IPv6AcceptRA=no"]);
  const ack = await lab.logged((line) => line["answer"] === "ack");
  await lab.until(() => lab.networkdLog().includes("DHCPv4 address"), "networkd's word of its address");
  const shown = await lab.client(["ip", "-4", "-o", "addr", "show", "dev", "eth0"]);
  assert.ok(shown.stdout.includes(`inet ${ack["address"]}/24`), shown.stdout);
  const routes = await lab.client(["ip", "-4", "route", "show", "default"]);
  assert.match(routes.stdout, new RegExp(`default via ${SERVER} dev eth0 proto dhcp`));
  await networkd.stop();
  const returned = await lab.logged((line) => line["event"] === "dhcp.returned");
  assert.equal(returned["type"], "release");
});

test("a machine's reservation by MAC is what udhcpc gets", async () => {
  await using lab = await BootLab.open({ reservations: [{ mac: "52:54:00:79:00:01", address: "10.79.0.42" }] });
  const script = lab.script("udhcpc.sh", UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events")));
  await lab.client(["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script]);
  assert.match(output(lab).at(-1) ?? "", /^bound ip=10\.79\.0\.42 /);
});

test("a client that does not ask for broadcast is answered by unicast before it has its address — RFC 2131 §4.1", async () => {
  await using lab = await BootLab.open({ unicast: true });
  const script = lab.script("udhcpc.sh", UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events")));
  await lab.client(["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script]);
  assert.ok(lab.answers().every((line) => String(line["to"]).startsWith("unicast 10.79.0.1")));
  assert.match(output(lab).at(-1) ?? "", /^bound ip=10\.79\.0\.1\d\d /);
  await lab.client(["busybox", "udhcpc", "-B", "-i", "eth0", "-f", "-q", "-n", "-s", script]);
  assert.equal(lab.answers().at(-1)?.["to"], "broadcast 255.255.255.255");
});

test("an address that a machine uses without a lease is not offered, and left alone — RFC 2131 §4.3.1", async () => {
  await using lab = await BootLab.open({ probe: true, pool: ["10.79.0.100", "10.79.0.102"] }, [
    "ip link add squat0 type veth peer name squatter netns site",
    "ip link set squat0 master br0 up",
    "ip -n site addr add 10.79.0.100/32 dev squatter",
    "ip -n site addr add 10.79.0.102/32 dev squatter",
    "ip -n site link set squatter up",
    // Only for its own addresses, else every interface of the side would answer for all.
    "ip netns exec site sysctl -q -w net.ipv4.conf.all.arp_ignore=1",
  ]);
  const script = lab.script("udhcpc.sh", UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events")));
  await lab.client(["busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script]);
  assert.match(output(lab).at(-1) ?? "", /^bound ip=10\.79\.0\.101 /);
  // Another machine comes, and the one free address is leased.
  await lab.client(["ip", "addr", "flush", "dev", "eth0"]);
  await lab.client(["ip", "link", "set", "eth0", "address", "52:54:00:79:01:01"]);
  const conflicts = lab
    .lines()
    .filter((line) => line["event"] === "dhcp.conflict")
    .map((line) => String(line["address"]));
  assert.ok(conflicts.every((address) => address === "10.79.0.100" || address === "10.79.0.102"));
  const udhcpc = lab.enclosure.spawn("site", [
    "busybox",
    "udhcpc",
    "-i",
    "eth0",
    "-f",
    "-q",
    "-n",
    "-t",
    "3",
    "-T",
    "1",
    "-s",
    script,
  ]);
  assert.notEqual((await udhcpc.ended).code, 0);
  assert.ok(
    lab
      .lines()
      .some((line) => line["event"] === "dhcp.silent" && line["reason"] === "every address of the pool is in use"),
  );
  assert.equal(lab.lines().filter((line) => line["event"] === "dhcp.conflict").length, 2);
});

test("of forty clients at once each gets an address of its own", async () => {
  const wires = Array.from({ length: 40 }, (_, at) => [
    `ip link add w${at} type veth peer name c${at} netns site`,
    `ip link set w${at} master br0 up`,
    `ip -n site link set c${at} up`,
  ]);
  await using lab = await BootLab.open({}, wires.flat());
  const script = lab.script("udhcpc.sh", UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events")));
  await Promise.all(
    Array.from({ length: 40 }, (_, at) =>
      lab.client(["busybox", "udhcpc", "-i", `c${at}`, "-f", "-q", "-n", "-t", "10", "-T", "2", "-s", script]),
    ),
  );
  const addresses = output(lab).flatMap((line) => (line.startsWith("bound") ? [/ip=(\S+)/.exec(line)?.[1]] : []));
  assert.equal(addresses.length, 40);
  assert.equal(new Set(addresses).size, 40);
});

test("two servers on one wire: who took the other's offer is left alone, also when it comes back with that lease", async () => {
  await using lab = await BootLab.open({ authoritative: false }, [
    "ip link add w0 type veth peer name other0 netns site",
    "ip link set w0 master br0 up",
    "ip -n site addr add 10.79.0.2/24 dev other0",
    "ip -n site link set other0 up",
  ]);
  await using _other = otherDhcpServer(lab, "other0");
  const script = lab.script("dhclient.sh", DHCLIENT_SCRIPT.replace("OUT", join(lab.directory, "events")));
  const files = ["-sf", script, "-lf", join(lab.directory, "leases"), "-pf", join(lab.directory, "pid")];
  const dhclient = async (refuses: string, ...act: readonly string[]): Promise<unknown> => {
    const config = lab.script("dhclient.conf", `reject ${refuses}; initial-interval 1; backoff-cutoff 2;\n`);
    return await lab.client(["dhclient", "-4", ...act, "-q", "-cf", config, ...files, "eth0"]);
  };
  await dhclient(SERVER, "-1");
  await dhclient(SERVER, "-x");
  await dhclient(SERVER, "-1"); // INIT-REBOOT with the other's lease
  await dhclient(SERVER, "-r");
  assert.ok(output(lab).some((line) => /^REBOOT ip=10\.79\.0\.2[012]\d .* serverid=10\.79\.0\.2$/.test(line)));
  const silences = lab.lines().flatMap((line) => (line["event"] === "dhcp.silent" ? [String(line["reason"])] : []));
  assert.ok(silences.some((reason) => reason === "the client took the offer of 10.79.0.2"));
  assert.ok(silences.some((reason) => reason.startsWith("init-reboot: ")));
  assert.ok(lab.answers().every((line) => line["answer"] === "offer"));
  await dhclient("10.79.0.2", "-1");
  assert.match(output(lab).at(-1) ?? "", new RegExp(`^BOUND ip=10\\.79\\.0\\.1\\d\\d .* serverid=${SERVER}$`));
  await dhclient("10.79.0.2", "-r");
});

/** A network behind the site's side: `far`, with a client on c0, reached through the router and relay at 10.80.0.1. */
const FAR = [
  "ip netns add far",
  "ip -n site link add near type veth peer name c0 netns far",
  "ip -n site addr add 10.79.0.9/24 dev eth0",
  "ip -n site addr add 10.80.0.1/24 dev near",
  "ip -n site link set near up",
  "ip -n far link set c0 address 52:54:00:80:00:01 up",
  "ip netns exec site sysctl -q -w net.ipv4.ip_forward=1",
  "ip route add 10.80.0.0/24 via 10.79.0.9",
];
const RELAYED = [{ network: "10.80.0.0", prefixLength: 24, pool: ["10.80.0.50", "10.80.0.60"] as const }];

test("through dnsmasq as a relay a client gets an address of its own network, and renews it past the relay", async () => {
  await using lab = await BootLab.open({ relayed: RELAYED, leaseTime_s: 120 }, FAR);
  await using _relay = lab.enclosure.spawn("site", [
    "dnsmasq",
    "-k",
    "-p",
    "0",
    "--conf-file=/dev/null",
    "--user=root",
    `--dhcp-relay=10.80.0.1,${SERVER}`,
  ]);
  const script = lab.script(
    "udhcpc.sh",
    UDHCPC_SCRIPT.replace("OUT", join(lab.directory, "events"))
      .replace("deconfig)", "none) ;; deconfig)")
      .replace(";;\n", "; ip route add default via $router ;;\n"),
  );
  const udhcpc = lab.enclosure.spawn("site", [
    "ip",
    "netns",
    "exec",
    "far",
    "busybox",
    "udhcpc",
    "-i",
    "c0",
    "-f",
    "-R",
    "-s",
    script,
  ]);
  const ack = await lab.logged((line) => line["answer"] === "ack", 20);
  assert.equal(ack["relay"], "10.80.0.1");
  assert.equal(ack["to"], "relay 10.80.0.1");
  assert.match(await said(lab, "bound"), /^bound ip=10\.80\.0\.5\d mask=24 router=10\.80\.0\.1 /);
  await udhcpc.kill("SIGUSR1");
  const renewed = await lab.logged((line) => line["answer"] === "ack" && line["relay"] === undefined, 20);
  assert.match(String(renewed["to"]), /^unicast 10\.80\.0\.5/);
  await said(lab, "renew");
  await udhcpc.stop();
  await lab.logged((line) => line["event"] === "dhcp.returned");
});

test("kill -9 in a storm: after the restart no address is given to a second client", async () => {
  const clients = Array.from({ length: 30 }, (_, at) => `c${at}`);
  const layout = clients.flatMap((name, at) => [
    `ip link add w${at} type veth peer name ${name} netns site`,
    `ip link set w${at} master br0 up`,
    `ip -n site link set ${name} up`,
  ]);
  await using lab = await BootLab.open({ onDisk: true }, layout);
  const report = `#!/bin/sh\n[ "$1" = bound ] && echo $interface $ip >> ${join(lab.directory, "bound")}\nexit 0\n`;
  const script = lab.script("udhcpc.sh", report);
  const udhcpc = (name: string): Promise<unknown> =>
    lab.client(["busybox", "udhcpc", "-i", name, "-f", "-q", "-A", "1", "-t", "20", "-T", "1", "-s", script]);
  const storm = clients.slice(0, 15).map(udhcpc);
  await lab.logged(() => lab.answers().filter((line) => line["answer"] === "ack").length >= 3);
  await lab.restart("SIGKILL");
  storm.push(...clients.slice(15).map(udhcpc));
  await Promise.all(storm);
  // What the clients say counts: a line of the server's log may be lost with it, the answer that it speaks of not.
  const bound = readFileSync(join(lab.directory, "bound"), "utf8").trim().split("\n");
  assert.equal(new Set(bound.map((line) => line.split(" ")[0])).size, 30, bound.join("\n"));
  const holders = new Map<string, string>();
  for (const line of bound) {
    const [name = "", address = ""] = line.split(" ");
    const holder = holders.get(address) ?? name;
    assert.equal(holder, name, `${address} was given to ${holder} and to ${name}`);
    holders.set(address, name);
  }
});
