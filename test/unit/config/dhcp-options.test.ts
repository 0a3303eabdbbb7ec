import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { optionKey, optionRows } from "../../../src/config/dhcp-options.ts";
import { checkConfig, loadConfig, problemLine } from "../../../src/config/load.ts";
import { dhcpOptions, isOptionName, readOption } from "../../../src/protocol/dhcp4/options.ts";

const LEAST = '[boot]\ninterface = "eth1"\naddress = "10.20.0.1/24"\n';
const directory = mkdtempSync(join(tmpdir(), "ironrack-dhcp-options-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function write(text: string): string {
  const path = join(directory, "appliance.conf");
  writeFileSync(path, text);
  return path;
}

function problems(options: string): readonly string[] {
  return checkConfig(write(`${LEAST}[dhcp.options]\n${options}\n`)).problems.map(problemLine);
}

test("an option by name has the bytes that its codec reads again", () => {
  const { options } = loadConfig(
    write(`${LEAST}[dhcp.options]
time_offset = -3600
time_server = ["10.20.0.5", "10.20.0.6"]
root_path = "/srv/root"
ip_forwarding = false
static_route = [["10.30.0.0", "10.20.0.254"]]
path_mtu_plateau_table = [68, 1500]
interface_mtu = 9000
vendor_specific_information = "06:01:08"
domain_search = ["rack.example.org", "example.org"]
classless_static_route = ["10.30.0.0/16 via 10.20.0.254", "0.0.0.0/0 via 10.20.0.253"]
pop3_server = ["10.20.0.7"]
pxelinux_reboot_time = 60
`),
  ).dhcp;
  assert.equal(readOption(options, "timeOffset"), -3600);
  assert.deepEqual(readOption(options, "timeServer"), ["10.20.0.5", "10.20.0.6"]);
  assert.equal(readOption(options, "rootPath"), "/srv/root");
  assert.equal(readOption(options, "ipForwarding"), false);
  assert.deepEqual(readOption(options, "staticRoute"), [{ first: "10.30.0.0", second: "10.20.0.254" }]);
  assert.deepEqual(readOption(options, "pathMtuPlateauTable"), [68, 1500]);
  assert.equal(readOption(options, "interfaceMtu"), 9000);
  assert.deepEqual(readOption(options, "vendorSpecificInformation"), Uint8Array.of(6, 1, 8));
  assert.deepEqual(readOption(options, "domainSearch"), ["rack.example.org", "example.org"]);
  assert.deepEqual(readOption(options, "classlessStaticRoute"), [
    { destination: "10.30.0.0", prefixLength: 16, router: "10.20.0.254" },
    { destination: "0.0.0.0", prefixLength: 0, router: "10.20.0.253" },
  ]);
  assert.deepEqual(readOption(options, "pop3Server"), ["10.20.0.7"]);
  assert.equal(readOption(options, "pxelinuxRebootTime"), 60);
});

test("an option by number says what its bytes are", () => {
  const { options } = loadConfig(
    write(`${LEAST}[dhcp.options]
224 = { u8 = 5 }
225 = { u16 = 5 }
226 = { u32 = 5 }
227 = { hex = "0a:0b" }
228 = { text = "hello" }
229 = { ip = "10.20.0.9" }
230 = { ip = ["10.20.0.9", "10.20.0.10"] }
`),
  ).dhcp;
  assert.deepEqual(
    [...options].map(([code, bytes]) => [code, Buffer.from(bytes).toString("hex")]),
    [
      [224, "05"],
      [225, "0005"],
      [226, "00000005"],
      [227, "0a0b"],
      [228, "68656c6c6f"],
      [229, "0a140009"],
      [230, "0a1400090a14000a"],
    ],
  );
});

test("every option of RFC 2132 can be set by name, or the message says where it is set", () => {
  const named = new Set(optionRows().map(({ key }) => key));
  for (const [name, { code, source }] of Object.entries(dhcpOptions)) {
    if (!isOptionName(name) || !source.startsWith("RFC 2132")) continue;
    const key = optionKey(name);
    if (named.has(key)) continue;
    assert.match(problems(`${key} = 1`)[0] ?? "", /cannot be set here: .+/, `${code} ${key}`);
  }
  assert.ok(named.size > 100);
});

test("what is written as the documentation says is allowed", () => {
  for (const { key, written } of optionRows()) {
    const value = / (?:to|or) /.test(written) ? (/^"?[^ ]+/.exec(written)?.[0] ?? "") : written;
    const least = ["client_fqdn", "authentication"].includes(key) ? '"000000000000000000000000"' : value;
    assert.deepEqual(problems(`${key} = ${least}`), [], `${key} = ${least}`);
  }
});

test("each wrong option is told with its name, line and column, all at once", () => {
  assert.deepEqual(
    problems(`interface_mtu = 70000
time_servr = ["10.20.0.5"]
  time_server = ["10.20.0.5", "10.20.0.256"]
ip_forwarding = 1
root_path = ""
swap_server = 5
static_route = [["10.30.0.0"]]
classless_static_route = ["10.30.0.0/33 via 10.20.0.254"]
domain_search = ["no spaces here"]
vendor_specific_information = "0g"
router = ["10.20.0.254"]
53 = { u8 = 5 }
255 = { u8 = 5 }
224 = 5
225 = { u24 = 5 }
226 = { u8 = 256 }
26 = { u16 = 1500 }
log_server = []`),
    [
      "appliance.conf:5:17: dhcp.options.interface_mtu: 70000 is out of range: 0 to 65535",
      'appliance.conf:6:1: dhcp.options.time_servr: unknown option; did you mean "time_server"?; others are set by number',
      'appliance.conf:7:31: dhcp.options.time_server: "10.20.0.256" is not an IPv4 address',
      "appliance.conf:8:17: dhcp.options.ip_forwarding: must be true or false",
      "appliance.conf:9:13: dhcp.options.root_path: must be text that is not empty",
      "appliance.conf:10:15: dhcp.options.swap_server: must be an IPv4 address in quotes",
      "appliance.conf:11:17: dhcp.options.static_route: must be a pair of IPv4 addresses",
      'appliance.conf:12:27: dhcp.options.classless_static_route: must be a route, like "10.30.0.0/16 via 10.20.0.254"',
      "appliance.conf:13:18: dhcp.options.domain_search: must be a domain name in quotes",
      'appliance.conf:14:31: dhcp.options.vendor_specific_information: must be bytes in hexadecimal digits, like "0a:0b" or "0a0b"',
      "appliance.conf:15:1: dhcp.options.router: cannot be set here: set dhcp.gateway",
      "appliance.conf:16:1: dhcp.options.53: cannot be set here: it is in every message",
      "appliance.conf:17:1: dhcp.options.255: an option's number is 1 to 254",
      "appliance.conf:18:7: dhcp.options.224: must say what its bytes are: 224 = { TYPE = … }, TYPE one of hex, text, ip, u8, u16, u32",
      'appliance.conf:19:9: dhcp.options.225: unknown type "u24"; did you mean "u8"?: one of hex, text, ip, u8, u16, u32',
      "appliance.conf:20:14: dhcp.options.226: 256 is out of range: 0 to 255",
      "appliance.conf:22:14: dhcp.options.log_server: must be a list, with at least one element",
    ],
  );
});

test("one option by its name and its number is a contradiction", () => {
  assert.deepEqual(problems("interface_mtu = 1400\n26 = { u16 = 1500 }"), [
    "appliance.conf:6:1: dhcp.options.26: option 26 is given twice",
  ]);
});

test("a file of conf.d replaces single options; a reservation may have some of its own", () => {
  const path = write(`${LEAST}[[dhcp.reservations]]
mac = "52:54:00:00:00:01"
address = "10.20.0.11"
hostname = "first"
[dhcp.reservations.options]
root_path = "/srv/first"
[[dhcp.reservations]]
mac = "52:54:00:00:00:02"
address = "10.20.0.12"
[dhcp.options]
root_path = "/srv/root"
interface_mtu = 9000
`);
  const included = join(directory, "conf.d");
  mkdirSync(included);
  writeFileSync(join(included, "later.conf"), "[dhcp.options]\ninterface_mtu = 1500\n");
  const { dhcp } = loadConfig(path);
  rmSync(included, { recursive: true });
  assert.equal(readOption(dhcp.options, "rootPath"), "/srv/root");
  assert.equal(readOption(dhcp.options, "interfaceMtu"), 1500);
  const [first, second] = dhcp.reservations;
  assert.equal(first?.hostname, "first");
  assert.equal(readOption(first?.options ?? new Map(), "rootPath"), "/srv/first");
  assert.equal(second?.hostname, null);
  assert.equal(second?.options, null);
});
