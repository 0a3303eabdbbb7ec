import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../src/core/fault.ts";
import { objectProperty, type JsonObject } from "../../src/core/json.ts";
import { silentLog, type Log } from "../../src/core/log.ts";
import { SystemRandom } from "../../src/core/random.ts";
import { Scope } from "../../src/core/scope.ts";
import { seconds } from "../../src/core/units.ts";
import { SiteTransport } from "../../src/cli/site-transport.ts";
import type { Store } from "../../src/domain/store.ts";
import type { SiteSession } from "../../src/mqtt/site-session.ts";
import { openMemoryStore } from "../../src/store/memory-store.ts";
import { Broker, Wire } from "./broker.ts";
import { clock, fillHistory, openRack, recordingLog, someNode } from "./rack.ts";
import { eventually, Site } from "./site.ts";

const rpc = (id: string | number | null, method: string, params: JsonObject = {}): JsonObject => ({
  jsonrpc: "2.0",
  id,
  method,
  params,
});
const errorOf = (answer: JsonObject): JsonObject => objectProperty(answer, "error") ?? {};

/** A rack's session and the site, each connected to a broker of their own. */
async function rackAndSite(
  options: { readonly store?: Store & AsyncDisposable; readonly log?: Log } = {},
): Promise<AsyncDisposable & { readonly site: Site; readonly session: SiteSession; readonly ran: readonly string[] }> {
  const scope = new Scope();
  try {
    const broker = scope.use(await Broker.start());
    const { session, ran } = openRack({ log: silentLog, ...options, server: { url: broker.url } });
    scope.use(session).start();
    const site = scope.use(await Site.connect(broker.url));
    await site.online();
    return { site, session, ran, [Symbol.asyncDispose]: () => scope.close() };
  } catch (error) {
    await scope.close();
    throw error;
  }
}

test("a command's answer goes to its response topic with its correlation data", async (context) => {
  await using rack = await rackAndSite();
  const { site, ran } = rack;
  const answer = await (await site.send(rpc("a1", "node.create", { name: "n1" }))).answer();
  assert.equal(answer["id"], "a1");
  assert.equal(objectProperty(answer, "result")?.["name"], "n1");
  assert.deepEqual(ran, ["create n1"]);
  const times: number[] = [];
  for (let round = 0; round < 20; round += 1) {
    const start = performance.now();
    const sent = await site.send(rpc(`r${round}`, "node.work", { node: "n1", ms: 0 }));
    await sent.answer();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  context.diagnostic(`median round trip ${times[10]?.toFixed(1)} ms`);
});

test("a command with an id that was used gets the stored answer and is not carried out again", async () => {
  await using rack = await rackAndSite();
  const { site, ran } = rack;
  const first = await (await site.send(rpc("x", "node.create", { name: "n1" }))).answer();
  const second = await (await site.send(rpc("x", "node.create", { name: "n1" }), { to: "answers/other" })).answer();
  assert.deepEqual(second, first);
  const other = await (await site.send(rpc("x", "node.delete", { node: "n1" }))).answer();
  assert.equal(objectProperty(errorOf(other), "data")?.["code"], "command.id");
  assert.deepEqual(ran, ["create n1"]);
});

test("a caller that repeats a running command from another topic gets the answer too, once", async () => {
  await using rack = await rackAndSite();
  const { site, ran } = rack;
  const one = await site.send(rpc("x", "node.work", { node: "n1", ms: 300 }), { to: "answers/one" });
  const two = await site.send(rpc("x", "node.work", { node: "n1", ms: 300 }), { to: "answers/two" });
  assert.deepEqual(await two.answer(), await one.answer());
  assert.deepEqual(ran, ["work n1 300"]);
});

test("commands for one node run in order of arrival, and a slow one does not hold up another node", async () => {
  await using rack = await rackAndSite();
  const { site, ran } = rack;
  const sent = [
    await site.send(rpc("1", "node.create", { name: "n1" })),
    await site.send(rpc("2", "node.work", { node: "n1", ms: 400 })),
    await site.send(rpc("3", "node.work", { node: "n1", ms: 1 })),
    await site.send(rpc("4", "node.work", { node: "n2", ms: 2 })),
  ];
  for (const one of sent) assert.notEqual((await one.answer())["result"], undefined);
  assert.deepEqual(ran, ["create n1", "work n2 2", "work n1 400", "work n1 1"]);
});

test("a command whose message expired before its turn is answered with a timeout and not carried out", async () => {
  await using rack = await rackAndSite();
  const { site, ran } = rack;
  await site.send(rpc("slow", "node.work", { node: "n1", ms: 2500 }));
  const late = await site.send(rpc("late", "node.work", { node: "n1", ms: 1 }), { expiry_s: 1 });
  assert.equal(objectProperty(errorOf(await late.answer()), "data")?.["code"], "command.expired");
  assert.deepEqual(ran, ["work n1 2500"]);
});

test("a payload that is no command is counted, answered where there is a response topic, and logged once a minute", async () => {
  const { log, lines } = recordingLog();
  await using rack = await rackAndSite({ log });
  const { site, session } = rack;
  const code = async (payload: JsonObject | string): Promise<unknown> =>
    errorOf(await (await site.send(payload)).answer())["code"];
  assert.equal(await code("\u0000\u0001nonsense"), -32700);
  assert.equal(await code("[".repeat(50_000)), -32700);
  assert.equal(await code("[]"), -32600);
  assert.equal(await code([rpc("b", "node.list")] as unknown as JsonObject), -32600);
  assert.equal(await code({ id: "c", method: "node.list" }), -32600);
  await site.client.publishAsync("ironrack/v1/s/r/command", "no response topic", { qos: 1 });
  await eventually("six are counted", () => session.state.malformed === 6);
  assert.equal(lines.filter((line) => line["event"] === "mqtt.malformed").length, 1);
  // These are commands, but not ones that can be carried out.
  assert.equal(await code(rpc(null, "node.create", { name: "x" })), -32600);
  assert.equal(await code(rpc(7, "node.create", { name: "x" })), -32600);
  assert.equal(await code(rpc("u", "node.destroy")), -32601);
  assert.equal(await code(rpc("v", "node.create", { nome: "x" })), -32602);
  assert.equal(session.state.malformed, 6);
});

test("a retained command is refused: the broker would hand it out at every connection", async () => {
  await using broker = await Broker.start();
  const { session, ran } = openRack({ server: { url: broker.url }, log: silentLog });
  await using _session = session;
  await using site = await Site.connect(broker.url, ["answers/#"]);
  const sent = await site.send(rpc("kept", "node.create", { name: "n1" }), { retain: true });
  session.start();
  assert.equal(objectProperty(errorOf(await sent.answer()), "data")?.["code"], "request.retained");
  assert.deepEqual(ran, []);
});

test("a command that could not be put on disk is not acknowledged; the broker delivers it again", async () => {
  const { log, lines } = recordingLog();
  const memory = openMemoryStore({ clock });
  let failures = 2;
  const store = failing(memory, () => {
    if (failures === 0) return;
    failures -= 1;
    throw new Fault("storage", "disk", "no space left on the disk");
  });
  await using rack = await rackAndSite({ store, log });
  const { site, ran } = rack;
  const answer = await (await site.send(rpc("a", "node.create", { name: "n1" }))).answer();
  assert.equal(objectProperty(answer, "result")?.["name"], "n1");
  assert.deepEqual(ran, ["create n1"]);
  assert.equal(failures, 0);
  assert.ok(lines.some((line) => line["event"] === "mqtt.disconnected" && line["code"] === "disk"));
});

/** The store with a disk that fails when `check` throws. */
function failing(store: Store & AsyncDisposable, check: () => void): Store & AsyncDisposable {
  return new Proxy(store, {
    get: (target, key) => {
      if (key === "commit") {
        return async (...args: Parameters<Store["commit"]>) => {
          check();
          return await target.commit(...args);
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("after a restart unanswered commands are carried out, and answers that the broker never got are sent", async () => {
  await using broker = await Broker.start();
  await using store = openMemoryStore({ clock });
  const reply = { topic: "answers/restart", correlation: Buffer.from("k").toString("base64") };
  const record = {
    method: "node.create",
    receivedAt: "2026-01-01T00:00:00.000Z",
    expiresAt: null,
    reply,
    answer: null,
    delivered: false,
  };
  await store.commit((tx) => {
    tx.commands.accept({ ...record, id: "open", params: { name: "n1" } });
    tx.commands.accept({ ...record, id: "answered", params: { name: "n2" } });
    tx.commands.answer("answered", { ok: true, result: { from: "before" } });
  });
  const { session, ran } = openRack({ server: { url: broker.url }, store, log: silentLog });
  await using _session = session;
  await using site = await Site.connect(broker.url);
  session.start();
  const open = await site.until((one) => one.topic === reply.topic && one.text.includes('"open"'));
  const answered = await site.until((one) => one.topic === reply.topic && one.text.includes('"answered"'));
  assert.match(open.text, /"name":"n1"/);
  assert.match(answered.text, /"from":"before"/);
  assert.equal(open.packet.properties?.correlationData?.toString(), "k");
  assert.deepEqual(ran, ["create n1"]);
  await eventually("both count as delivered", () => store.commands.undelivered().length === 0);
});

test("commands that were sent while the rack was away reach it when it comes back", async () => {
  await using broker = await Broker.start();
  await using store = openMemoryStore({ clock });
  await using site = await Site.connect(broker.url);
  {
    const { session } = openRack({ server: { url: broker.url }, store, log: silentLog });
    await using _session = session;
    session.start();
    await site.online();
  }
  await site.until((one) => one.topic.endsWith("/status") && one.text.includes('"stopped"'));
  const sent = await site.send(rpc("later", "node.create", { name: "n1" }));
  const read = await site.send(rpc("read", "node.list"));
  const { session } = openRack({ server: { url: broker.url }, store, log: silentLog });
  await using _session = session;
  session.start();
  assert.equal(objectProperty(await sent.answer(), "result")?.["name"], "n1");
  assert.notEqual((await read.answer())["result"], undefined);
});

test("a backlog of 100 000 events arrives whole and in order although the broker is restarted in the middle", {
  timeout: 240_000,
}, async (context) => {
  await using broker = await Broker.start();
  await using store = openMemoryStore({ clock, retention: { historyEntries: 200_000 } });
  const count = 100_000;
  await fillHistory(store, count);
  const { session } = openRack({ server: { url: broker.url }, store, log: silentLog });
  await using _session = session;
  await using site = await Site.connect(broker.url, ["ironrack/v1/s/r/event"]);
  const start = performance.now();
  session.start();
  await eventually("a third is there", () => site.messages.length > count / 3, 60_000);
  await broker.down("SIGTERM");
  await eventually("the session has seen it", () => !session.state.connected);
  await broker.up();
  await eventually("everything is acknowledged", () => store.outbox.acknowledged === count, 120_000);
  context.diagnostic(
    `${Math.round(count / ((performance.now() - start) / 1000))} events a second, broker restart included`,
  );
  await eventually("the last one has arrived", () => site.messages.at(-1)?.text.includes(`"seq":${count},`) === true);
  // Repetitions are allowed, holes and disorder among what is new are not.
  let highest = 0;
  for (const { text } of site.messages) {
    const { seq } = JSON.parse(text) as { seq: number };
    assert.ok(seq <= highest + 1, `${seq} came after ${highest}`);
    highest = Math.max(highest, seq);
  }
  assert.equal(highest, count);
  assert.equal(session.state.queuedEvents, 0);
});

test("history that was trimmed before the site saw it holds up nothing", async () => {
  await using broker = await Broker.start();
  await using store = openMemoryStore({ clock, retention: { historyEntries: 10, historyLimit: 50 } });
  await fillHistory(store, 3000);
  const { session } = openRack({ server: { url: broker.url }, store, log: silentLog });
  await using _session = session;
  await using site = await Site.connect(broker.url, ["ironrack/v1/s/r/event"]);
  session.start();
  await eventually("everything that is left is acknowledged", () => store.outbox.acknowledged === 3000);
  // Each acknowledgement lets the store trim further, so that some are missing at the front and some on the way.
  const seqs = site.messages.map((one) => (JSON.parse(one.text) as { seq: number }).seq);
  assert.ok((seqs[0] ?? 0) > 1, "nothing was trimmed");
  assert.deepEqual(
    seqs,
    [...new Set(seqs)].toSorted((a, b) => a - b),
  );
  assert.equal(seqs.at(-1), 3000);
});

test("an event that the broker does not take is sent without its data and holds up nothing", async () => {
  await using broker = await Broker.start(["max_packet_size 5000"]);
  await using store = openMemoryStore({ clock });
  await store.commit((tx) => {
    for (const text of ["small", "x".repeat(20_000), "small again"]) {
      tx.history.append({
        type: "discovery",
        severity: "INFO",
        node: null,
        name: null,
        operation: null,
        data: { text },
      });
    }
  });
  const { session } = openRack({ server: { url: broker.url }, store, log: silentLog });
  await using _session = session;
  await using site = await Site.connect(broker.url);
  session.start();
  await eventually("all three are acknowledged", () => store.outbox.acknowledged === 3);
  const events = site.messages
    .filter((one) => one.topic.endsWith("/event"))
    .map((one) => JSON.parse(one.text) as { seq: number; data: JsonObject });
  assert.deepEqual(
    events.map((event) => event.seq),
    [1, 2, 3],
  );
  assert.deepEqual(events[1]?.data, { truncated: true });
  const large = await (await site.send(rpc("l", "large", { bytes: 20_000 }))).answer();
  assert.equal(objectProperty(errorOf(large), "data")?.["code"], "message.large");
});

test("a node's retained topic says what the node is, changes only with it, and is emptied with it", async () => {
  await using broker = await Broker.start();
  await using site = await Site.connect(broker.url);
  // Left behind by an appliance that was here before.
  const stranger = "ironrack/v1/s/r/node/00000000-0000-4000-8000-000000000099";
  await site.client.publishAsync(stranger, "{}", { qos: 1, retain: true });
  const { session, store } = openRack({ server: { url: broker.url }, log: silentLog });
  await using _session = session;
  const node = someNode("00000000-0000-4000-8000-000000000001", "n1");
  await store.commit((tx) => tx.nodes.put({ ...node, driverInfo: { ipmi_password: "hidden" } }));
  session.start();
  const topic = `ironrack/v1/s/r/node/${node.uuid}`;
  const states = (): string[] => site.messages.filter((one) => one.topic === topic).map((one) => one.text);
  await eventually("the state is there", () => states().length === 1);
  assert.equal(states()[0]?.includes("hidden"), false);
  await eventually("the stranger's topic is emptied", () =>
    site.messages.some((one) => one.topic === stranger && one.text === ""),
  );
  await store.commit((tx) => {
    for (let index = 0; index < 5; index += 1) {
      tx.history.append({
        type: "node.step.progress",
        severity: "INFO",
        node: node.uuid,
        name: "n1",
        operation: null,
        data: { index },
      });
    }
  });
  await store.commit((tx) => {
    tx.nodes.put({ ...node, powerState: "power on" });
    tx.history.append({
      type: "node.power",
      severity: "INFO",
      node: node.uuid,
      name: "n1",
      operation: null,
      data: { to: "power on" },
    });
  });
  await eventually("the events are acknowledged", () => store.outbox.acknowledged === store.history.lastSeq);
  assert.equal(states().length, 2);
  assert.match(states()[1] ?? "", /"power_state":"power on"/);
  await (await site.send(rpc("d", "node.delete", { node: "n1" }))).answer();
  await eventually("the topic is emptied", () => states().at(-1) === "");
  await using late = await Site.connect(broker.url);
  await late.until((one) => one.topic.endsWith("/status"));
  assert.equal(
    late.messages.some((one) => one.topic === topic),
    false,
  );
});

test("a WAN that is cut without a word is noticed, the site is told by the will, and the session comes back", {
  timeout: 60_000,
}, async () => {
  await using broker = await Broker.start();
  await using wire = await Wire.to(broker.port);
  const { session, ran } = openRack({ server: { url: wire.url, keepalive_s: 2 }, log: silentLog });
  await using _session = session;
  session.start();
  await using site = await Site.connect(broker.url);
  await site.online();
  wire.cut = true;
  const sent = await site.send(rpc("during", "node.create", { name: "n1" }));
  await eventually("the session sees it", () => !session.state.connected, 20_000);
  await site.until((one) => one.topic.endsWith("/status") && one.text === '{"online":false}', 20_000);
  wire.cut = false;
  assert.equal(objectProperty(await sent.answer(20_000), "result")?.["name"], "n1");
  assert.deepEqual(ran, ["create n1"]);
});

test("two appliances with one client id are noticed", { timeout: 60_000 }, async () => {
  await using broker = await Broker.start();
  const { log, lines } = recordingLog();
  const one = openRack({ server: { url: broker.url }, log });
  const two = openRack({ server: { url: broker.url }, log: silentLog });
  await using _one = one.session;
  await using _two = two.session;
  one.session.start();
  two.session.start();
  await eventually("it is said", () => lines.some((line) => line["code"] === "broker.flapping"), 40_000);
});

test("a wrong password is said with the reason, and the session comes in when the broker lets it", async () => {
  await using broker = await Broker.start(["allow_anonymous false"]);
  const { log, lines } = recordingLog();
  const { session } = openRack({ server: { url: broker.url, username: "rack" }, log });
  await using _session = session;
  session.start();
  await eventually("it is said", () =>
    lines.some((line) => line["event"] === "mqtt.failed" && line["code"] === "broker.refused"),
  );
  assert.equal(session.state.connected, false);
  assert.match(session.state.lastError ?? "", /not authorized|password/);
});

test("the CLI's site door repeats a command through a broker that dies, and it is carried out once", {
  timeout: 60_000,
}, async () => {
  await using broker = await Broker.start();
  const { session, ran } = openRack({ server: { url: broker.url }, log: silentLog });
  await using _session = session;
  session.start();
  const server = { url: broker.url, clientId: "cli", keepalive_s: 30, sessionExpiry_s: 0 };
  await using cli = new SiteTransport({ server, site: "s", rack: "r", clock, random: new SystemRandom() });
  const { signal } = new AbortController();
  await cli.call("node.list", {}, { signal });
  const answer = cli.call("node.work", { node: "n1", ms: 1500 }, { signal, timeout: seconds(40) });
  await eventually("it is under way", () => session.state.queuedCommands === 1);
  await broker.down();
  await eventually("it is done", () => ran.length === 1);
  await broker.up();
  assert.deepEqual(await answer, { done: "n1" });
  assert.deepEqual(ran, ["work n1 1500"]);
});

test("the CLI's site door follows events through a broker that dies, without loss or repetition", {
  timeout: 60_000,
}, async () => {
  await using broker = await Broker.start();
  const { session, store } = openRack({ server: { url: broker.url }, log: silentLog });
  await using _session = session;
  session.start();
  const server = { url: broker.url, clientId: "cli", keepalive_s: 30, sessionExpiry_s: 0 };
  await using cli = new SiteTransport({ server, site: "s", rack: "r", clock, random: new SystemRandom() });
  const stop = new AbortController();
  const seen: number[] = [];
  const following = (async () => {
    for await (const event of cli.events(0, stop.signal)) seen.push(event.seq);
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
  await fillHistory(store, 700);
  await eventually("the first are seen", () => seen.length === 700);
  await broker.down();
  await fillHistory(store, 300);
  await broker.up();
  await eventually("all are seen", () => seen.length === 1000, 30_000);
  stop.abort();
  await following;
  assert.deepEqual(
    seen,
    Array.from({ length: 1000 }, (_, index) => index + 1),
  );
});

test("the CLI says that the rack is silent when nobody answers", async () => {
  await using broker = await Broker.start();
  const server = { url: broker.url, clientId: "cli", keepalive_s: 30, sessionExpiry_s: 0 };
  await using cli = new SiteTransport({ server, site: "s", rack: "nobody", clock, random: new SystemRandom() });
  const { signal } = new AbortController();
  await assert.rejects(
    cli.call("node.list", {}, { signal, timeout: seconds(1) }),
    (error: unknown) => error instanceof Fault && error.code === "rack.silent",
  );
});
