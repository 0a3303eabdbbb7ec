import assert from "node:assert/strict";
import { test } from "node:test";
import { objectProperty, type JsonObject } from "../../src/core/json.ts";
import { silentLog } from "../../src/core/log.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { SiteSession } from "../../src/mqtt/site-session.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";
import { Broker, Wire } from "./broker.ts";
import { clock, openRack } from "./rack.ts";
import { Site } from "./site.ts";

const COMMANDS = 120;
const FAULTS = 20;

test("through faults of the broker, the wire and the rack every command is carried out once and answered", {
  timeout: 180_000,
}, async (context) => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 1e9));
  context.diagnostic(`FUZZ_SEED=${seed}`);
  const random = new SeededRandom(seed);
  const pause = (most: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, random.below(most)));
  await using broker = await Broker.start();
  await using wire = await Wire.to(broker.port);
  await using store = openMemoryStore({ clock });
  const ran: string[] = [];
  let session: SiteSession | undefined;
  const start = (): void => {
    const rack = openRack({ server: { url: wire.url, keepalive_s: 2 }, store, log: silentLog, ran });
    session = rack.session;
    session.start();
  };
  const stop = async (): Promise<void> => await session?.[Symbol.asyncDispose]();
  await using site = await Site.connect(broker.url, ["answers/#"]);

  const answers = new Map<string, JsonObject>();
  const take = (): void => {
    for (const { text } of site.messages.splice(0)) {
      const answer = JSON.parse(text) as JsonObject;
      const known = answers.get(String(answer["id"]));
      // Whenever and however often it comes, it is the same answer.
      if (known !== undefined) assert.deepEqual(answer, known);
      answers.set(String(answer["id"]), answer);
    }
  };
  const publish = (id: string): void => {
    const payload = JSON.stringify({ jsonrpc: "2.0", id, method: "node.create", params: { name: id } });
    const properties = { responseTopic: "answers/chaos", correlationData: Buffer.from(id) };
    site.client.publish("ironrack/v1/s/r/command", payload, { qos: 1, properties }, () => undefined);
  };

  start();
  let faults = 0;
  const chaos = (async () => {
    for (; faults < FAULTS; faults += 1) {
      await pause(600);
      const kind = random.below(4);
      if (kind === 0) {
        await broker.down(random.below(2) === 0 ? "SIGKILL" : "SIGTERM");
        await pause(300);
        await broker.up();
      } else if (kind === 1) {
        wire.cut = true;
        await pause(4000);
        wire.cut = false;
      } else if (kind === 2) {
        wire.reset();
      } else {
        await stop();
        await pause(300);
        start();
      }
    }
  })();

  const ids = Array.from({ length: COMMANDS }, (_, index) => `c${index}`);
  for (const id of ids) {
    publish(id);
    await pause(150);
  }
  await chaos;
  for (let round = 0; round < 60 && answers.size < COMMANDS; round += 1) {
    take();
    for (const id of ids) if (!answers.has(id)) publish(id);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  take();
  await stop();

  assert.equal(faults, FAULTS);
  assert.equal(answers.size, COMMANDS);
  for (const id of ids)
    assert.equal(objectProperty(answers.get(id) ?? {}, "result")?.["name"], id, JSON.stringify(answers.get(id)));
  assert.deepEqual(ran.toSorted(), ids.map((id) => `create ${id}`).toSorted());
  assert.equal(store.nodes.list().length, COMMANDS);
});
