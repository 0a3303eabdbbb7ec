import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { type Clock, FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import { MqttConnection, type MqttMessage } from "../../../src/net/mqtt-connection.ts";

/* A broker that does only what a test tells it, byte by byte: what real ones do when they are ill. */

/** CONNACK, reason 0, with properties. @source MQTT 5.0 §3.2 */
const connack = (reason = 0, properties: readonly number[] = []): Buffer =>
  Buffer.from([0x20, 3 + properties.length, 0, reason, properties.length, ...properties]);
const RECEIVE_MAXIMUM_2 = [0x21, 0, 2];
const MAXIMUM_PACKET_1000 = [0x27, 0, 0, 0x03, 0xe8];

interface IllBroker extends AsyncDisposable {
  readonly url: string;
  /** The first byte of each packet that came. */
  readonly types: readonly number[];
  send(bytes: Uint8Array): void;
  hangUp(): void;
}

async function illBroker(greeting: Uint8Array | undefined): Promise<IllBroker> {
  const types: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let rest = Buffer.alloc(0);
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        let [length, at, shift] = [0, 1, 0];
        for (; at < rest.length; at += 1, shift += 7) {
          length |= ((rest[at] ?? 0) & 0x7f) << shift;
          if (((rest[at] ?? 0) & 0x80) === 0) break;
        }
        if (at >= rest.length || rest.length < at + 1 + length) return;
        const type = rest[0] ?? 0;
        types.push(type);
        rest = rest.subarray(at + 1 + length);
        if (type === 0x10 && greeting !== undefined) socket.write(greeting);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const hangUp = (): void => sockets.forEach((socket) => socket.destroy());
  return {
    url: `mqtt://127.0.0.1:${typeof address === "object" ? address?.port : ""}`,
    types,
    send: (bytes) => sockets.forEach((socket) => socket.write(bytes)),
    hangUp,
    [Symbol.asyncDispose]: async () => {
      hangUp();
      server.close();
      await once(server, "close");
    },
  };
}

const never = new AbortController().signal;

function open(
  url: string,
  clock: Clock = new SystemClock(),
  onMessage: (message: MqttMessage) => Promise<void> = async () => {},
): Promise<MqttConnection> {
  const server = { url, clientId: "c", keepalive_s: 30, sessionExpiry_s: 0 };
  return MqttConnection.open({ server, onMessage, clock }, never);
}

async function ends(connection: MqttConnection): Promise<Fault> {
  if (!connection.ended.aborted) await once(connection.ended, "abort");
  assert.ok(isFault(connection.ended.reason));
  return connection.ended.reason;
}

const settle = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 50));

test("a broker that accepts the connection and says nothing is given up after 15 s", async () => {
  await using broker = await illBroker(undefined);
  const clock = new FakeClock();
  const opening = open(broker.url, clock);
  const rejected = assert.rejects(opening, (error) => isFault(error) && error.kind === "timeout");
  while (!broker.types.includes(0x10)) await settle();
  await clock.advance(15_000);
  await rejected;
});

test("a broker that refuses says why, and the fault is one that may pass", async () => {
  await using broker = await illBroker(connack(0x87));
  await assert.rejects(
    open(broker.url),
    (error) =>
      isFault(error) &&
      error.code === "broker.refused" &&
      error.retry === "later" &&
      error.detail["reason_code"] === 0x87,
  );
});

test("a port where nobody listens is unreachable, with the system's reason", async () => {
  const { url } = await (async () => {
    await using broker = await illBroker(undefined);
    return { url: broker.url };
  })();
  await assert.rejects(
    open(url),
    (error) => isFault(error) && error.kind === "unreachable" && /ECONNREFUSED/.test(error.message),
  );
});

test("bytes that are not MQTT end the connection at once, not at the next keepalive", async () => {
  await using broker = await illBroker(connack());
  await using connection = await open(broker.url);
  broker.send(Buffer.from([0x00, 0xff, 0xff, 0xff, 0xff, 0xff]));
  assert.equal((await ends(connection)).kind, "unreachable");
});

test("a publish that waits for its PUBACK rejects when the connection ends", async () => {
  await using broker = await illBroker(connack());
  await using connection = await open(broker.url);
  const publish = connection.publish({ topic: "t", payload: "x", qos: 1 });
  const rejected = assert.rejects(publish, (error) => isFault(error) && error.kind === "unreachable");
  while (!broker.types.includes(0x32)) await settle();
  broker.hangUp();
  await rejected;
  await assert.rejects(connection.publish({ topic: "t", payload: "x", qos: 1 }), isFault);
});

test("a broker that acknowledges nothing for a minute is left", async () => {
  await using broker = await illBroker(connack());
  const clock = new FakeClock();
  await using connection = await open(broker.url, clock);
  const rejected = assert.rejects(
    connection.publish({ topic: "t", payload: "x", qos: 1 }),
    (error) => isFault(error) && error.code === "broker.silent",
  );
  while (!broker.types.includes(0x32)) await settle();
  await clock.advance(60_000);
  await rejected;
  assert.equal((await ends(connection)).code, "broker.silent");
});

test("no more is sent unacknowledged than the broker's Receive Maximum — MQTT 5.0 §3.3.4", async () => {
  await using broker = await illBroker(connack(0, RECEIVE_MAXIMUM_2));
  await using connection = await open(broker.url);
  const sent = Array.from({ length: 5 }, () => connection.publish({ topic: "t", payload: "x", qos: 1 }));
  for (const one of sent) one.catch(() => undefined);
  await settle();
  assert.equal(broker.types.filter((type) => type === 0x32).length, 2);
});

test("a message beyond the broker's Maximum Packet Size is refused here — MQTT 5.0 §3.2.2.3.6", async () => {
  await using broker = await illBroker(connack(0, MAXIMUM_PACKET_1000));
  await using connection = await open(broker.url);
  await assert.rejects(
    connection.publish({ topic: "t", payload: "x".repeat(1000), qos: 1 }),
    (error) => isFault(error) && error.code === "message.large",
  );
  assert.equal(broker.types.includes(0x32), false);
});

test("a message that could not be taken is not acknowledged and ends the connection", async () => {
  await using broker = await illBroker(connack());
  const seen: string[] = [];
  await using connection = await open(broker.url, new SystemClock(), async ({ topic }) => {
    seen.push(topic);
    if (topic === "b") throw new Fault("storage", "disk", "full");
  });
  // PUBLISH, QoS 1, topic of one letter, packet identifier, no properties, no payload.
  const publish = (topic: string, id: number): Buffer => Buffer.from([0x32, 6, 0, 1, topic.charCodeAt(0), 0, id, 0]);
  broker.send(Buffer.concat([publish("a", 1), publish("b", 2), publish("c", 3)]));
  assert.equal((await ends(connection)).code, "disk");
  await settle();
  assert.deepEqual(seen, ["a", "b"]);
  assert.equal(broker.types.filter((type) => type === 0x40).length, 1);
});

test("a session that another client took over is said to be", async () => {
  await using broker = await illBroker(connack());
  await using connection = await open(broker.url);
  broker.send(Buffer.from([0xe0, 1, 0x8e]));
  broker.hangUp();
  const { code, kind } = await ends(connection);
  assert.deepEqual([code, kind], ["broker.taken-over", "conflict"]);
});

test("closing says goodbye with DISCONNECT, so that the will is not sent, and is idempotent", async () => {
  await using broker = await illBroker(connack());
  const connection = await open(broker.url);
  await connection[Symbol.asyncDispose]();
  await connection[Symbol.asyncDispose]();
  await settle();
  assert.equal(broker.types.at(-1), 0xe0);
});
