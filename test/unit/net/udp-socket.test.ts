import assert from "node:assert/strict";
import { test } from "node:test";
import { SystemClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import { millis } from "../../../src/core/units.ts";
import { UdpSocket } from "../../../src/net/udp-socket.ts";

const loopback = { address: "127.0.0.1", port: 0 };

function kindIs(kind: string, code?: string): (error: unknown) => boolean {
  return (error) => isFault(error) && error.kind === kind && (code === undefined || error.code === code);
}

test("datagrams arrive in order with their sender", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port: server.local.port } });
  await client.send(Uint8Array.of(1));
  await client.send(Uint8Array.of(2, 3));
  const first = await server.receive();
  const second = await server.receive();
  assert.deepEqual([...first.bytes, ...second.bytes], [1, 2, 3]);
  assert.equal(first.from.port, client.local.port);
  await server.send(Uint8Array.of(9), first.from);
  assert.deepEqual([...(await client.receive()).bytes], [9]);
});

test("a host name is looked up, and one that does not exist is unreachable", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  await using client = await UdpSocket.open({ connect: { host: "localhost", port: server.local.port } });
  assert.ok(client.local.port > 0);
  await assert.rejects(
    UdpSocket.open({ connect: { host: "no-such-host.invalid", port: 1 } }),
    kindIs("unreachable", "udp.name"),
  );
});

test("a connected socket does not receive from others", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  await using stranger = await UdpSocket.open({ bind: loopback });
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port: server.local.port } });
  await stranger.send(Uint8Array.of(1), { address: "127.0.0.1", port: client.local.port });
  await server.send(Uint8Array.of(2), { address: "127.0.0.1", port: client.local.port });
  assert.deepEqual([...(await client.receive()).bytes], [2]);
});

test("a closed port of the peer is unreachable", async () => {
  const server = await UdpSocket.open({ bind: loopback });
  const { port } = server.local;
  await server.close();
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port } });
  await client.send(Uint8Array.of(1));
  await assert.rejects(client.receive(), kindIs("unreachable", "udp.unreachable"));
});

test("a taken port is a conflict", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  await assert.rejects(UdpSocket.open({ bind: server.local }), kindIs("conflict", "udp.bind"));
});

test("a receive that is aborted ends with the signal's reason, and the next one receives", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  using deadline = new SystemClock().deadline(millis(20));
  await assert.rejects(server.receive({ signal: deadline.signal }), kindIs("timeout"));
  await assert.rejects(server.receive({ signal: deadline.signal }), kindIs("timeout"));
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port: server.local.port } });
  await client.send(Uint8Array.of(7));
  assert.deepEqual([...(await server.receive()).bytes], [7]);
});

test("what an aborted receive did not take stays for the next", async () => {
  await using server = await UdpSocket.open({ bind: loopback });
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port: server.local.port } });
  const controller = new AbortController();
  const pending = server.receive({ signal: controller.signal });
  controller.abort(new Fault("cancelled", "test", "enough"));
  await assert.rejects(pending, kindIs("cancelled", "test"));
  await client.send(Uint8Array.of(5));
  assert.deepEqual([...(await server.receive()).bytes], [5]);
});

test("closing ends a pending receive, is idempotent, and nothing is sent afterwards", async () => {
  const socket = await UdpSocket.open({ bind: loopback });
  const pending = socket.receive();
  const ended = assert.rejects(pending, kindIs("cancelled", "udp.closed"));
  await Promise.all([socket.close(), socket.close()]);
  await ended;
  await assert.rejects(socket.receive(), kindIs("cancelled", "udp.closed"));
  await assert.rejects(
    socket.send(Uint8Array.of(1), { address: "127.0.0.1", port: 9 }),
    kindIs("cancelled", "udp.closed"),
  );
});

test("beyond its capacity the oldest datagrams are dropped and counted", async () => {
  await using server = await UdpSocket.open({ bind: loopback, capacity: 4 });
  await using client = await UdpSocket.open({ connect: { host: "127.0.0.1", port: server.local.port } });
  for (let value = 0; value < 10; value += 1) await client.send(Uint8Array.of(value));
  await new SystemClock().sleep(millis(50));
  const kept = [];
  for (let index = 0; index < 4; index += 1) kept.push((await server.receive()).bytes[0]);
  assert.deepEqual(kept, [6, 7, 8, 9]);
  assert.equal(server.dropped, 6);
});

test("an aborted signal opens nothing", async () => {
  const controller = new AbortController();
  controller.abort(new Fault("cancelled", "test", "enough"));
  await assert.rejects(UdpSocket.open({ bind: loopback }, { signal: controller.signal }), kindIs("cancelled"));
});
