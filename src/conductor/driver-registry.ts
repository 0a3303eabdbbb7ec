import { Fault, invalid } from "../core/fault.ts";
import { type InterfaceName, type Node, servedInterfaces } from "../domain/node.ts";
import type { HardwareType, Interfaces } from "../driver/interfaces.ts";

/** Which implementations serve a node: the operator's choice, else the hardware type's preference. */
export class DriverRegistry {
  readonly #types: ReadonlyMap<string, HardwareType>;

  constructor(types: readonly HardwareType[]) {
    this.#types = new Map(types.map((type) => [type.name, type]));
  }

  get hardwareTypes(): readonly HardwareType[] {
    return [...this.#types.values()];
  }

  /** @throws Fault invalid for a driver or an interface that is not enabled */
  interfacesOf(node: Pick<Node, "driver" | "interfaces">): Interfaces {
    const type = this.#types.get(node.driver);
    if (type === undefined) {
      throw invalid(
        "driver",
        `"${node.driver}" is not enabled here; enabled are ${[...this.#types.keys()].join(", ")}`,
      );
    }
    for (const name of Object.keys(node.interfaces)) {
      if (!(servedInterfaces as readonly string[]).includes(name)) {
        throw new Fault(
          "unsupported",
          "interface.unsupported",
          `${name}_interface is not supported by driver "${node.driver}"`,
          {
            detail: { field: `${name}_interface` },
          },
        );
      }
    }
    return {
      power: choose(type, "power", type.power, node),
      management: choose(type, "management", type.management, node),
      boot: choose(type, "boot", type.boot, node),
      deploy: choose(type, "deploy", type.deploy, node),
      inspect: choose(type, "inspect", type.inspect, node),
      storage: choose(type, "storage", type.storage, node),
    };
  }

  /** The name of the implementation that serves `name`, or null where the hardware type has none. */
  interfaceName(node: Pick<Node, "driver" | "interfaces">, name: (typeof servedInterfaces)[number]): string | null {
    return node.interfaces[name] ?? this.#types.get(node.driver)?.[name].keys().next().value ?? null;
  }
}

function choose<T>(
  type: HardwareType,
  name: InterfaceName,
  offered: ReadonlyMap<string, T>,
  node: Pick<Node, "interfaces">,
): T {
  const wanted = node.interfaces[name] ?? offered.keys().next().value;
  const found = wanted === undefined ? undefined : offered.get(wanted);
  if (found === undefined) {
    throw invalid(
      `${name}_interface`,
      `"${wanted}" is not offered by driver "${type.name}"; offered are ${[...offered.keys()].join(", ")}`,
    );
  }
  return found;
}
