import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import type { LogEvent } from "../../../src/core/log-events.ts";
import type { Log, LogFields } from "../../../src/core/log.ts";
import { BootTrace } from "../../../src/domain/boot-trace.ts";
import { tracedLog } from "../../../src/service/traced-log.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { aMac, aNode, aPort } from "../../conformance/store-contract.ts";

/** A log that remembers its lines. */
function remembering(lines: string[], standing: LogFields = {}): Log {
  const line =
    (level: string) =>
    (event: LogEvent, fields?: LogFields): void =>
      void lines.push(`${level} ${event} ${JSON.stringify({ ...standing, ...fields })}`);
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    with: (fields) => remembering(lines, { ...standing, ...fields }),
  };
}

async function rig() {
  const clock = new FakeClock();
  const store = openMemoryStore({ clock });
  const node = aNode(1);
  await store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put(aPort(1, node.uuid, { address: aMac(1) }));
  });
  const trace = new BootTrace({ clock });
  const lines: string[] = [];
  const log = tracedLog(remembering(lines), { trace, ports: store.ports });
  const steps = (machine: string): readonly string[] =>
    trace.read({ machines: [machine], node: null }, 0).map(({ event, node: of }) => `${event} ${of ?? "stranger"}`);
  return { log, lines, steps, node, trace };
}

test("a line about booting is logged and kept for its MAC address; any other is only logged", async () => {
  const { log, lines, steps, node } = await rig();
  log.info("dhcp.answered", { mac: aMac(1) });
  log.warn("tftp.failed", { mac: aMac(1), peer: "10.0.0.7" });
  log.debug("tftp.declined", { mac: aMac(1) });
  log.info("command.done", { mac: aMac(1) });
  assert.equal(lines.length, 4);
  assert.deepEqual(steps(aMac(1)), [
    `dhcp.answered ${node.uuid}`,
    `tftp.failed ${node.uuid}`,
    `tftp.declined ${node.uuid}`,
  ]);
});

test("a line with a bare address belongs to the machine that had this address before, else to the address", async () => {
  const { log, steps } = await rig();
  log.info("http.served", { peer: "10.0.0.7", path: "/ramdisk/kernel" });
  log.info("http.served", { peer: "10.0.0.7", path: "/boot/52-54-00-00-00-99.ipxe" });
  log.info("http.served", { peer: "10.0.0.7", path: "/ramdisk/initrd" });
  assert.deepEqual(steps("10.0.0.7"), ["http.served stranger"]);
  assert.deepEqual(steps("52:54:00:00:00:99"), ["http.served stranger", "http.served stranger"]);
});

test("what an agent does belongs to its node; of its reports only the first is a step", async () => {
  const { log, trace, node } = await rig();
  const ofNode = log.with({ node: node.uuid });
  ofNode.info("agent.lookup");
  ofNode.info("agent.heartbeat");
  ofNode.debug("agent.heartbeat");
  assert.deepEqual(
    trace.read({ machines: [], node: node.uuid }, 0).map(({ event }) => event),
    ["agent.lookup", "agent.heartbeat"],
  );
});

test("an agent that is refused is a step of each of its addresses", async () => {
  const { log, steps } = await rig();
  log.info("agent.refused", { mac: "52:54:00:00:00:98,52:54:00:00:00:99", reason: "unknown machine" });
  assert.deepEqual(steps("52:54:00:00:00:98"), ["agent.refused stranger"]);
  assert.deepEqual(steps("52:54:00:00:00:99"), ["agent.refused stranger"]);
});
