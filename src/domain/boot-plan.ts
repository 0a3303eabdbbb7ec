import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { assertNever } from "../core/fault.ts";
import { stringProperty } from "../core/json.ts";
import type { Firmware, Processor } from "./boot-firmware.ts";
import { capability } from "./capabilities.ts";
import { ramdiskKernelArguments } from "./kernel-arguments.ts";
import type { Node, Port } from "./node.ts";

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
export const defaultSignedLoaders: readonly Loader[] = [{ platform: "efi", processor: "x86_64", file: "shimx64.efi" }];

/** Our services as this machine reaches them. */
export interface BootServices {
  readonly address: Ipv4Address;
  readonly httpPort: number;
  /** Root of the REST API, without a slash at the end. */
  readonly apiUrl: string;
}

export interface BootQuery {
  readonly mac: MacAddress;
  readonly node: Node | undefined;
  readonly port: Port | undefined;
  readonly firmware: Firmware;
  readonly services: BootServices;
  readonly policy: BootPolicy;
}

/** What DHCP says about booting. `silent`: an address, and no word about booting. */
export type NetworkBoot =
  | { readonly kind: "silent"; readonly reason: string }
  | {
      readonly kind: "file";
      /** A name for TFTP, or an http: URL. */
      readonly file: string;
      readonly by: "tftp" | "http";
      readonly server: Ipv4Address;
      /** What option 60 must say for the client to take the file. */
      readonly vendorClass: "HTTPClient" | null;
      readonly reason: string;
    };

/** What iPXE is told to do. */
export type BootScript =
  | { readonly kind: "linux"; readonly kernel: string; readonly initrd: string; readonly arguments: readonly string[] }
  /** Leave the network, boot the machine's own disk. */
  | { readonly kind: "local-disk" };

/** Everything that DHCP, TFTP and boot HTTP do for one machine, so that the three cannot disagree. */
export interface BootPlan {
  readonly target: "ramdisk" | "disk" | "none";
  readonly reason: string;
  readonly network: NetworkBoot;
  readonly script: BootScript;
}

/** Pure and total: the same machine in the same state gets the same plan from every service. */
export function planBoot(query: BootQuery): BootPlan {
  const { target, reason } = targetOf(query);
  switch (target) {
    case "none":
    case "disk":
      return { target, reason, network: { kind: "silent", reason }, script: { kind: "local-disk" } };
    case "ramdisk":
      return { target, reason, network: firstFile(query, reason), script: ramdiskScript(query) };
    default:
      return assertNever(target);
  }
}

function targetOf({ node, port, policy }: BootQuery): { readonly target: BootPlan["target"]; readonly reason: string } {
  if (node === undefined || port === undefined) {
    return policy.discovery
      ? { target: "ramdisk", reason: "unknown machine, discovery is on" }
      : { target: "none", reason: "port unknown and discovery off" };
  }
  if (!port.pxeEnabled) return { target: "none", reason: "the port has pxe_enabled false" };
  switch (node.bootTarget) {
    case "ramdisk":
      return { target: "ramdisk", reason: `${node.provisionState}: the ramdisk is ordered` };
    case "disk":
      return { target: "disk", reason: `${node.provisionState}: its own disk` };
    case "none":
      return { target: "none", reason: `${node.provisionState}: nothing is ordered` };
    default:
      return assertNever(node.bootTarget);
  }
}

function firstFile(query: BootQuery, reason: string): NetworkBoot {
  const { firmware, mac, node, services, policy } = query;
  if (firmware.program === "system")
    return { kind: "silent", reason: `${reason}; asked by an operating system, not by firmware` };
  if (firmware.processor !== null && !policy.ramdisks.includes(firmware.processor))
    return { kind: "silent", reason: `${reason}; no ramdisk for ${firmware.processor}` };
  const http = `http://${services.address}:${services.httpPort}`;
  if (firmware.program === "ipxe" && firmware.http) {
    const file = `${http}/boot/${scriptName(mac)}`;
    return {
      kind: "file",
      file,
      by: "http",
      server: services.address,
      vendorClass: null,
      reason: `${reason}; iPXE gets its script`,
    };
  }
  const loaders = wantsSecureBoot(node) ? policy.signedLoaders : policy.loaders;
  const loader = loaders.find((row) => row.platform === firmware.platform && row.processor === firmware.processor);
  if (loader === undefined) return { kind: "silent", reason: `${reason}; no loader for ${firmware.architecture}` };
  const why = `${reason}; ${firmware.architecture} gets ${loader.file}`;
  if (firmware.program === "uefi-http") {
    const file = `${http}/loader/${loader.file}`;
    return { kind: "file", file, by: "http", server: services.address, vendorClass: "HTTPClient", reason: why };
  }
  return { kind: "file", file: loader.file, by: "tftp", server: services.address, vendorClass: null, reason: why };
}

function wantsSecureBoot(node: Node | undefined): boolean {
  return node !== undefined && capability(node, "secure_boot")?.toLowerCase() === "true";
}

function ramdiskScript({ mac, node, services, policy }: BootQuery): BootScript {
  const http = `http://${services.address}:${services.httpPort}`;
  return {
    kind: "linux",
    kernel: ownFile(node, "deploy_kernel") ?? `${http}/ramdisk/kernel`,
    initrd: ownFile(node, "deploy_ramdisk") ?? `${http}/ramdisk/initrd`,
    arguments: ramdiskKernelArguments({
      node,
      mac,
      apiUrl: services.apiUrl,
      defaults: policy.kernelArguments,
      debug: policy.debug,
    }),
  };
}

/** A kernel or initrd that the node names for itself; only what iPXE can fetch. */
function ownFile(node: Node | undefined, key: "deploy_kernel" | "deploy_ramdisk"): string | undefined {
  const url = node === undefined ? undefined : stringProperty(node.driverInfo, key);
  return url !== undefined && /^https?:\/\//.test(url) ? url : undefined;
}

/** `52-54-00-12-34-56.ipxe` */
export function scriptName(mac: MacAddress): string {
  return `${mac.replaceAll(":", "-")}.ipxe`;
}
