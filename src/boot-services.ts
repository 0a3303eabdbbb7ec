import { readdirSync } from "node:fs";
import { join } from "node:path";
import { bindUdpToInterface } from "./core/native-addon.ts";
import { Fault, toFault } from "./core/fault.ts";
import type { Ipv6Address } from "./core/ipv6-address.ts";
import type { JsonObject } from "./core/json.ts";
import type { Scope } from "./core/scope.ts";
import { loadBootTemplates } from "./config/boot-templates.ts";
import { type Certificate, certificateDoubts, loadCertificate } from "./config/certificate.ts";
import type { Config } from "./config/config.ts";
import { type BootPolicy, defaultSignedLoaders, memoryTests } from "./domain/boot-plan.ts";
import { DatagramSocket } from "./net/datagram.ts";
import { type AddressOwners, addressOwners } from "./service/address-owners.ts";
import { BootFiles } from "./service/boot-files.ts";
import { BootHttp } from "./service/boot-http.ts";
import type { BootSettings } from "./service/boot-lookup.ts";
import { bootSecrets } from "./service/boot-secret.ts";
import { ipv6Socket } from "./service/dhcp6-link.ts";
import { loaderConfigSource } from "./service/loader-config-source.ts";
import type { RamdiskFiles } from "./service/ramdisk-files.ts";
import { type TftpLink, TftpService } from "./service/tftp-service.ts";
import { openDhcp, type ServiceParts } from "./dhcp-services.ts";

/** A block of TFTP in one Ethernet frame: 1500 less IP, UDP and TFTP headers. */
const TFTP_LIMITS = {
  blksize: 1468,
  windowsize: 64,
  transfers: 256,
  transfersPerClient: 8,
  // GRUB asks for a hundred small files within a second.
  requestsPerClient: { burst: 500, perSecond: 100 },
};
const MOST_HTTP_CONNECTIONS = 1024;

export interface BootServicesHandle {
  readonly counters: () => JsonObject;
  /** Reads the certificate of boot HTTP again. */
  readonly reload: () => void;
}

/** What TFTP and boot HTTP have in common. */
interface Served extends ServiceParts {
  readonly boot: BootSettings;
  readonly files: BootFiles;
  readonly owners: AddressOwners;
  /** Ours on the provisioning network, where it is served. */
  readonly ipv6: Ipv6Address | null;
}

/** DHCP, TFTP and boot HTTP on the provisioning network. */
export async function openBootServices(parts: ServiceParts, scope: Scope): Promise<BootServicesHandle> {
  const { config, clock, store, key } = parts;
  const { boot, dhcp6 } = config;
  const certificate = loadCertificate(boot);
  const settings: BootSettings = {
    policy: bootPolicy(config),
    httpPort: boot.httpPort,
    httpsPort: certificate === null ? null : boot.httpsPort,
    apiPort: config.api.port,
    templates: loadBootTemplates(boot.templateDir),
    secrets: bootSecrets(key),
    ipv6: { host: dhcp6.bootHost, apiAddress: boot.address.address },
  };
  const served: Served = {
    ...parts,
    boot: settings,
    files: scope.use(new BootFiles({ clock, named: loaderFiles(boot.loaderDirs), root: null })),
    owners: addressOwners(store),
    ipv6: dhcp6.enabled ? (dhcp6.address?.address ?? null) : null,
  };
  const http = scope.use(bootHttp(served, certificate));
  await http.start();
  const reload = certificateKeeper(served, http, certificate);
  const tftp = scope.use(await tftpService(served));
  tftp.start();
  const dhcp = await openDhcp(parts, settings, scope);
  return { counters: () => ({ ...dhcp(), http: { ...http.counters() }, tftp: { ...tftp.counters() } }), reload };
}

function bootHttp(
  { config, clock, log, store, boot, files, owners, ipv6 }: Served,
  identity: Certificate | null,
): BootHttp {
  const { address, httpPort, httpsPort } = { ...config.boot, ...config.boot.address };
  return new BootHttp({
    clock,
    log,
    store: { nodes: store.nodes, ports: store.ports, volumes: store.volumes, leases: owners },
    boot,
    files,
    ramdisk: ramdiskFiles(config),
    isoDirectories: config.image.fileDirs,
    listen: [address, ...(ipv6 === null ? [] : [ipv6])].flatMap((one) => [
      { address: one, port: httpPort, identity: null },
      ...(identity === null ? [] : [{ address: one, port: httpsPort, identity }]),
    ]),
    mostConnections: MOST_HTTP_CONNECTIONS,
  });
}

/** Tells of the certificate that is served; returns what takes up a renewed one. */
function certificateKeeper({ config, clock, log }: Served, http: BootHttp, served: Certificate | null): () => void {
  const { boot } = config;
  const tell = (read: Certificate): void => {
    const fields = { file: boot.httpsCertFile ?? "", valid_to: read.own.validTo };
    log.info("http.certificate", fields);
    for (const reason of certificateDoubts(read, config, clock.wall()))
      log.warn("http.certificate", { ...fields, reason });
  };
  if (served === null) return () => {};
  tell(served);
  return () => {
    try {
      const renewed = loadCertificate(boot);
      if (renewed === null) return;
      http.renew(renewed);
      tell(renewed);
    } catch (error) {
      log.error("http.certificate-refused", { reason: toFault(error).message });
    }
  };
}

async function tftpService({ config, clock, log, store, boot, files, owners, ipv6 }: Served): Promise<TftpService> {
  const { interface: name, tftpPort: port } = config.boot;
  const { address } = config.boot.address;
  const fd = bindUdpToInterface({ interface: name, address, port, broadcast: false });
  const links: TftpLink[] = [{ address, socket: await DatagramSocket.open({ kind: "fd", fd, broadcast: false }) }];
  if (ipv6 !== null) links.push({ address: ipv6, socket: await ipv6Socket(name, ipv6, port) });
  return new TftpService({
    clock,
    log,
    leases: owners,
    links,
    // A file that the operator put there goes before one that is made.
    sources: [
      ({ file }) => files.open(file),
      loaderConfigSource({ store, boot, clock, files, ramdisk: ramdiskFiles(config) }),
    ],
    limits: TFTP_LIMITS,
  });
}

function ramdiskFiles({ boot }: Config): RamdiskFiles {
  const { kernel, initrd, arm64Kernel, arm64Initrd } = boot;
  const arm64 = arm64Kernel === null || arm64Initrd === null ? null : { kernel: arm64Kernel, initrd: arm64Initrd };
  return { kernel, initrd, arm64 };
}

/** Where Debian's packages shim-signed, grub-efi-amd64-signed and memtest86+ put their programs, by the names they are asked for. */
const PACKAGED_LOADERS: readonly (readonly [string, string])[] = [
  ["shimx64.efi", "/usr/lib/shim/shimx64.efi.signed"],
  ["grubx64.efi", "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"],
  ["shimaa64.efi", "/usr/lib/shim/shimaa64.efi.signed"],
  ["grubaa64.efi", "/usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed"],
  [memoryTests.bios, "/boot/memtest86+x64.bin"],
  [memoryTests.efi, "/boot/memtest86+x64.efi"],
];

/** The files of the loader directories by name; of the same name in two, the first directory's; then those of other packages. */
function loaderFiles(directories: readonly string[]): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const directory of directories) {
    let names: readonly string[];
    try {
      names = readdirSync(directory);
    } catch (error) {
      throw new Fault(
        "invalid",
        "boot.loader_dirs",
        `boot.loader_dirs: ${directory} cannot be read; install the package ipxe or name another directory`,
        { cause: error },
      );
    }
    for (const name of names) if (!files.has(name)) files.set(name, join(directory, name));
  }
  for (const [name, path] of PACKAGED_LOADERS) if (!files.has(name)) files.set(name, path);
  return files;
}

function bootPolicy(config: Config): BootPolicy {
  const { boot, dhcp } = config;
  const console = boot.console === "" ? "" : `console=${boot.console}`;
  return {
    discovery: dhcp.discovery === "on",
    loaders: [
      { platform: "bios", processor: "i386", file: boot.biosLoader },
      { platform: "efi", processor: "x86_64", file: boot.uefiLoader },
      { platform: "efi", processor: "arm64", file: boot.uefiArm64Loader },
    ],
    signedLoaders: defaultSignedLoaders,
    ramdisks: ramdiskFiles(config).arm64 === null ? ["x86_64"] : ["x86_64", "arm64"],
    httpsFor: boot.httpsFor,
    kernelArguments: [console, boot.kernelArguments].filter((part) => part !== "").join(" "),
    debug: false,
  };
}
