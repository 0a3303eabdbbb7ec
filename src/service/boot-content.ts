import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import { type Ipv6Address, parseIpv6Address } from "../core/ipv6-address.ts";
import { type Firmware, systemFirmware } from "../domain/boot-firmware.ts";
import { type BootServices, urlHost } from "../domain/boot-plan.ts";
import { isBootUrl, networkInstance } from "../domain/network-instance.ts";
import { ipv4Of } from "../net/peer-address.ts";
import type { AddressOwners } from "./address-owners.ts";
import { type BootFile, memoryFile } from "./boot-file.ts";
import type { BootFiles } from "./boot-files.ts";
import { type BootDirectory, type BootSettings, findMachine, planFor, servicesAt } from "./boot-lookup.ts";
import { isSameSecret } from "./boot-secret.ts";
import { entryScriptText } from "./boot-script.ts";
import { bootText } from "./boot-text.ts";
import { type RamdiskFiles, ramdiskPath } from "./ramdisk-files.ts";

export interface BootContentOptions {
  readonly clock: Clock;
  readonly store: BootDirectory & { readonly leases: AddressOwners };
  readonly boot: BootSettings;
  readonly files: BootFiles;
  readonly ramdisk: RamdiskFiles;
  /** Where the ISOs lie that nodes may name by path. */
  readonly isoDirectories: readonly string[];
}

/** What a path of boot HTTP stands for at this moment. */
export interface BootContent {
  /** To be disposed of. */
  readonly file: BootFile;
  readonly type: string;
  /** Made for this request: it says what to do now, and nobody may keep it. */
  readonly rendered: boolean;
}

/** iPXE asks over HTTP without saying what it is; the script works under BIOS and UEFI alike. */
const askingIpxe: Firmware = { ...systemFirmware, program: "ipxe", http: true };

/** @source UEFI 2.10 §24.7.3 for the types that its HTTP boot loads */
const CONTENT_TYPES: readonly (readonly [string, string])[] = [
  [".efi", "application/efi"],
  [".iso", "application/vnd.efi-iso"],
  [".img", "application/vnd.efi-img"],
  [".ipxe", "text/plain; charset=utf-8"],
  [".cfg", "text/plain; charset=utf-8"],
];

const SCRIPT = /^\/boot\/([0-9a-fA-F]{2}(?:[-:][0-9a-fA-F]{2}){5})\.ipxe$/;
/** The ISO that only this machine may have, below the secret that its script names. */
const OWN_ISO = /^\/own\/([A-Za-z0-9_-]+)\/([0-9a-f]{2}(?:-[0-9a-f]{2}){5})\.iso$/;

/** What there is below each path: loaders, scripts, kernel, initrd, ISOs. */
export class BootContents {
  readonly #options: BootContentOptions;

  constructor(options: BootContentOptions) {
    this.#options = options;
  }

  /** null: nothing. @throws Fault refused (to this client), storage */
  async find(path: string, request: IncomingMessage): Promise<BootContent | null> {
    const file = await this.#find(path, request);
    return file === null ? null : { file, type: contentType(path), rendered: isRendered(path) };
  }

  async #find(path: string, request: IncomingMessage): Promise<BootFile | null> {
    const { files, ramdisk } = this.#options;
    const ramdiskFile = ramdiskPath(ramdisk, path.slice(1));
    if (ramdiskFile !== undefined) return await files.openPath(ramdiskFile);
    if (path.startsWith("/loader/")) return await files.open(path.slice("/loader/".length));
    if (path === "/boot.ipxe") return this.#rendered(entryScriptText(rootAsAsked(request)));
    const [, secret, owner] = OWN_ISO.exec(path) ?? [];
    if (secret !== undefined && owner !== undefined) return await this.#iso(parseMacAddress(owner), secret, request);
    const name = SCRIPT.exec(path)?.[1];
    return name === undefined ? null : this.#rendered(this.#script(parseMacAddress(name), request));
  }

  #script(mac: MacAddress, request: IncomingMessage): string {
    const address = ownAddress(request);
    const { store, boot } = this.#options;
    const known = findMachine(store, mac);
    const services = servicesFor(request, servicesAt(boot, address));
    const plan = planFor(known, boot, { mac, firmware: askingIpxe, services });
    if (plan.confidential) this.#requireOwner(mac, request);
    return bootText("ipxe", { mac, known, plan, services }, boot.templates);
  }

  /** The ISO that the machine's instance names by path, while it is to boot it. */
  async #iso(mac: MacAddress, secret: string, request: IncomingMessage): Promise<BootFile | null> {
    const { store, boot, files, isoDirectories } = this.#options;
    const { node } = findMachine(store, mac);
    const instance = node?.bootTarget === "network" ? networkInstance(node) : undefined;
    if (node === undefined || instance?.kind !== "iso" || isBootUrl(instance.source)) return null;
    this.#requireOwner(mac, request);
    if (!isSameSecret(secret, boot.secrets(mac, node)))
      throw new Fault("refused", "http.secret", "the secret is wrong");
    return await files.openIn(isoDirectories, instance.source);
  }

  /** @throws Fault refused when the request does not come from the address that this machine was given */
  #requireOwner(mac: MacAddress, request: IncomingMessage): void {
    const peer = ipv4Of(request.socket.remoteAddress);
    if (this.#options.store.leases.byAddress(peer)?.mac !== mac)
      throw new Fault("refused", "http.foreign", `${peer} is not the address of ${mac}`);
  }

  #rendered(text: string): BootFile {
    const bytes = Buffer.from(text, "utf8");
    return memoryFile(
      bytes,
      createHash("sha256").update(bytes).digest("base64url").slice(0, 22),
      this.#options.clock.wall(),
    );
  }
}

function isTls(request: IncomingMessage): boolean {
  return request.socket instanceof TLSSocket;
}

/** Who can ask by TLS loads by TLS. */
function servicesFor(request: IncomingMessage, services: BootServices): BootServices {
  return isTls(request) ? { ...services, http: services.https ?? services.http } : services;
}

function rootAsAsked(request: IncomingMessage): string {
  return `${isTls(request) ? "https" : "http"}://${request.headers.host ?? urlHost({ address: ownAddress(request) })}`;
}

function contentType(path: string): string {
  return CONTENT_TYPES.find(([ending]) => path.endsWith(ending))?.[1] ?? "application/octet-stream";
}

function isRendered(path: string): boolean {
  return path.endsWith(".ipxe") && !path.startsWith("/loader/");
}

/** Ours, that the request came to. */
function ownAddress({ socket }: IncomingMessage): Ipv4Address | Ipv6Address {
  const address = ipv4Of(socket.localAddress);
  return address.includes(":") ? parseIpv6Address(address) : (address as Ipv4Address);
}
