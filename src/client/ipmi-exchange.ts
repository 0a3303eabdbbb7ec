import type { Clock } from "../core/clock.ts";
import { toFault, type Fault } from "../core/fault.ts";
import type { Random } from "../core/random.ts";
import { millis } from "../core/units.ts";
import type { UdpSocket } from "../net/udp-socket.ts";
import type { Advance, ExchangeInput, RetryPlan } from "../protocol/ipmi/exchange.ts";

/** What every session needs of its surroundings. */
export interface IpmiParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly retries?: RetryPlan;
}

/** What went over the wire to one BMC and back. */
export interface IpmiCounters {
  sent: number;
  received: number;
  ignored: number;
  malformed: number;
  timeouts: number;
}

/** Drives a pure exchange over the socket to its end. `observe` sees every state, also that of a failure or an abort. */
export async function runExchange<State, Result>(
  socket: UdpSocket,
  parts: IpmiParts,
  counters: IpmiCounters,
  begin: State,
  advance: Advance<State, Result>,
  { signal }: { readonly signal: AbortSignal },
  observe?: (state: State) => void,
): Promise<{ readonly result: Result }> {
  const { clock, random } = parts;
  let state = begin;
  let armed = clock.deadline(millis(0), signal);
  try {
    let input: ExchangeInput = { kind: "start", iv: random.bytes(16) };
    let network: Fault | undefined;
    for (;;) {
      const step = advance(state, input);
      state = step.state;
      observe?.(state);
      for (const output of step.outputs) {
        switch (output.kind) {
          case "send":
            counters.sent += 1;
            network = undefined;
            await socket.send(output.bytes).catch((error: unknown) => (network = toFault(error)));
            break;
          case "arm":
            armed[Symbol.dispose]();
            armed = clock.deadline(output.after, signal);
            break;
          case "ignored":
            counters.ignored += 1;
            if (output.malformed) counters.malformed += 1;
            break;
          case "done":
            return { result: output.result };
          case "failed":
            throw output.fault;
        }
      }
      const next = await nextInput(socket, random, armed.signal, signal);
      if (next.kind === "timeout") counters.timeouts += 1;
      if (next.kind === "packet") counters.received += 1;
      input = next.kind === "timeout" ? { ...next, network: next.network ?? network } : next;
    }
  } finally {
    armed[Symbol.dispose]();
  }
}

/**
 * The next packet, or the end of the armed time. What the network says meanwhile does not shorten the wait: a BMC that
 * restarts comes back.
 */
async function nextInput(
  socket: UdpSocket,
  random: Random,
  armed: AbortSignal,
  signal: AbortSignal,
): Promise<Exclude<ExchangeInput, { kind: "start" }>> {
  let network: Fault | undefined;
  for (;;) {
    try {
      const { bytes } = await socket.receive({ signal: armed });
      return { kind: "packet", bytes, iv: random.bytes(16) };
    } catch (error) {
      const fault = toFault(error);
      if (signal.aborted) throw fault;
      if (armed.aborted) return { kind: "timeout", iv: random.bytes(16), network };
      if (fault.kind !== "unreachable") throw fault;
      network = fault;
    }
  }
}
