import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseIpv4Address } from "../../src/core/brand.ts";
import { renderDnsmasq } from "../../src/protocol/dhcp-server/dnsmasq.ts";
import { renderIsc } from "../../src/protocol/dhcp-server/isc.ts";
import { renderKea } from "../../src/protocol/dhcp-server/kea.ts";
import { architecturesOf, type StaticBoot } from "../../src/protocol/dhcp-server/static-boot.ts";
import { Enclosure } from "../rack/enclosure.ts";
import { unpackedPackage } from "./unpacked-package.ts";

/** Somebody else's DHCP server on the wire, with what `ironrack boot dhcp-config` gives it. */
const SERVER = "10.76.0.2";
const APPLIANCE = parseIpv4Address("10.76.0.1");
const HTTP = `http://${APPLIANCE}:8081`;

const boot: StaticBoot = {
  tftpServer: APPLIANCE,
  script: `${HTTP}/boot.ipxe`,
  files: [
    { name: "bios", architectures: architecturesOf("bios", "i386", "tftp"), by: "tftp", file: "undionly.kpxe" },
    { name: "efi-x64", architectures: architecturesOf("efi", "x86_64", "tftp"), by: "tftp", file: "snponly.efi" },
    {
      name: "efi-x64-http",
      architectures: architecturesOf("efi", "x86_64", "http"),
      by: "http",
      file: `${HTTP}/loader/snponly.efi`,
    },
  ],
};

interface OtherServer {
  /** Writes the configuration; what the server's own check of it is, and how it is started. */
  readonly prepare: (directory: string) => {
    readonly check: readonly string[];
    readonly run: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  };
}

const dnsmasq: OtherServer = {
  prepare: (directory) => {
    const config = join(directory, "dnsmasq.conf");
    const own = `port=0\ninterface=wire0\nuser=root\ndhcp-range=10.76.0.100,10.76.0.199,5m\nno-ping\ndhcp-leasefile=${join(directory, "leases")}\n`;
    writeFileSync(config, own + renderDnsmasq(boot));
    const argv = ["dnsmasq", `--conf-file=${config}`];
    return { check: [...argv, "--test"], run: [...argv, "-k", "--pid-file="] };
  },
};

const isc: OtherServer = {
  prepare: (directory) => {
    const ours = join(directory, "ironrack.conf");
    const config = join(directory, "dhcpd.conf");
    const leases = join(directory, "leases");
    writeFileSync(ours, renderIsc(boot));
    writeFileSync(leases, "");
    writeFileSync(
      config,
      `ping-check false;\ninclude "${ours}";\nsubnet 10.76.0.0 netmask 255.255.255.0 { range 10.76.0.100 10.76.0.199; }\n`,
    );
    const dhcpd = join(unpackedPackage("isc-dhcp-server"), "usr/sbin/dhcpd");
    const argv = [dhcpd, "-4", "-cf", config, "-lf", leases];
    return { check: [...argv, "-t"], run: [...argv, "-f", "-d", "--no-pid", "wire0"] };
  },
};

const kea: OtherServer = {
  prepare: (directory) => {
    const config = join(directory, "kea.json");
    const own = {
      "interfaces-config": { interfaces: ["wire0"] },
      "lease-database": { type: "memfile", persist: false },
      subnet4: [{ subnet: "10.76.0.0/24", pools: [{ pool: "10.76.0.100 - 10.76.0.199" }] }],
      loggers: [{ name: "kea-dhcp4", severity: "WARN", output_options: [{ output: join(directory, "kea.log") }] }],
    };
    const ours = JSON.parse(renderKea(boot)) as { readonly Dhcp4: object };
    writeFileSync(config, JSON.stringify({ Dhcp4: { ...own, ...ours.Dhcp4 } }));
    const program = join(unpackedPackage("kea-dhcp4-server"), "usr/sbin/kea-dhcp4");
    const env = { KEA_PIDFILE_DIR: directory, KEA_LOCKFILE_DIR: directory };
    return { check: [program, "-t", config], run: [program, "-c", config], env };
  },
};

/** What iPXE's ROM says of itself: it can HTTP (feature 19). */
const IPXE = "-x175:130101";

const firmwares: readonly {
  readonly name: string;
  readonly says: readonly string[];
  readonly file: string;
  readonly server: string | null;
  readonly vendorClass: string;
}[] = [
  {
    name: "BIOS PXE",
    says: ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "93:0000"],
    file: "undionly.kpxe",
    server: APPLIANCE,
    vendorClass: "",
  },
  {
    name: "UEFI PXE",
    says: ["-V", "PXEClient:Arch:00007:UNDI:003000", "-x", "93:0007"],
    file: "snponly.efi",
    server: APPLIANCE,
    vendorClass: "",
  },
  {
    name: "UEFI HTTP boot",
    says: ["-V", "HTTPClient:Arch:00016:UNDI:003000", "-x", "93:0010"],
    file: `${HTTP}/loader/snponly.efi`,
    server: null,
    vendorClass: "HTTPClient",
  },
  {
    name: "iPXE under BIOS",
    says: ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "93:0000", IPXE],
    file: `${HTTP}/boot.ipxe`,
    server: null,
    vendorClass: "",
  },
  {
    name: "iPXE under UEFI",
    says: ["-V", "PXEClient:Arch:00007:UNDI:003000", "-x", "93:0007", IPXE],
    file: `${HTTP}/boot.ipxe`,
    server: null,
    vendorClass: "",
  },
  { name: "a system", says: ["-V", "udhcp"], file: "", server: null, vendorClass: "" },
];

async function askAll(other: OtherServer): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-dhcp-config-"));
  try {
    await using lab = await Enclosure.open(
      [
        "ip link add wire0 type veth peer name eth0 netns site",
        `ip addr add ${SERVER}/24 brd + dev wire0`,
        "ip link set wire0 up",
        "ip -n site link set eth0 up",
      ],
      directory,
    );
    const { check, run, env } = other.prepare(directory);
    const log = join(directory, "log");
    const checked = await lab.run("rack", check, { env: env ?? {} });
    assert.equal(checked.code, 0, `${checked.stdout}${checked.stderr}`);
    await using server = lab.spawn("rack", run, { env: env ?? {}, logFile: log });
    const script = join(directory, "bound.sh");
    const told = join(directory, "told");
    const line = "$boot_file|$siaddr|$vendor";
    writeFileSync(script, `#!/bin/sh\n[ "$1" = bound ] && echo "${line}" > ${told}\nexit 0\n`, { mode: 0o755 });
    for (const { name, says, file, server: from, vendorClass } of firmwares) {
      // Asks until the server is up and answers.
      const asked = [
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-q",
        "-n",
        "-f",
        "-t",
        "40",
        "-T",
        "1",
        "-O",
        "60",
        "-s",
        script,
      ];
      const outcome = await lab.run("site", [...asked, ...says]);
      assert.equal(outcome.code, 0, `${name}: ${outcome.stderr}${server.isRunning ? "" : readFileSync(log, "utf8")}`);
      const [gotFile, gotServer, gotClass] = readFileSync(told, "utf8").trim().split("|");
      assert.equal(gotFile, file, name);
      if (from !== null) assert.equal(gotServer, from, name);
      assert.equal(gotClass, vendorClass, name);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("dnsmasq with our configuration gives each firmware its file, and a system none", async () => {
  await askAll(dnsmasq);
});

test("ISC dhcpd with our configuration gives each firmware its file, and a system none", async () => {
  await askAll(isc);
});

test("Kea with our configuration gives each firmware its file, and a system none", async () => {
  await askAll(kea);
});
