import { describe } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { storeContract } from "../../conformance/store-contract.ts";

void describe("the memory store", () => {
  storeContract(
    async (clock) => ({ store: openMemoryStore({ clock }) }),
    () => new FakeClock(),
  );
});
