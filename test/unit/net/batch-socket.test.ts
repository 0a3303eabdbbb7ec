import assert from "node:assert/strict";
import { test } from "node:test";
import { SystemClock } from "../../../src/core/clock.ts";
import type { Fault } from "../../../src/core/fault.ts";
import { parseIpv4Address } from "../../../src/core/brand.ts";
import { BatchSocket } from "../../../src/net/batch-socket.ts";
import { freeUdpPort } from "../../free-port.ts";
import { DatagramSocket, type ReceivedDatagram } from "../../../src/net/datagram.ts";

const LOOPBACK = parseIpv4Address("127.0.0.1");

async function openPair(): Promise<{ readonly server: BatchSocket; readonly peer: DatagramSocket }> {
  const port = await freeUdpPort(); // the addon tells none
  const clock = new SystemClock();
  const server = BatchSocket.onInterface({ interface: "lo", address: LOOPBACK, port, broadcast: false, clock });
  const peer = await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false });
  return { server, peer };
}

/** The next `count` datagrams, the bytes copied: they are the listener's only for the call. */
function collect(socket: Pick<BatchSocket, "listen">, count: number): Promise<readonly ReceivedDatagram[]> {
  return new Promise((resolve) => {
    const all: ReceivedDatagram[] = [];
    socket.listen(({ bytes, from }) => {
      all.push({ bytes: Uint8Array.from(bytes), from });
      if (all.length === count) resolve(all);
    });
  });
}

test("hands on every datagram of a burst in order, with its sender", async () => {
  const { server, peer } = await openPair();
  await using _server = server;
  await using _peer = peer;
  const received = collect(server, 300);
  for (let at = 0; at < 300; at += 1) await peer.send(Uint8Array.of(at >> 8, at & 255), server.local);
  const all = await received;
  assert.deepEqual(
    all.map(({ bytes }) => ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)),
    Array.from({ length: 300 }, (_, at) => at),
  );
  for (const { from } of all) assert.deepEqual(from, peer.local);
  assert.equal(server.dropped, 0);
});

test("sends what was posted in one turn in order, also more than one slab holds", async () => {
  const { server, peer } = await openPair();
  await using _server = server;
  await using _peer = peer;
  const received = collect(peer, 150);
  for (let at = 0; at < 150; at += 1) server.post(Uint8Array.of(at), peer.local);
  assert.deepEqual(
    (await received).map(({ bytes }) => bytes[0]),
    Array.from({ length: 150 }, (_, at) => at),
  );
});

test("tells which datagram the network refused, and sends the others", async () => {
  const { server, peer } = await openPair();
  await using _server = server;
  await using _peer = peer;
  const received = collect(peer, 2);
  const faults: (Fault | string)[] = [];
  const refused = new Promise<void>((resolve) => {
    server.post(Uint8Array.of(1), peer.local, () => faults.push("the first failed"));
    // Port 0 is nobody's: the kernel refuses it at once.
    server.post(Uint8Array.of(2), { address: LOOPBACK, port: 0 }, (fault) => {
      faults.push(fault);
      resolve();
    });
    server.post(Uint8Array.of(3), peer.local, () => faults.push("the third failed"));
  });
  await refused;
  assert.deepEqual(
    (await received).map(({ bytes }) => bytes[0]),
    [1, 3],
  );
  assert.equal(faults.length, 1);
  assert.match(String(faults[0]), /EINVAL/);
});

test("hands on nothing as if it were whole that is longer than a slot", async () => {
  const { server, peer } = await openPair();
  await using _server = server;
  await using _peer = peer;
  const received = collect(server, 2);
  await peer.send(new Uint8Array(20_000).fill(7), server.local);
  await peer.send(new Uint8Array(9216).fill(8), server.local);
  assert.deepEqual(
    (await received).map(({ bytes }) => bytes.length),
    [0, 9216],
  );
});

test("counts what the kernel dropped while nobody read, and lets go of its port when it is closed", async () => {
  const { server, peer } = await openPair();
  await using _peer = peer;
  const { port } = server.local;
  for (let at = 0; server.dropped === 0 && at < 100_000; at += 1) await peer.send(new Uint8Array(1400), server.local);
  const { dropped } = server;
  assert.ok(dropped > 0);
  await server.close();
  await server.close();
  assert.equal(server.dropped, dropped);
  server.post(Uint8Array.of(1), peer.local); // does nothing
  await using _again = await DatagramSocket.open({ kind: "address", address: LOOPBACK, port, broadcast: false });
});

test("what goes to one peer in a row arrives as it was posted, also where lengths differ", async () => {
  const { server, peer } = await openPair();
  await using _server = server;
  await using _peer = peer;
  await using other = await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false });
  const lengths = [...Array.from({ length: 60 }, () => 300), 299, 300, 300, 12, 1, 1472, 1472, 900, 1472];
  const sent = lengths.map((length, at) => Uint8Array.from({ length }, (_, byte) => (byte * 7 + at) & 255));
  const received = collect(peer, sent.length);
  const toOther = collect(other, 3);
  for (const [at, bytes] of sent.entries()) {
    server.post(bytes, peer.local);
    if (at % 25 === 10) server.post(Uint8Array.of(at), other.local);
  }
  assert.deepEqual(
    (await received).map(({ bytes }) => bytes),
    sent,
  );
  assert.deepEqual(
    (await toOther).map(({ bytes }) => bytes[0]),
    [10, 35, 60],
  );
});
