import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { Secret } from "../../../src/core/secret.ts";
import { absent, type Field } from "../../../src/config/field.ts";
import { renderFile, renderMarkdown } from "../../../src/config/document.ts";
import { configDocuments } from "../../documents.ts";
import { checkConfig, ConfigFault, loadConfig, problemLine } from "../../../src/config/load.ts";
import { configTable } from "../../../src/config/table.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironrack-config-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const LEAST = `[boot]\ninterface = "eth1"\naddress = "10.20.0.1/24"\n`;

function write(text: string, name = "appliance.conf", mode = 0o644): string {
  const path = join(directory, name);
  writeFileSync(path, text, { mode });
  return path;
}

function problems(text: string): readonly string[] {
  return checkConfig(write(text)).problems.map(problemLine);
}

for (const [path, text] of configDocuments()) {
  test(`${path} is what the table of keys renders (npm run docs)`, () => {
    assert.equal(readFileSync(path, "utf8"), text);
  });
}

test("the shipped file is valid as it is", () => {
  assert.equal(loadConfig("appliance.conf").boot.interface, "eth1");
});

test("the shipped file names every key once, and each of its defaults and examples is allowed", () => {
  const all = renderFile()
    .replaceAll(/^#(?! )/gm, "")
    .replace(/^password_file.*$/m, "");
  const config = loadConfig(write(all));
  assert.equal(config.dhcp.reservations.length, 1);
  for (const [name, { fields }] of Object.entries(configTable)) {
    for (const key of Object.keys(fields)) {
      const line = key === "reservations" ? `[[${name}.${key}]]` : key === "options" ? `[${name}.${key}]` : `${key} = `;
      assert.ok(renderFile().includes(line), `${name}.${key}`);
      assert.ok(renderMarkdown().includes(`| \`${key}\` |`), `${name}.${key}`);
    }
  }
});

test("defaults that are written out give the same configuration as leaving them out", () => {
  const lines = [];
  for (const [name, { fields }] of Object.entries(configTable)) {
    lines.push(`[${name}]`);
    for (const [key, field] of Object.entries<Field<unknown>>(fields)) {
      if (typeof field.written === "string") lines.push(`${key} = ${field.written}`);
      else if (field.written !== absent) lines.push(`${key} = ${field.example}`);
    }
  }
  assert.deepEqual(loadConfig(write(lines.join("\n"))), loadConfig("appliance.conf"));
});

test("durations become milliseconds, sizes bytes, and the whole is frozen", () => {
  const config = loadConfig(write(`${LEAST}[dhcp]\nlease_time = 600\n[image]\ncache_size = 100\n`));
  assert.equal(config.dhcp.leaseTime, 600_000);
  assert.equal(config.image.cacheSize, 100 * 1024 * 1024);
  assert.deepEqual(config.boot.address, { address: "10.20.0.1", prefix: 24 });
  assert.ok(
    Object.isFrozen(config) &&
      Object.isFrozen(config.dhcp) &&
      Object.isFrozen(config.boot.address) &&
      Object.isFrozen(config.dhcp.dns),
  );
});

test("every problem is told at once, with line and column, and with what was probably meant", () => {
  assert.deepEqual(
    problems(`[boot]
interfce = "eth1"
address = "10.20.0.1"
http_port = "80"
tftp_port = 70000
[dhcp]
  discovery = "of"
dns = ["10.0.0.1", "10.0.0.256"]
[mqqt]
enabled = true
[appliance]
log_level = 3
state_dir = "var"
`),
    [
      "appliance.conf:1:1: boot.interface: is missing: The interface on the provisioning network; DHCP, TFTP and boot HTTP serve it and no other.",
      'appliance.conf:2:1: boot.interfce: unknown key; did you mean "interface"?',
      'appliance.conf:3:11: boot.address: "10.20.0.1" is not an address with its prefix, like 10.0.0.1/24',
      "appliance.conf:4:13: boot.http_port: must be an integer, not a string",
      "appliance.conf:5:13: boot.tftp_port: 70000 is out of range: 1 to 65535",
      'appliance.conf:7:15: dhcp.discovery: "of" is not one of "off", "on"; did you mean "off"?',
      'appliance.conf:8:20: dhcp.dns: "10.0.0.256" is not an IPv4 address',
      'appliance.conf:9:2: mqqt: unknown section [mqqt]; did you mean "mqtt"?',
      'appliance.conf:12:13: appliance.log_level: must be one of "debug", "info", "warn", "error", not an integer',
      'appliance.conf:13:13: appliance.state_dir: "var" is not an absolute path',
    ],
  );
});

test("text that is not TOML is told with its place, a key given twice too", () => {
  assert.match(problems("[boot\n")[0] ?? "", /^appliance\.conf:2:1: Unterminated/);
  assert.match(problems(`${LEAST}interface = "eth2"\n`)[0] ?? "", /^appliance\.conf:4:1: .*multiple times/);
  assert.match(
    problems(`interface = "eth1"\n${LEAST}`)[0] ?? "",
    /^appliance\.conf:1:1: interface: unknown key "interface" outside of a section/,
  );
});

test("a file that cannot be read is one problem", () => {
  const { config, problems: found } = checkConfig(join(directory, "none.conf"));
  assert.equal(config, undefined);
  assert.match(
    problemLine(found[0] ?? assert.fail("no problem")),
    /^none\.conf:1:1: .*none\.conf cannot be read: ENOENT/,
  );
});

test("loadConfig throws all problems as one fault", () => {
  assert.throws(
    () => loadConfig(write("[boot]\n")),
    (error: unknown) => {
      assert.ok(error instanceof ConfigFault);
      assert.equal(error.problems.length, 2);
      assert.equal(error.message.split("\n").length, 2);
      return error.kind === "invalid";
    },
  );
});

test("what keys demand of one another is checked: networks, pools, reservations, certificates", () => {
  assert.deepEqual(
    problems(`${LEAST}[dhcp]
pool_start = "10.20.0.50"
pool_end = "10.20.0.40"
gateway = "10.21.0.1"
[[dhcp.reservations]]
mac = "52:54:00:00:00:01"
address = "10.20.0.1"
[[dhcp.reservations]]
mac = "52-54-00-00-00-01"
address = "10.20.0.255"
[mqtt]
enabled = true
cert_file = "/etc/cert.pem"
`).map((line) => line.replace(/^appliance\.conf:/, "")),
    [
      "1:1: mqtt.url: is missing: mqtt.enabled is true",
      "6:12: dhcp.pool_end: 10.20.0.40 is below pool_start 10.20.0.50",
      "7:11: dhcp.gateway: 10.21.0.1 is not in the network of boot.address 10.20.0.1/24",
      "8:8: dhcp.reservations: 10.20.0.1 is the appliance's own address",
      "11:8: dhcp.reservations: 10.20.0.255 is the network's own or its broadcast address",
      "11:8: dhcp.reservations: 52:54:00:00:00:01 is reserved twice",
      "16:13: mqtt.cert_file: cert_file and key_file come together",
    ],
  );
});

test("files of conf.d replace single keys in the order of their names, and add reservations", () => {
  mkdirSync(join(directory, "conf.d"));
  const path = write(
    `${LEAST}http_port = 8001\n[[dhcp.reservations]]\nmac = "52:54:00:00:00:01"\naddress = "10.20.0.11"\n`,
  );
  write("[boot]\nhttp_port = 8003\n", "conf.d/20-b.conf");
  write(
    `[boot]\nhttp_port = 8002\ntftp_port = 70\n[[dhcp.reservations]]\nmac = "52:54:00:00:00:02"\naddress = "10.20.0.12"\n`,
    "conf.d/10-a.conf",
  );
  write("not toml", "conf.d/readme.txt");
  const config = loadConfig(path);
  assert.equal(config.boot.httpPort, 8003);
  assert.equal(config.boot.tftpPort, 70);
  assert.equal(config.boot.interface, "eth1");
  assert.deepEqual(
    config.dhcp.reservations.map((row) => row.address),
    ["10.20.0.11", "10.20.0.12"],
  );
  write("[boot]\nhttp_prt = 1\n", "conf.d/30-c.conf");
  assert.equal(
    checkConfig(path).problems.map(problemLine).join(),
    '30-c.conf:2:1: boot.http_prt: unknown key; did you mean "http_port"?',
  );
});

test("a secret comes from a file or a systemd credential, prints as ***, and its file must not be everybody's", () => {
  const secret = write("s3cret\n", "password", 0o600);
  const path = write(`${LEAST}[mqtt]\nusername = "u"\npassword_file = "${secret}"\n`);
  const password = loadConfig(path).mqtt.password;
  assert.ok(password instanceof Secret);
  assert.equal(password.reveal(), "s3cret");
  assert.equal(JSON.stringify(loadConfig(path)).includes("s3cret"), false);
  const named = write(`${LEAST}[mqtt]\nusername = "u"\npassword_file = "password"\n`, "named.conf");
  assert.equal(loadConfig(named, { credentialsDirectory: directory }).mqtt.password?.reveal(), "s3cret");
  assert.match(checkConfig(named, { secrets: "needed" }).problems[0]?.message ?? "", /no credentials directory/);
  assert.equal(loadConfig(named).mqtt.password, null); // who only checks need not have the daemon's credentials
  const open = write("s3cret\n", "open", 0o644);
  assert.match(
    problems(`${LEAST}[mqtt]\nusername = "u"\npassword_file = "${open}"\n`)[0] ?? "",
    /6:17: mqtt\.password_file: everybody can read .*chmod 600/,
  );
  assert.match(
    problems(`${LEAST}[mqtt]\nusername = "u"\npassword_file = "${directory}/none"\n`)[0] ?? "",
    /cannot be read: ENOENT/,
  );
});

test("keys named like properties of every object are unknown keys like others", () => {
  assert.match(
    problems(`${LEAST}constructor = 1\n__proto__ = 2\n[toString]\n`).join("\n"),
    /boot\.constructor: unknown key.*\n.*boot\.__proto__: unknown key.*\n.*unknown section \[toString\]/,
  );
});
