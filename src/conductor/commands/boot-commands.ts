import { Type } from "typebox";
import {
  type Ipv4Address,
  type MacAddress,
  type NodeUuid,
  parseIpv4Address,
  parseMacAddress,
} from "../../core/brand.ts";
import { isFault } from "../../core/fault.ts";
import { type Ipv6Address, parseIpv6Address } from "../../core/ipv6-address.ts";
import { seconds } from "../../core/units.ts";
import type { BootStep, TraceSubject } from "../../domain/boot-trace.ts";
import type { Node } from "../../domain/node.ts";
import { type Command, command } from "../catalogue.ts";
import { type ConductorParts, findNode } from "./parts.ts";
import { closed, freeObject } from "./schemas.ts";

const nullableText = Type.Union([Type.String(), Type.Null()]);

const stepResult = Type.Object(
  {
    seq: Type.Integer({ description: "rises; also over a restart of the daemon" }),
    time: Type.String(),
    event: Type.String({ description: "id of the line in the log" }),
    machine: Type.String({
      description: "MAC address; an IP address or the node's UUID where no MAC address is known",
    }),
    node: nullableText,
    fields: freeObject,
  },
  closed,
);

/** How machines boot, step by step. */
export function bootCommands(parts: ConductorParts): readonly Command[] {
  const { store, clock, bootTrace } = parts;
  return [
    command({
      name: "boot.trace",
      summary: "The steps of a machine's boot since the daemon started; waits for the next one when there is none",
      changes: false,
      params: Type.Object(
        {
          machine: Type.String({ minLength: 1, description: "MAC or IP address, UUID or name of the node" }),
          after: Type.Optional(Type.Integer({ minimum: 0, description: "only steps with a greater seq" })),
          wait_s: Type.Optional(Type.Number({ minimum: 0, maximum: 60 })),
        },
        closed,
      ),
      result: Type.Object(
        {
          machine: Type.String(),
          node: nullableText,
          name: nullableText,
          steps: Type.Array(stepResult),
          last_seq: Type.Integer(),
        },
        closed,
      ),
      handle: async ({ machine, after = 0, wait_s: wait = 0 }, { signal }) => {
        const { subject, node } = whoIs(parts, machine);
        if (wait > 0) {
          using deadline = clock.deadline(seconds(wait), signal);
          try {
            await bootTrace.waitAfter(subject, after, deadline.signal);
          } catch (error) {
            if (!isFault(error) || signal.aborted) throw error;
            // Nothing came in time: the answer is the empty list.
          }
        }
        const steps = bootTrace.read(subject, after);
        return {
          machine,
          node: node?.uuid ?? null,
          name: node?.name ?? null,
          steps: steps.map(represent),
          last_seq: steps.at(-1)?.seq ?? after,
        };
      },
    }),
    command({
      name: "boot.machines",
      summary: "The machines whose boot was seen since the daemon started, the latest first",
      changes: false,
      params: Type.Object({}, closed),
      result: Type.Object(
        {
          machines: Type.Array(
            Type.Object(
              {
                machine: Type.String(),
                node: nullableText,
                name: nullableText,
                steps: Type.Integer(),
                first: Type.String(),
                last: stepResult,
              },
              closed,
            ),
          ),
        },
        closed,
      ),
      handle: async () => ({
        machines: bootTrace.machines().map(({ machine, node, steps, first, last }) => ({
          machine,
          node,
          name: (node === null ? undefined : store.nodes.get(node as NodeUuid))?.name ?? null,
          steps,
          first: first.time,
          last: represent(last),
        })),
      }),
    }),
  ];
}

/** Whose steps are meant. A machine need not be enrolled. @throws Fault not-found when it is neither an address nor a node */
function whoIs(
  { store }: ConductorParts,
  machine: string,
): { readonly subject: TraceSubject; readonly node: Node | undefined } {
  const mac = addressOf(machine, parseMacAddress);
  const ip = addressOf(machine, parseIpv4Address);
  const ipv6 = addressOf(machine, parseIpv6Address);
  if (mac !== undefined) {
    const port = store.ports.byAddress(mac);
    return {
      subject: { machines: [mac], node: null },
      node: port === undefined ? undefined : store.nodes.get(port.nodeUuid),
    };
  }
  const address = ip ?? ipv6;
  if (address !== undefined) {
    const lease = ip === undefined ? ipv6 && store.leases6.byAddress(ipv6) : store.leases.byAddress(ip);
    const machines = lease?.mac == null ? [address] : [address, lease.mac];
    return { subject: { machines, node: null }, node: undefined };
  }
  const node = findNode(store.nodes, machine);
  const addresses = store.ports.ofNode(node.uuid).map(({ address }) => address);
  return { subject: { machines: [...addresses, node.uuid], node: node.uuid }, node };
}

function addressOf<T extends MacAddress | Ipv4Address | Ipv6Address>(
  text: string,
  parse: (text: string) => T,
): T | undefined {
  try {
    return parse(text);
  } catch (error) {
    if (!isFault(error)) throw error;
    return undefined;
  }
}

function represent({ seq, time, event, machine, node, fields }: BootStep) {
  return { seq, time, event: String(event), machine, node, fields };
}
