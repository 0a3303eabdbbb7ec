import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { it } from "node:test";
import {
  type Ipv4Address,
  type MacAddress,
  type NodeUuid,
  parseIpv4Address,
  parseMacAddress,
  parseNodeUuid,
  parsePortUuid,
  parseVolumeUuid,
} from "../../src/core/brand.ts";
import type { Clock } from "../../src/core/clock.ts";
import { Fault } from "../../src/core/fault.ts";
import type { CommandRecord } from "../../src/domain/command-record.ts";
import type { HistoryEntry } from "../../src/domain/history.ts";
import type { Lease } from "../../src/domain/lease.ts";
import { enrolledNode } from "../../src/domain/enrolled-node.ts";
import type { Node, Port } from "../../src/domain/node.ts";
import type { Store } from "../../src/domain/store.ts";
import type { VolumeConnector, VolumeTarget } from "../../src/domain/volume.ts";

export const aTime = "2026-01-01T00:00:00.000Z";

export function aUuid(index: number): NodeUuid {
  return parseNodeUuid(`00000000-0000-4000-8000-${index.toString(16).padStart(12, "0")}`);
}

export function aNode(index: number, changes: Partial<Node> = {}): Node {
  return { ...enrolledNode({ uuid: aUuid(index), driver: "ipmi", at: aTime }), name: `node-${index}`, ...changes };
}

export function aMac(index: number): MacAddress {
  return parseMacAddress(
    `52:54:00:00:${(index >> 8).toString(16).padStart(2, "0")}:${(index & 255).toString(16).padStart(2, "0")}`,
  );
}

export function aPort(index: number, node: NodeUuid, changes: Partial<Port> = {}): Port {
  return {
    uuid: parsePortUuid(`10000000-0000-4000-8000-${index.toString(16).padStart(12, "0")}`),
    nodeUuid: node,
    address: aMac(index),
    pxeEnabled: true,
    localLinkConnection: {},
    physicalNetwork: null,
    extra: {},
    createdAt: aTime,
    updatedAt: aTime,
    ...changes,
  };
}

function aVolumeHead(index: number, kind: number) {
  return {
    uuid: parseVolumeUuid(`${kind}0000000-0000-4000-8000-${index.toString(16).padStart(12, "0")}`),
    nodeUuid: aUuid(1),
    extra: {},
    createdAt: aTime,
    updatedAt: aTime,
  };
}

export function aConnector(index: number, changes: Partial<VolumeConnector> = {}): VolumeConnector {
  const connectorId = `iqn.2026-01.org.example:node-${index}`;
  return { ...aVolumeHead(index, 2), kind: "connector", type: "iqn", connectorId, ...changes };
}

/** Its LUN is its index. */
export function aTarget(index: number, changes: Partial<VolumeTarget> = {}): VolumeTarget {
  return {
    ...aVolumeHead(index, 3),
    kind: "target",
    volumeType: "iscsi",
    bootIndex: index,
    volumeId: `disk-${index}`,
    properties: { target_portal: "10.0.0.9:3260", target_iqn: "iqn.2026-01.org.example:san", target_lun: index },
    ...changes,
  };
}

export function anAddress(index: number): Ipv4Address {
  return parseIpv4Address(`10.0.${index >> 8}.${index & 255}`);
}

export function aLease(index: number, changes: Partial<Lease> = {}): Lease {
  return {
    address: anAddress(index),
    client: `id:01${index}`,
    mac: aMac(index),
    hostname: null,
    state: "bound",
    expiresAt: 1000 + index,
    ...changes,
  };
}

export function aCommand(id: string, changes: Partial<CommandRecord> = {}): CommandRecord {
  return {
    id,
    method: "node.create",
    params: { driver: "ipmi" },
    receivedAt: aTime,
    expiresAt: null,
    reply: null,
    answer: null,
    delivered: false,
    ...changes,
  };
}

export function anEntry(step: number): Omit<HistoryEntry, "seq" | "time"> {
  return { type: "node.state", severity: "INFO", node: aUuid(1), name: "node-1", operation: null, data: { step } };
}

export interface StoreUnderTest {
  readonly store: Store & AsyncDisposable;
  /** The same store after closing and opening it again; undefined where nothing outlives the process. */
  reopen?(): Promise<Store & AsyncDisposable>;
}

/** The rules of domain Store. Every implementation passes all of them. */
export function storeContract(open: (clock: Clock) => Promise<StoreUnderTest>, makeClock: () => Clock): void {
  const rule = (title: string, check: (subject: StoreUnderTest) => Promise<void>): void => {
    void it(title, async () => {
      const subject = await open(makeClock());
      try {
        await check(subject);
      } finally {
        await subject.store[Symbol.asyncDispose]();
      }
    });
  };
  const afterReopen = async (subject: StoreUnderTest, check: (store: Store) => Promise<void>): Promise<void> => {
    await check(subject.store);
    if (subject.reopen === undefined) return;
    await using again = await subject.reopen();
    await check(again);
  };

  rule("a node that was put is found by uuid and by name, and survives", async (subject) => {
    const node = aNode(1, {
      driverInfo: { ipmi_address: "10.0.0.1", ipmi_password: "kept" },
      properties: { cpus: 4, nested: { a: [1, null, "x"] } },
    });
    await subject.store.commit((tx) => tx.nodes.put(node));
    await afterReopen(subject, async (store) => {
      assert.deepEqual(store.nodes.get(node.uuid), node);
      assert.deepEqual(store.nodes.byName("node-1"), node);
      assert.deepEqual(store.nodes.list(), [node]);
    });
  });

  rule("readers see a commit only once it is on disk, transactions see it at once", async ({ store }) => {
    const first = store.commit((tx) => tx.nodes.put(aNode(1)));
    assert.equal(store.nodes.get(aUuid(1)), undefined);
    const second = store.commit((tx) => {
      assert.equal(tx.nodes.byName("node-1")?.uuid, aUuid(1));
      assert.equal(store.nodes.get(aUuid(1)), undefined);
      return "seen";
    });
    assert.equal(await second, "seen");
    await first;
    assert.equal(store.nodes.get(aUuid(1))?.name, "node-1");
  });

  rule("commits queued while a batch is under way run in the order they were asked for", async ({ store }) => {
    const seen: number[] = [];
    const commits = [];
    for (let index = 0; index < 200; index += 1) {
      commits.push(
        store.commit((tx) => {
          const count = Number(tx.nodes.get(aUuid(1))?.extra["count"] ?? 0);
          seen.push(count);
          tx.nodes.put(aNode(1, { extra: { count: count + 1 } }));
        }),
      );
      if (index % 37 === 0) await turn();
    }
    await Promise.all(commits);
    assert.deepEqual(
      seen,
      Array.from({ length: 200 }, (_, index) => index),
    );
    assert.equal(store.nodes.get(aUuid(1))?.extra["count"], 200);
  });

  rule("a callback that throws writes nothing, rejects with what it threw, and hurts no other", async ({ store }) => {
    const before = store.commit((tx) => tx.nodes.put(aNode(1)));
    const failing = store.commit((tx) => {
      tx.nodes.put(aNode(2));
      tx.nodes.delete(aUuid(1));
      tx.history.append(anEntry(0));
      tx.outbox.acknowledge(1);
      throw new Fault("conflict", "test", "no");
    });
    const after = store.commit((tx) => tx.history.append(anEntry(1)).seq);
    await assert.rejects(failing, (error: Fault) => error.code === "test");
    await before;
    assert.equal(await after, 1);
    assert.deepEqual(
      store.nodes.list().map((node) => node.uuid),
      [aUuid(1)],
    );
    assert.equal(store.outbox.acknowledged, 0);
  });

  rule("an asynchronous callback is refused and writes nothing", async ({ store }) => {
    await assert.rejects(
      store.commit(async (tx) => tx.nodes.put(aNode(1))),
      (error: Fault) => error.kind === "internal",
    );
    assert.equal(store.nodes.list().length, 0);
  });

  rule("names of nodes and addresses of ports are unique", async ({ store }) => {
    await store.commit((tx) => {
      tx.nodes.put(aNode(1));
      tx.nodes.put(aNode(2));
      tx.ports.put(aPort(1, aUuid(1)));
    });
    await assert.rejects(
      store.commit((tx) => tx.nodes.put(aNode(2, { name: "node-1" }))),
      (error: Fault) => error.kind === "conflict",
    );
    await assert.rejects(
      store.commit((tx) => tx.ports.put(aPort(2, aUuid(2), { address: aMac(1) }))),
      (error: Fault) => error.kind === "conflict",
    );
    await store.commit((tx) => {
      tx.nodes.put(aNode(2, { name: null }));
      tx.nodes.put(aNode(1, { name: "node-2" }));
      tx.nodes.put(aNode(2, { name: "node-1" }));
    });
    assert.equal(store.nodes.byName("node-1")?.uuid, aUuid(2));
    assert.equal(store.nodes.byName("node-2")?.uuid, aUuid(1));
  });

  rule("a node's old name is free again", async ({ store }) => {
    await store.commit((tx) => tx.nodes.put(aNode(1)));
    await store.commit((tx) => tx.nodes.put(aNode(1, { name: "other" })));
    assert.equal(store.nodes.byName("node-1"), undefined);
    await store.commit((tx) => tx.nodes.put(aNode(2, { name: "node-1" })));
    assert.equal(store.nodes.byName("node-1")?.uuid, aUuid(2));
  });

  rule("with a node go its ports and its inventory", async (subject) => {
    await subject.store.commit((tx) => {
      tx.nodes.put(aNode(1));
      tx.nodes.put(aNode(2));
      tx.ports.put(aPort(1, aUuid(1)));
      tx.ports.put(aPort(2, aUuid(1)));
      tx.ports.put(aPort(3, aUuid(2)));
      tx.inventory.put(aUuid(1), { cpu: { count: 4 } });
    });
    assert.equal(subject.store.ports.ofNode(aUuid(1)).length, 2);
    await subject.store.commit((tx) => {
      tx.nodes.delete(aUuid(1));
      assert.equal(tx.ports.ofNode(aUuid(1)).length, 0);
      assert.equal(tx.ports.byAddress(aMac(1)), undefined);
    });
    await afterReopen(subject, async (store) => {
      assert.deepEqual(
        store.ports.list().map((port) => port.address),
        [aMac(3)],
      );
      assert.equal(store.ports.byAddress(aMac(1)), undefined);
      assert.equal(await store.inventory.get(aUuid(1)), undefined);
    });
  });

  rule("a port needs its node", async ({ store }) => {
    await assert.rejects(
      store.commit((tx) => tx.ports.put(aPort(1, aUuid(9)))),
      (error: Fault) => error.kind === "not-found",
    );
  });

  rule("volumes are read back whole, go with their node, and are there once", async (subject) => {
    const target = aTarget(1, { properties: { target_lun: 1, auth_password: "s3cret-s3cret" } });
    await subject.store.commit((tx) => {
      tx.nodes.put(aNode(1));
      tx.nodes.put(aNode(2));
      tx.volumes.put(target);
      tx.volumes.put(aConnector(1));
      tx.volumes.put(aTarget(2, { nodeUuid: aUuid(2), bootIndex: 1 }));
    });
    for (const second of [aConnector(2, { connectorId: aConnector(1).connectorId }), aTarget(3, { bootIndex: 1 })]) {
      await assert.rejects(
        subject.store.commit((tx) => tx.volumes.put(second)),
        (error: Fault) => error.kind === "conflict",
      );
    }
    await assert.rejects(
      subject.store.commit((tx) => tx.volumes.put(aTarget(9, { nodeUuid: aUuid(9) }))),
      (error: Fault) => error.kind === "not-found",
    );
    await afterReopen(subject, async (store) => {
      assert.deepEqual(store.volumes.get(target.uuid), target);
      const ofNode = store.volumes.ofNode(aUuid(1)).map(({ uuid }) => uuid);
      assert.deepEqual(ofNode.toSorted(), [aConnector(1).uuid, target.uuid]);
    });
  });

  rule("with a node go its volumes", async (subject) => {
    await subject.store.commit((tx) => {
      tx.nodes.put(aNode(1));
      tx.nodes.put(aNode(2));
      tx.volumes.put(aTarget(1));
      tx.volumes.put(aTarget(2, { nodeUuid: aUuid(2) }));
    });
    await subject.store.commit((tx) => tx.nodes.delete(aUuid(1)));
    await afterReopen(subject, async (store) => {
      assert.deepEqual(
        store.volumes.list().map(({ uuid }) => uuid),
        [aTarget(2).uuid],
      );
      assert.equal(store.volumes.ofNode(aUuid(1)).length, 0);
    });
  });

  rule("an inventory is read back as it came", async (subject) => {
    const inventory = { interfaces: [{ mac_address: "52:54:00:00:00:01" }], memory: { total: 2 ** 40 } };
    await subject.store.commit((tx) => {
      tx.nodes.put(aNode(1));
      tx.inventory.put(aUuid(1), inventory);
    });
    assert.equal(await subject.store.inventory.get(aUuid(2)), undefined);
    await afterReopen(subject, async (store) => assert.deepEqual(await store.inventory.get(aUuid(1)), inventory));
  });

  rule("leases are found by address and by client; what a client holds comes before what it left", async (subject) => {
    await subject.store.commit((tx) => {
      tx.leases.put(aLease(1, { client: "id:aa", state: "released", expiresAt: 9000 }));
      tx.leases.put(aLease(2, { client: "id:aa", state: "bound", expiresAt: 5000 }));
      tx.leases.put(aLease(3, { client: "id:bb" }));
      tx.leases.put(aLease(4, { client: "id:cc" }));
    });
    await subject.store.commit((tx) => {
      tx.leases.put(aLease(3, { client: "id:dd" }));
      tx.leases.delete(anAddress(4));
    });
    await afterReopen(subject, async (store) => {
      assert.equal(store.leases.byClient("id:aa")?.address, anAddress(2));
      assert.equal(store.leases.byClient("id:bb"), undefined);
      assert.equal(store.leases.byClient("id:cc"), undefined);
      assert.equal(store.leases.byAddress(anAddress(3))?.client, "id:dd");
      assert.equal(store.leases.list().length, 3);
    });
  });

  rule(
    "a command is unanswered in the order of arrival until it has its answer, and undelivered until its reply is acknowledged",
    async (subject) => {
      const { store } = subject;
      const reply = { topic: "site/reply", correlation: "AQI=" };
      await store.commit((tx) => {
        for (const id of ["z", "a", "m"]) tx.commands.accept(aCommand(id, { reply }));
        tx.commands.accept(aCommand("b"));
      });
      await store.commit((tx) => {
        tx.commands.answer("a", { ok: true, result: { uuid: "1" } });
        tx.commands.answer("b", { ok: false, kind: "invalid", code: "invalid", message: "no", detail: { field: "x" } });
      });
      await afterReopen(subject, async (present) => {
        assert.deepEqual(
          present.commands.unanswered().map((command) => command.id),
          ["z", "m"],
        );
        assert.deepEqual(
          present.commands.undelivered().map((command) => command.id),
          ["a"],
        );
        assert.deepEqual(
          present.commands.get("a"),
          aCommand("a", { reply, params: null, answer: { ok: true, result: { uuid: "1" } } }),
        );
        assert.deepEqual(present.commands.get("z")?.params, { driver: "ipmi" });
      });
      if (subject.reopen !== undefined) return;
      await store.commit((tx) => tx.commands.delivered("a"));
      assert.deepEqual(store.commands.undelivered(), []);
    },
  );

  rule("a command's id is accepted once and answered once", async ({ store }) => {
    await store.commit((tx) => tx.commands.accept(aCommand("a")));
    await assert.rejects(
      store.commit((tx) => tx.commands.accept(aCommand("a"))),
      (error: Fault) => error.kind === "conflict",
    );
    await store.commit((tx) => tx.commands.answer("a", { ok: true, result: null }));
    await assert.rejects(
      store.commit((tx) => tx.commands.answer("a", { ok: true, result: 1 })),
      (error: Fault) => error.kind === "conflict",
    );
    await assert.rejects(
      store.commit((tx) => tx.commands.answer("b", { ok: true, result: 1 })),
      (error: Fault) => error.kind === "not-found",
    );
    assert.deepEqual(store.commands.get("a")?.answer, { ok: true, result: null });
  });

  rule("history is numbered from 1 without gaps, also over callbacks that throw", async (subject) => {
    const commits = Array.from({ length: 50 }, (_, index) =>
      subject.store.commit(
        (tx) => {
          const { seq } = tx.history.append(anEntry(index));
          if (index % 5 === 4) throw new Fault("conflict", "test", "no");
          return seq;
        },
        { durable: index % 2 === 0 },
      ),
    );
    const seqs = (await Promise.allSettled(commits)).flatMap((result) =>
      result.status === "fulfilled" ? [result.value] : [],
    );
    assert.deepEqual(
      seqs,
      Array.from({ length: 40 }, (_, index) => index + 1),
    );
    await afterReopen(subject, async (store) => {
      assert.equal(store.history.lastSeq, 40);
      const entries = await store.history.read(0, 1000);
      assert.deepEqual(
        entries.map((entry) => entry.seq),
        seqs,
      );
      assert.deepEqual(await store.history.read(10, 3), entries.slice(10, 13));
      assert.deepEqual(await store.history.read(40, 3), []);
      assert.equal(entries[0]?.data["step"], 0);
      assert.equal(entries[0]?.time, aTime);
    });
  });

  rule(
    "waitAfter resolves once an entry is on disk, at once if it is there already, and rejects when it is aborted",
    async ({ store }) => {
      const controller = new AbortController();
      let woken = false;
      const waiting = store.history.waitAfter(0, controller.signal).then(() => (woken = true));
      await store.commit((tx) => tx.nodes.put(aNode(1)));
      await turn();
      assert.equal(woken, false);
      await store.commit((tx) => tx.history.append(anEntry(1)));
      await waiting;
      await store.history.waitAfter(0, controller.signal);
      const aborted = store.history.waitAfter(1, controller.signal);
      controller.abort();
      await assert.rejects(aborted, (error: Fault) => error.kind === "cancelled");
      await assert.rejects(store.history.waitAfter(1, controller.signal), (error: Fault) => error.kind === "cancelled");
    },
  );

  rule("the outbox mark rises and never falls, and cannot pass the history's end", async (subject) => {
    await subject.store.commit((tx) => {
      for (let step = 0; step < 5; step += 1) tx.history.append(anEntry(step));
    });
    await subject.store.commit((tx) => tx.outbox.acknowledge(3));
    await subject.store.commit((tx) => tx.outbox.acknowledge(2));
    await assert.rejects(
      subject.store.commit((tx) => tx.outbox.acknowledge(6)),
      (error: Fault) => error.kind === "invalid",
    );
    await afterReopen(subject, async (store) => assert.equal(store.outbox.acknowledged, 3));
  });

  rule(
    "what was asked for before closing is on disk, what comes after is refused; closing twice is closing once",
    async (subject) => {
      const { store } = subject;
      const last = store.commit((tx) => tx.nodes.put(aNode(1)));
      const closing = store[Symbol.asyncDispose]();
      await assert.rejects(
        store.commit((tx) => tx.nodes.put(aNode(2))),
        (error: Fault) => error.kind === "storage",
      );
      await last;
      await closing;
      await store[Symbol.asyncDispose]();
      if (subject.reopen === undefined) return;
      await using again = await subject.reopen();
      assert.deepEqual(
        again.nodes.list().map((node) => node.uuid),
        [aUuid(1)],
      );
    },
  );
}
