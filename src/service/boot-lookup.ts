import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { type Ipv6Address, isIpv6Address } from "../core/ipv6-address.ts";
import type { Firmware } from "../domain/boot-firmware.ts";
import { type BootPlan, type BootPolicy, type BootServices, planBoot, urlHost } from "../domain/boot-plan.ts";
import type { Node, Port } from "../domain/node.ts";
import type { NodeReader, PortReader, VolumeReader } from "../domain/store.ts";
import { type VolumeBoot, volumeBoot } from "../domain/volume.ts";
import type { BootSecrets } from "./boot-secret.ts";
import type { BootTemplates } from "../domain/boot-template.ts";

/** What the three boot services need to ask for a boot plan. */
export interface BootSettings {
  readonly policy: BootPolicy;
  readonly httpPort: number;
  /** null: there is no TLS. */
  readonly httpsPort: number | null;
  readonly apiPort: number;
  readonly templates: BootTemplates;
  readonly secrets: BootSecrets;
  /** Where machines reach us over IPv6; absent: they do not. */
  readonly ipv6?: {
    /** Stands in URLs in place of our address; null: the address. */
    readonly host: string | null;
    /** The ramdisk and its agent speak IPv4, whatever the firmware spoke. */
    readonly apiAddress: Ipv4Address;
  };
}

export interface BootDirectory {
  readonly nodes: NodeReader;
  readonly ports: PortReader;
  readonly volumes: VolumeReader;
}

export interface KnownMachine {
  readonly node: Node | undefined;
  readonly port: Port | undefined;
  /** What it boots from, if it is to boot from its volume. */
  readonly volume: VolumeBoot;
}

const noVolume: VolumeBoot = { kind: "none" };
const unknownMachine: KnownMachine = { node: undefined, port: undefined, volume: noVolume };

export function findMachine(directory: BootDirectory, mac: MacAddress | null): KnownMachine {
  const port = mac === null ? undefined : directory.ports.byAddress(mac);
  if (port === undefined) return unknownMachine;
  const node = directory.nodes.get(port.nodeUuid);
  const volume = node?.bootTarget === "volume" ? volumeBoot(node, directory.volumes.ofNode(node.uuid)) : noVolume;
  return { port, node, volume };
}

/** Our services as a machine finds them that reaches us at `address`. */
export function servicesAt(settings: BootSettings, address: Ipv4Address | Ipv6Address): BootServices {
  const { httpPort, httpsPort, apiPort, ipv6 } = settings;
  const overIpv6 = isIpv6Address(address) ? ipv6 : undefined;
  const named = overIpv6?.host == null ? { address } : { address, host: overIpv6.host };
  const host = urlHost(named);
  return {
    ...named,
    http: `http://${host}:${httpPort}`,
    https: httpsPort === null ? null : `https://${host}:${httpsPort}`,
    apiUrl: `http://${overIpv6?.apiAddress ?? host}:${apiPort}`,
  };
}

/** The plan for a machine, asked by each of the three services with what it knows of the firmware. */
export function planFor(
  known: KnownMachine,
  settings: BootSettings,
  machine: { readonly mac: MacAddress; readonly firmware: Firmware; readonly services: BootServices },
): BootPlan {
  const { mac, firmware, services } = machine;
  const { node, port, volume } = known;
  const secret = node?.bootTarget === "network" ? settings.secrets(mac, node) : "";
  return planBoot({ node, port, volume, mac, firmware, services, policy: settings.policy, secret });
}
