/** A process of its own that writes to a store, to be killed or starved by a test: `store-process MODE DIRECTORY`. */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { SystemClock } from "../../../src/core/clock.ts";
import { isFault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import type { Store } from "../../../src/domain/store.ts";
import { openStore } from "../../../src/store/level-store.ts";
import { aCommand, aLease, aNode, aUuid, anEntry } from "../../conformance/store-contract.ts";

export const slots = 7;
export const storeKey = new Uint8Array(32).fill(9);

/** One line to the test, written before anything else happens. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

/** Writes number `count` to four places at once; they must never be seen to differ. */
export function writeCount(store: Store, count: number, ballast: string, durable: boolean): Promise<void> {
  return store.commit(
    (tx) => {
      const slot = count % slots;
      tx.nodes.put(aNode(slot, { extra: { count, ballast }, driverInfo: { ipmi_password: `secret ${count}` } }));
      tx.leases.put(aLease(slot, { hostname: String(count) }));
      tx.commands.accept(aCommand(String(count)));
      tx.inventory.put(aUuid(slot), { count });
      const { seq } = tx.history.append(anEntry(count));
      if (seq !== count) throw new Error(`the history is at ${seq}, the count at ${count}`);
    },
    { durable },
  );
}

/** Commits in bursts and says which are promised; ends only by a kill. */
async function write(store: Store): Promise<void> {
  let count = store.history.lastSeq;
  say(`open ${count}`);
  for (;;) {
    const burst = [];
    for (let index = 0; index < 1 + (count % 9); index += 1) {
      count += 1;
      const mine = count;
      burst.push(writeCount(store, mine, "", mine % 3 !== 0).then(() => say(`done ${mine}`)));
    }
    await Promise.all(burst);
  }
}

/** Commits until one is refused, goes on trying, says when it works again, and closes at the end of its input. */
async function fill(store: Store): Promise<void> {
  let count = store.history.lastSeq;
  let refused = false;
  let closing = false;
  createInterface({ input: process.stdin }).on("close", () => (closing = true));
  say(`open ${count}`);
  while (!closing) {
    try {
      await writeCount(store, count + 1, "x".repeat(20_000), true);
      count += 1;
      say(`done ${count}`);
      if (refused) say(`again ${count}`);
      if (refused) break;
    } catch (error) {
      if (!isFault(error)) throw error;
      if (!refused) say(`refused ${error.kind} ${count + 1}`);
      refused = true;
      if (store.history.lastSeq !== count || store.nodes.get(aUuid((count + 1) % slots))?.extra["count"] === count + 1)
        say("changed");
      await pause(50);
    }
  }
}

if (process.argv[1]?.endsWith("store-process.js") === true) {
  process.on("SIGXFSZ", () => {}); // a write beyond the limit fails then, instead of ending the process
  const [, , mode, directory = ""] = process.argv;
  const store = await openStore({ directory, clock: new SystemClock(), log: silentLog, key: storeKey });
  await (mode === "write" ? write(store) : fill(store));
  await store[Symbol.asyncDispose]();
  say("closed");
  process.exit(0);
}
