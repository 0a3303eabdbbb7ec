import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import { type Ipv6Address, isIpv6Address } from "../core/ipv6-address.ts";
import { stringProperty } from "../core/json.ts";
import { type Firmware, type Processor, processorOfCpuArch, runsOn } from "./boot-firmware.ts";
import { capability } from "./capabilities.ts";
import type { BootScript } from "./boot-script.ts";
import { appendedArguments, ramdiskKernelArguments } from "./kernel-arguments.ts";
import { isBootUrl, networkInstance } from "./network-instance.ts";
import type { Node, Port } from "./node.ts";
import type { VolumeBoot } from "./volume.ts";

/** What the operator decided about booting. */
export interface BootPolicy {
  /** Machines that nobody enrolled are booted into the ramdisk, to be found. */
  readonly discovery: boolean;
  /** First programs by firmware; the first row that fits is taken. */
  readonly loaders: readonly Loader[];
  /** In their place for machines with the capability `secure_boot`, whose firmware starts nothing unsigned. */
  readonly signedLoaders: readonly Loader[];
  /** Processors for which a ramdisk is there. */
  readonly ramdisks: readonly Processor[];
  /** Programs of which the operator says that they trust our certificate, on every machine. */
  readonly httpsFor: readonly Firmware["program"][];
  /** Kernel arguments for every machine: console and the like. */
  readonly kernelArguments: string;
  readonly debug: boolean;
}

export interface Loader {
  readonly platform: Firmware["platform"];
  readonly processor: Processor;
  /** Its name on TFTP, and below /loader/ on HTTP. */
  readonly file: string;
}

/** @source ipxe.org: builds for each firmware; Ironic's ipxe_bootfile_name_by_arch */
export const defaultLoaders: readonly Loader[] = [
  { platform: "bios", processor: "i386", file: "undionly.kpxe" },
  { platform: "efi", processor: "x86_64", file: "snponly.efi" },
  { platform: "efi", processor: "arm64", file: "snponly-arm64.efi" },
];

/** Debian's shim, which starts GRUB from beside it; GRUB asks for `grub/grub.cfg-01-MAC`. */
export const defaultSignedLoaders: readonly Loader[] = [
  { platform: "efi", processor: "x86_64", file: "shimx64.efi" },
  { platform: "efi", processor: "arm64", file: "shimaa64.efi" },
];

/** Programs of Debian's package memtest86+, by their names below /loader/. */
export const memoryTests = { bios: "memtest86+x64.bin", efi: "memtest86+x64.efi" } as const;

/** Our services as this machine reaches them. */
export interface BootServices {
  readonly address: Ipv4Address | Ipv6Address;
  /** Stands in URLs in its place. */
  readonly host?: string;
  /** Root of boot HTTP, without a slash at the end: for who asked by TLS, that of TLS. */
  readonly http: string;
  /** Root of boot HTTP over TLS, for programs that can and trust us; null where there is none. */
  readonly https: string | null;
  /** Root of the REST API, without a slash at the end. */
  readonly apiUrl: string;
}

export interface BootQuery {
  readonly mac: MacAddress;
  readonly node: Node | undefined;
  readonly port: Port | undefined;
  /** What the node boots from, if its target is `volume`. */
  readonly volume: VolumeBoot;
  readonly firmware: Firmware;
  readonly services: BootServices;
  readonly policy: BootPolicy;
  /** Stands in the URLs of what only this machine may have; empty where the plan has none. */
  readonly secret: string;
}

/** What DHCP says about booting. `silent`: an address, and no word about booting. */
export type NetworkBoot =
  | { readonly kind: "silent"; readonly reason: string }
  | {
      readonly kind: "file";
      /** A name for TFTP, or an http: or https: URL. */
      readonly file: string;
      readonly by: "tftp" | "http";
      readonly server: Ipv4Address | Ipv6Address;
      /** What option 60 must say for the client to take the file. */
      readonly vendorClass: "HTTPClient" | null;
      readonly reason: string;
    };

export type BootPlanTarget = "ramdisk" | "disk" | "none" | "instance" | "volume" | "memory-test";

/** Everything that DHCP, TFTP and boot HTTP do for one machine, so that the three cannot disagree. */
export interface BootPlan {
  readonly target: BootPlanTarget;
  readonly reason: string;
  readonly network: NetworkBoot;
  readonly script: BootScript;
  /** The script names something that only this machine may have. */
  readonly confidential: boolean;
}

/** Pure and total: the same machine in the same state gets the same plan from every service. */
export function planBoot(query: BootQuery): BootPlan {
  const { target, reason, script } = targetOf(query);
  const network: NetworkBoot =
    script.kind === "local-disk" ? { kind: "silent", reason } : firstFile(query, script, reason);
  const confidential = (script.kind === "iso" && script.url.startsWith(ownFilesRoot(query))) || holdsChap(script);
  return { target, reason, network, script, confidential };
}

function holdsChap(script: BootScript): boolean {
  return script.kind === "volumes" && [script.boot, ...script.others].some(({ chap }) => chap !== null);
}

const localDisk: BootScript = { kind: "local-disk" };

function targetOf(query: BootQuery): Pick<BootPlan, "target" | "reason" | "script"> {
  const { node, port, policy } = query;
  if (node === undefined || port === undefined) {
    return policy.discovery
      ? { target: "ramdisk", reason: "unknown machine, discovery is on", script: ramdiskScript(query) }
      : { target: "none", reason: "port unknown and discovery off", script: localDisk };
  }
  if (!port.pxeEnabled) return { target: "none", reason: "the port has pxe_enabled false", script: localDisk };
  const state = node.provisionState;
  if (node.bootTarget === "ramdisk")
    return { target: "ramdisk", reason: `${state}: the ramdisk is ordered`, script: ramdiskScript(query) };
  if (isTrue(capability(node, "memory_test"))) {
    return { target: "memory-test", reason: `${state}: capability memory_test`, script: memoryTestScript(query) };
  }
  switch (node.bootTarget) {
    case "disk":
      return { target: "disk", reason: `${state}: its own disk`, script: localDisk };
    case "none":
      return { target: "none", reason: `${state}: nothing is ordered`, script: localDisk };
    case "volume":
      return volumeOf(query.volume, state);
    case "network": {
      const script = instanceScript(query, node);
      return script === undefined
        ? {
            target: "none",
            reason: `${state}: instance_info names nothing to boot over the network`,
            script: localDisk,
          }
        : { target: "instance", reason: `${state}: its ${script.kind === "iso" ? "ISO" : "kernel"}`, script };
    }
    default:
      return assertNever(node.bootTarget);
  }
}

function volumeOf(volume: VolumeBoot, state: string): Pick<BootPlan, "target" | "reason" | "script"> {
  switch (volume.kind) {
    case "none":
      return { target: "none", reason: `${state}: it has no volume with boot_index 0`, script: localDisk };
    case "unfit":
      return { target: "none", reason: `${state}: its volume's ${volume.field} ${volume.reason}`, script: localDisk };
    case "iscsi": {
      const { initiator, boot, others } = volume;
      const reason = `${state}: its volume ${boot.iqn}`;
      return { target: "volume", reason, script: { kind: "volumes", initiator, boot, others } };
    }
    default:
      return assertNever(volume);
  }
}

function firstFile(query: BootQuery, script: BootScript, reason: string): NetworkBoot {
  const { firmware, mac, node, services, policy } = query;
  if (firmware.program === "system")
    return { kind: "silent", reason: `${reason}; asked by an operating system, not by firmware` };
  const obstacle = script.kind === "linux" && script.of === "ramdisk" ? ramdiskObstacle(query) : null;
  if (obstacle !== null) return { kind: "silent", reason: `${reason}; ${obstacle}` };
  const secure = wantsSecureBoot(node);
  if (secure && script.kind !== "linux")
    return { kind: "silent", reason: `${reason}; not under Secure Boot, where GRUB cannot start it` };
  if (secure && firmware.program === "uefi-http")
    return { kind: "silent", reason: `${reason}; not by HTTP under Secure Boot, as the signed GRUB cannot; by PXE` };
  const http = httpRoot(query);
  const byHttp = { kind: "file", by: "http", server: services.address } as const;
  if (firmware.program === "ipxe" && firmware.http) {
    const file = `${http}/boot/${scriptName(mac)}`;
    return { ...byHttp, file, vendorClass: null, reason: `${reason}; iPXE gets its script` };
  }
  if (firmware.program === "u-boot") {
    if (script.kind !== "linux") return { kind: "silent", reason: `${reason}; U-Boot starts kernels only` };
    const file = uBootConfigName(mac);
    const why = `${reason}; U-Boot gets a PXELINUX configuration`;
    return { kind: "file", file, by: "tftp", server: services.address, vendorClass: null, reason: why };
  }
  if (firmware.program === "uefi-http" && script.kind === "iso") {
    return { ...byHttp, file: script.url, vendorClass: "HTTPClient", reason: `${reason}; the firmware loads it` };
  }
  const loaders = secure ? policy.signedLoaders : policy.loaders;
  const loader = loaders.find((row) => row.platform === firmware.platform && row.processor === firmware.processor);
  if (loader === undefined) return { kind: "silent", reason: `${reason}; no loader for ${firmware.architecture}` };
  const why = `${reason}; ${firmware.architecture} gets ${loader.file}`;
  if (firmware.program === "uefi-http")
    return { ...byHttp, file: `${http}/loader/${loader.file}`, vendorClass: "HTTPClient", reason: why };
  return { kind: "file", file: loader.file, by: "tftp", server: services.address, vendorClass: null, reason: why };
}

/** How URLs name us: an IPv6 address stands in brackets (RFC 3986 §3.2.2). */
export function urlHost({ address, host }: Pick<BootServices, "address" | "host">): string {
  return host ?? (isIpv6Address(address) ? `[${address}]` : address);
}

function httpRoot({ firmware, services, policy }: BootQuery): string {
  const trusts = firmware.https && policy.httpsFor.includes(firmware.program);
  return trusts ? (services.https ?? services.http) : services.http;
}

function isTrue(value: string | undefined): boolean {
  return value?.toLowerCase() === "true";
}

function wantsSecureBoot(node: Node | undefined): boolean {
  return node !== undefined && isTrue(capability(node, "secure_boot"));
}

/**
 * The processor that the node's ramdisk is for. Not what its firmware says: GRUB, PXELINUX and iPXE, which ask for the
 * script, do not say it, and all must get the same.
 */
function ramdiskProcessor(node: Node | undefined): Processor | null {
  const told = node === undefined ? undefined : stringProperty(node.properties, "cpu_arch");
  return told === undefined ? "x86_64" : processorOfCpuArch(told);
}

/** Why this firmware is not sent to the ramdisk; null: it is. */
function ramdiskObstacle({ node, firmware, policy }: BootQuery): string | null {
  const ramdisk = ramdiskProcessor(node);
  const own = ownFile(node, "deploy_kernel") !== undefined;
  if (ramdisk === null || !(own || policy.ramdisks.includes(ramdisk)))
    return `no ramdisk for the node's cpu_arch${ramdisk === null ? "" : `, ${ramdisk}`}`;
  if (firmware.processor === null || runsOn(ramdisk, firmware.processor)) return null;
  return `no ramdisk for ${firmware.processor}: by the node's cpu_arch, or for want of one, it is ${ramdisk}`;
}

function ramdiskScript(query: BootQuery): BootScript {
  const { mac, node, services, policy } = query;
  const http = httpRoot(query);
  const folder = ramdiskProcessor(node) === "arm64" ? "ramdisk/arm64" : "ramdisk";
  return {
    kind: "linux",
    of: "ramdisk",
    kernel: ownFile(node, "deploy_kernel") ?? `${http}/${folder}/kernel`,
    initrd: ownFile(node, "deploy_ramdisk") ?? `${http}/${folder}/initrd`,
    arguments: ramdiskKernelArguments({
      node,
      mac,
      apiUrl: services.apiUrl,
      defaults: policy.kernelArguments,
      debug: policy.debug,
    }),
  };
}

/** Below it lie the files that only this machine may have. */
function ownFilesRoot(query: BootQuery): string {
  return `${httpRoot(query)}/own/${query.secret}/`;
}

function instanceScript(query: BootQuery, node: Node): BootScript | undefined {
  const instance = networkInstance(node);
  switch (instance?.kind) {
    case undefined:
      return undefined;
    case "iso":
      return {
        kind: "iso",
        url: isBootUrl(instance.source) ? instance.source : `${ownFilesRoot(query)}${isoName(query.mac)}`,
      };
    case "linux": {
      const { kernel, initrd } = instance;
      return {
        kind: "linux",
        of: "instance",
        kernel,
        initrd,
        arguments: appendedArguments(node, query.policy.kernelArguments),
      };
    }
    default:
      return assertNever(instance);
  }
}

function memoryTestScript(query: BootQuery): BootScript {
  const root = `${httpRoot(query)}/loader`;
  return {
    kind: "memory-test",
    bios: `${root}/${memoryTests.bios}`,
    efi: `${root}/${memoryTests.efi}`,
    // The same console as the ramdisk's; it knows no other argument of Linux.
    arguments: query.policy.kernelArguments.split(/\s+/).filter((argument) => argument.startsWith("console=ttyS")),
  };
}

/** A kernel or initrd that the node names for itself; only what iPXE can fetch. */
function ownFile(node: Node | undefined, key: "deploy_kernel" | "deploy_ramdisk"): string | undefined {
  const url = node === undefined ? undefined : stringProperty(node.driverInfo, key);
  return url !== undefined && isBootUrl(url) ? url : undefined;
}

/** `52-54-00-12-34-56.ipxe` */
export function scriptName(mac: MacAddress): string {
  return `${mac.replaceAll(":", "-")}.ipxe`;
}

/**
 * What U-Boot's `dhcp` loads, and beside which its `pxe get` looks for `pxelinux.cfg/01-MAC`. Without a file it would take
 * no server's address for TFTP.
 */
function uBootConfigName(mac: MacAddress): string {
  return `pxelinux.cfg/01-${mac.replaceAll(":", "-")}`;
}

/** `52-54-00-12-34-56.iso`: the instance's ISO, where it is a file on the appliance. */
export function isoName(mac: MacAddress): string {
  return `${mac.replaceAll(":", "-")}.iso`;
}
