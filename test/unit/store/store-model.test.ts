import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { FakeClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import type { Node, Port } from "../../../src/domain/node.ts";
import type { Store, Transaction } from "../../../src/domain/store.ts";
import { openStore } from "../../../src/store/level-store.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { aMac, aNode, anEntry, aPort, aUuid } from "../../conformance/store-contract.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-model-"));
after(() => rmSync(root, { recursive: true }));

/** A change as the test draws it; numbers choose among few nodes, names and addresses, so that they meet. */
type Change =
  | { readonly kind: "put node"; readonly node: number; readonly name: number }
  | { readonly kind: "delete node"; readonly node: number }
  | { readonly kind: "put port"; readonly port: number; readonly node: number; readonly address: number }
  | { readonly kind: "delete port"; readonly port: number }
  | { readonly kind: "append" };

interface Work {
  readonly changes: readonly Change[];
  readonly fails: boolean;
  readonly durable: boolean;
  /** Whether all that was asked for before is waited for first. */
  readonly waits: boolean;
}

const few = fc.nat({ max: 4 });
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ kind: fc.constant("put node" as const), node: few, name: few }),
  fc.record({ kind: fc.constant("delete node" as const), node: few }),
  fc.record({ kind: fc.constant("put port" as const), port: few, node: few, address: few }),
  fc.record({ kind: fc.constant("delete port" as const), port: few }),
  fc.record({ kind: fc.constant("append" as const) }),
);
const work: fc.Arbitrary<Work> = fc.record({
  changes: fc.array(change, { maxLength: 6 }),
  fails: fc.boolean(),
  durable: fc.boolean(),
  waits: fc.boolean(),
});

/** The simplest thing that could be right: plain maps, copied before each transaction. */
class Model {
  nodes = new Map<string, Node>();
  ports = new Map<string, Port>();
  entries = 0;

  /** Whether the change is allowed; made if so. */
  apply(one: Change): boolean {
    switch (one.kind) {
      case "put node": {
        const node = nodeOf(one);
        if (
          [...this.nodes.values()].some(
            (other) => node.name !== null && other.name === node.name && other.uuid !== node.uuid,
          )
        )
          return false;
        this.nodes.set(node.uuid, node);
        return true;
      }
      case "delete node":
        this.nodes.delete(aUuid(one.node));
        for (const port of this.ports.values()) if (port.nodeUuid === aUuid(one.node)) this.ports.delete(port.uuid);
        return true;
      case "put port": {
        const port = portOf(one);
        if (!this.nodes.has(port.nodeUuid)) return false;
        if ([...this.ports.values()].some((other) => other.address === port.address && other.uuid !== port.uuid))
          return false;
        this.ports.set(port.uuid, port);
        return true;
      }
      case "delete port":
        this.ports.delete(aPort(one.port, aUuid(0)).uuid);
        return true;
      case "append":
        this.entries += 1;
        return true;
    }
  }

  copy(): Model {
    const copy = new Model();
    copy.nodes = new Map(this.nodes);
    copy.ports = new Map(this.ports);
    copy.entries = this.entries;
    return copy;
  }

  /** What a reader of the store must show. */
  expect(reader: Pick<Store, "nodes" | "ports">): void {
    const byUuid = <T extends { readonly uuid: string }>(rows: Iterable<T>): readonly T[] =>
      [...rows].sort((a, b) => a.uuid.localeCompare(b.uuid));
    assert.deepEqual(byUuid(reader.nodes.list()), byUuid(this.nodes.values()));
    assert.deepEqual(byUuid(reader.ports.list()), byUuid(this.ports.values()));
    for (let index = 0; index < 5; index += 1) {
      assert.deepEqual(reader.nodes.get(aUuid(index)), this.nodes.get(aUuid(index)));
      assert.deepEqual(
        reader.nodes.byName(`name-${index}`),
        [...this.nodes.values()].find((node) => node.name === `name-${index}`),
      );
      assert.deepEqual(
        reader.ports.byAddress(aMac(index)),
        [...this.ports.values()].find((port) => port.address === aMac(index)),
      );
      assert.deepEqual(
        byUuid(reader.ports.ofNode(aUuid(index))),
        byUuid([...this.ports.values()].filter((port) => port.nodeUuid === aUuid(index))),
      );
    }
  }
}

function nodeOf(one: { readonly node: number; readonly name: number }): Node {
  return aNode(one.node, { name: one.name === 4 ? null : `name-${one.name}` });
}

function portOf(one: { readonly port: number; readonly node: number; readonly address: number }): Port {
  return aPort(one.port, aUuid(one.node), { address: aMac(one.address) });
}

function apply(tx: Transaction, one: Change): void {
  switch (one.kind) {
    case "put node":
      return tx.nodes.put(nodeOf(one));
    case "delete node":
      return tx.nodes.delete(aUuid(one.node));
    case "put port":
      return tx.ports.put(portOf(one));
    case "delete port":
      return tx.ports.delete(aPort(one.port, aUuid(0)).uuid);
    case "append":
      return void tx.history.append(anEntry(0));
  }
}

/** Runs the works on a store and on the model, and compares what each transaction sees and what is left. */
async function compare(store: Store, works: readonly Work[]): Promise<Model> {
  let model = new Model();
  let pending: Promise<unknown>[] = [];
  for (const { changes, fails, durable, waits } of works) {
    if (waits) await Promise.all(pending);
    if (waits) model.expect(store);
    const next = model.copy();
    const allowed = changes.every((one) => next.apply(one));
    const expected = next.copy();
    const commit = store.commit(
      (tx) => {
        for (const one of changes) apply(tx, one);
        expected.expect(tx);
        if (fails) throw new Fault("internal", "wanted", "thrown on purpose");
      },
      { durable },
    );
    if (allowed && !fails) {
      model = next;
      pending.push(commit);
    } else {
      const kinds = allowed ? ["internal"] : ["conflict", "not-found"];
      pending.push(assert.rejects(commit, (error: Fault) => kinds.includes(error.kind)));
    }
    if (waits) pending = [...pending];
  }
  await Promise.all(pending);
  model.expect(store);
  assert.equal(store.history.lastSeq, model.entries);
  return model;
}

test("whatever transactions do, fail or overlap, readers and transactions see what plain maps would hold", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(work, { maxLength: 25 }), async (works) => {
      const store = openMemoryStore({ clock: new FakeClock() });
      await compare(store, works);
      await store[Symbol.asyncDispose]();
    }),
    { numRuns: 600 },
  );
});

test("and so does the store on disk, also when it is opened again", async () => {
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(work, { maxLength: 25 }), async (works) => {
      made += 1;
      const options = {
        directory: join(root, String(made)),
        clock: new FakeClock(),
        log: silentLog,
        key: new Uint8Array(32),
      };
      const store = await openStore(options);
      const model = await compare(store, works);
      await store[Symbol.asyncDispose]();
      const again = await openStore(options);
      model.expect(again);
      assert.equal((await again.history.read(0, 1000)).length, model.entries);
      await again[Symbol.asyncDispose]();
    }),
    { numRuns: 40 },
  );
});
