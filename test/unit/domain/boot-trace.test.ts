import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import { isFault } from "../../../src/core/fault.ts";
import { BootTrace } from "../../../src/domain/boot-trace.ts";
import { aNode } from "../../conformance/store-contract.ts";

const MAC = "52:54:00:00:00:01";
const { uuid } = aNode(1);

function trace(limits = { steps: 4, enrolled: 2, strangers: 3 }): BootTrace {
  return new BootTrace({ clock: new FakeClock(), limits });
}

function seen(of: BootTrace, machine: string): readonly unknown[] {
  return of.read({ machines: [machine], node: null }, 0).map(({ fields }) => fields["n"]);
}

test("of each machine the last steps are kept, in order", () => {
  const kept = trace();
  for (let n = 0; n < 10; n += 1) kept.record(MAC, null, "dhcp.answered", { n });
  assert.deepEqual(seen(kept, MAC), [6, 7, 8, 9]);
});

test("a flood of invented machines displaces other strangers and no enrolled machine", () => {
  const kept = trace();
  kept.record(MAC, uuid, "dhcp.answered", { n: 1 });
  for (let n = 0; n < 1000; n += 1) kept.record(`02:00:00:00:00:${n}`, null, "dhcp.silent", { n });
  assert.deepEqual(seen(kept, MAC), [1]);
  assert.deepEqual(
    kept.machines().map(({ machine }) => machine),
    ["02:00:00:00:00:999", "02:00:00:00:00:998", "02:00:00:00:00:997", MAC],
  );
});

test("the machine heard of longest ago makes room, not the one that came first", () => {
  const kept = trace();
  for (const machine of ["a", "b", "c", "a", "d"]) kept.record(machine, null, "dhcp.silent", {});
  assert.deepEqual(
    kept.machines().map(({ machine }) => machine),
    ["d", "a", "c"],
  );
});

test("a stranger's steps stay with it when it is enrolled", () => {
  const kept = trace();
  kept.record(MAC, null, "dhcp.silent", { n: 1 });
  kept.record(MAC, uuid, "dhcp.answered", { n: 2 });
  kept.record("52:54:00:00:00:02", uuid, "dhcp.answered", { n: 3 });
  assert.deepEqual(
    kept.read({ machines: [], node: uuid }, 0).map(({ fields }) => fields["n"]),
    [1, 2, 3],
  );
});

test("a part of a long text does not keep the whole of it in memory", () => {
  const kept = new BootTrace({ clock: new FakeClock() });
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < 128; n += 1) {
    kept.record(MAC, null, "tftp.refused", { file: `${n}${"x".repeat(1 << 20)}`.slice(0, 200) });
  }
  assert.ok(process.memoryUsage().heapUsed - before < 64 << 20);
  assert.equal(kept.read({ machines: [MAC], node: null }, 0).length, 128);
});

test("who waits for the next step of a machine is woken by it and by no other", async () => {
  const kept = trace();
  const subject = { machines: [MAC], node: null };
  let woken = false;
  const waiting = kept.waitAfter(subject, kept.lastSeq, new AbortController().signal).then(() => {
    woken = true;
  });
  kept.record("52:54:00:00:00:02", null, "dhcp.silent", {});
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(woken, false);
  kept.record(MAC, null, "dhcp.silent", {});
  await waiting;
  await kept.waitAfter(subject, kept.lastSeq - 1, new AbortController().signal);
});

test("waiting ends with the signal's fault", async () => {
  const clock = new FakeClock();
  const kept = new BootTrace({ clock });
  using deadline = clock.deadline(1000 as never);
  const waiting = assert.rejects(
    kept.waitAfter({ machines: [MAC], node: null }, kept.lastSeq, deadline.signal),
    (error) => isFault(error) && error.kind === "timeout",
  );
  await clock.advance(1000);
  await waiting;
});
