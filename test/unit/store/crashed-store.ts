import assert from "node:assert/strict";
import { SystemClock } from "../../../src/core/clock.ts";
import { type Log, silentLog } from "../../../src/core/log.ts";
import type { Store } from "../../../src/domain/store.ts";
import { openStore } from "../../../src/store/level-store.ts";
import { aLease, aUuid } from "../../conformance/store-contract.ts";
import { slots, storeKey } from "./store-process.ts";

/** The store of this directory, with the key of store-process.ts. */
export function open(directory: string, log: Log = silentLog): Promise<Store & AsyncDisposable> {
  return openStore({ directory, clock: new SystemClock(), log, key: storeKey });
}

export function errorLog(): Log & { readonly errors: string[] } {
  const errors: string[] = [];
  const log = {
    debug() {},
    info() {},
    warn() {},
    error: (event: string, fields?: object) => void errors.push(`${event} ${JSON.stringify(fields)}`),
    with: () => log,
    errors,
  };
  return log;
}

/** Every place holds the last number that was written to it, the history all of them. */
export async function checkWhole(store: Store, from: number): Promise<number> {
  const last = store.history.lastSeq;
  const entries = await store.history.read(from, Number.MAX_SAFE_INTEGER);
  assert.deepEqual(
    entries.map((entry) => [entry.seq, entry.data["step"]]),
    Array.from({ length: last - from }, (_, index) => [from + 1 + index, from + 1 + index]),
  );
  for (let count = Math.max(1, last - slots + 1); count <= last; count += 1) {
    const slot = count % slots;
    assert.equal(store.nodes.get(aUuid(slot))?.extra["count"], count);
    assert.equal(store.nodes.get(aUuid(slot))?.driverInfo["ipmi_password"], `secret ${count}`);
    assert.equal(store.leases.byAddress(aLease(slot).address)?.hostname, String(count));
    assert.equal((await store.inventory.get(aUuid(slot)))?.["count"], count);
    assert.ok(store.commands.get(String(count)));
  }
  return last;
}
