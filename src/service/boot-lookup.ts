import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Firmware } from "../domain/boot-firmware.ts";
import { type BootPlan, type BootPolicy, planBoot } from "../domain/boot-plan.ts";
import type { Node, Port } from "../domain/node.ts";
import type { NodeReader, PortReader } from "../domain/store.ts";

/** What the three boot services need to ask for a boot plan. */
export interface BootSettings {
  readonly policy: BootPolicy;
  readonly httpPort: number;
  readonly apiPort: number;
}

export interface BootDirectory {
  readonly nodes: NodeReader;
  readonly ports: PortReader;
}

export interface KnownMachine {
  readonly node: Node | undefined;
  readonly port: Port | undefined;
}

export function findMachine(directory: BootDirectory, mac: MacAddress): KnownMachine {
  const port = directory.ports.byAddress(mac);
  return { port, node: port === undefined ? undefined : directory.nodes.get(port.nodeUuid) };
}

/** The plan for the machine with this NIC, as it reaches us at `address`. */
export function planFor(
  directory: BootDirectory,
  settings: BootSettings,
  machine: { readonly mac: MacAddress; readonly firmware: Firmware; readonly address: Ipv4Address },
): { readonly plan: BootPlan; readonly known: KnownMachine } {
  const known = findMachine(directory, machine.mac);
  const plan = planBoot({
    ...known,
    mac: machine.mac,
    firmware: machine.firmware,
    policy: settings.policy,
    services: {
      address: machine.address,
      httpPort: settings.httpPort,
      apiUrl: `http://${machine.address}:${settings.apiPort}`,
    },
  });
  return { plan, known };
}
