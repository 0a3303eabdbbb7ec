import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CertificateAuthority } from "../certificates.ts";
import { BootLab, SERVER } from "./boot-lab.ts";
import { fetched, firmwareOvmf, machine, NO_PXE, TAP } from "./boot-machine.ts";
import { IPV6, LAYOUT, ONLY_IPV6, routerAdvertisements, SERVER6 } from "./ipv6-lab.ts";

const MAC = "52:54:00:79:00:7a";
const PORT = 8443;
const URL = `https://${SERVER}:${PORT}`;

/** @source UEFI 2.10 §32.4.1: EFI_SIGNATURE_LIST with one X.509 certificate, as QEMU's etc/edk2/https/cacerts takes it */
function signatureList(pem: string): Buffer {
  const der = new X509Certificate(pem).raw;
  const x509 = Buffer.from("a159c0a5e494a74a87b5ab155c2bf072", "hex");
  const owner = Buffer.alloc(16);
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(16 + 12 + 16 + der.length, 0);
  sizes.writeUInt32LE(16 + der.length, 8);
  return Buffer.concat([x509, sizes, owner, der]);
}

interface Trust extends Disposable {
  readonly ca: string;
  readonly directory: string;
  readonly tls: { readonly port: number; readonly cert: string; readonly key: string };
}

function trust(): Trust {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-https-"));
  const authority = new CertificateAuthority(directory, "ca", "rsa");
  return {
    ca: authority.file,
    directory,
    tls: { port: PORT, ...authority.issue("boot", `IP:${SERVER},IP:${SERVER6}`) },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

test("over TLS curl gets files and parts of them byte by byte, and scripts whose URLs are https too", async () => {
  using trusted = trust();
  await using lab = await BootLab.open(
    { nodes: [{ mac: MAC, bootTarget: "ramdisk" }], tls: { ...trusted.tls, for: [] } },
    ["ip -n site addr add 10.79.0.9/24 dev eth0"],
  );
  const curl = async (...argv: readonly string[]): Promise<string> =>
    (await lab.client(["curl", "-sS", "-m", "20", "--cacert", trusted.ca, ...argv])).stdout;
  const initrd = readFileSync(join(lab.directory, "initrd"));
  const got = join(lab.directory, "got");
  await curl("-o", got, `${URL}/ramdisk/initrd`);
  assert.deepEqual(readFileSync(got), initrd);
  await curl("-o", got, "-r", "1000-2500000", `${URL}/ramdisk/initrd`);
  assert.deepEqual(readFileSync(got), initrd.subarray(1000, 2_500_001));
  const connects = await curl(
    "-o",
    got,
    "-o",
    got,
    "-w",
    "%{num_connects} ",
    `${URL}/ramdisk/initrd`,
    `${URL}/boot.ipxe`,
  );
  assert.equal(connects.trim(), "1 0");
  assert.match(readFileSync(got, "utf8"), new RegExp(`^chain --autofree ${URL}/boot/`, "m"));
  const script = await curl(`${URL}/boot/${MAC}.ipxe`);
  assert.match(
    script,
    new RegExp(`^kernel ${URL}/ramdisk/kernel initrd=initrd ipa-api-url=http://${SERVER}:6385 `, "m"),
  );
  const plain = await curl(`http://${SERVER}:8080/boot/${MAC}.ipxe`);
  assert.match(plain, new RegExp(`^kernel http://${SERVER}:8080/ramdisk/kernel`, "m"));
  await assert.rejects(
    lab.client(["curl", "-s", `${URL}/ramdisk/kernel`]),
    /exit status 60/, // "peer certificate cannot be authenticated"
  );
});

/** An ISO whose one program is iPXE, for UEFI to start. */
function isoOfIpxe(path: string, directory: string): void {
  const tree = join(directory, "tree");
  const partition = join(tree, "efi.img");
  mkdirSync(tree);
  writeFileSync(partition, "");
  truncateSync(partition, 4 * 2 ** 20);
  const run = (...argv: readonly [string, ...string[]]): void =>
    void execFileSync(argv[0], argv.slice(1), { stdio: "pipe" });
  run("mkfs.vfat", partition);
  run("mmd", "-i", partition, "::/EFI", "::/EFI/BOOT");
  run("mcopy", "-i", partition, "/usr/lib/ipxe/ipxe.efi", "::/EFI/BOOT/BOOTX64.EFI");
  run("xorriso", "-as", "mkisofs", "-quiet", "-R", "-e", "efi.img", "-no-emul-boot", "-o", path, tree);
}

/** Over each family: what its URLs begin with, and what the wire needs besides. */
const FAMILIES = {
  IPv4: { url: URL, plain: `http://${SERVER}:8080`, options: {}, layout: [] },
  IPv6: {
    url: `https://[${SERVER6}]:${PORT}`,
    plain: `http://[${SERVER6}]:8080`,
    options: { ipv6: { ...IPV6, reservations: [{ mac: MAC, address: "fd79::7a" }] } },
    layout: [...LAYOUT, ...ONLY_IPV6],
  },
} as const;

/** Before OVMF asks over IPv6 it waits a minute for an answer over IPv4: that is for those who say so. */
const chosen = process.env["IRONRACK_SLOW_BOOT"] === "1" ? (["IPv4", "IPv6"] as const) : (["IPv4"] as const);

for (const family of chosen) {
  const { url, plain, options, layout } = FAMILIES[family];
  test(`OVMF with the authority enrolled loads its instance's ISO by HTTPS over ${family} and starts it; iPXE without TLS goes on by HTTP`, async () => {
    using trusted = trust();
    const iso = join(trusted.directory, "live.iso");
    isoOfIpxe(iso, trusted.directory);
    await using lab = await BootLab.open(
      {
        nodes: [{ mac: MAC, bootTarget: "network", instanceInfo: { boot_iso: iso } }],
        isoDirectories: [trusted.directory],
        tls: { ...trusted.tls, for: ["uefi-http", "ipxe"] },
        ...options,
      },
      [...TAP, ...layout],
    );
    await using _router = family === "IPv6" ? routerAdvertisements(lab) : null;
    const authorities = join(trusted.directory, "ca.esl");
    writeFileSync(authorities, signatureList(readFileSync(trusted.ca, "utf8")));
    await using _qemu = machine(lab, `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1,romfile=`, [
      ...firmwareOvmf(lab),
      ...NO_PXE,
      "-fw_cfg",
      `name=etc/edk2/https/cacerts,file=${authorities}`,
    ]);
    await fetched(lab, `/own/***/${MAC.replaceAll(":", "-")}.iso`, 200);
    // The program in the ISO asks for an address under another name than the firmware.
    await lab.logged((line) => String(line["firmware"]).startsWith("ipxe") && line["boot"] !== undefined, 120);
    const offers = lab.answers().filter((line) => line["firmware"] !== undefined && line["boot"] !== undefined);
    assert.deepEqual(lab.told(offers).slice(0, 2), [
      `uefi-http x64 UEFI, HTTP: ${url}/own/***/${MAC.replaceAll(":", "-")}.iso`,
      `ipxe x64 UEFI: ${plain}/boot/${MAC.replaceAll(":", "-")}.ipxe`,
    ]);
  });
}
