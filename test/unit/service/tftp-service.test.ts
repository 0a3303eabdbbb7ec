import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parseIpv4Address } from "../../../src/core/brand.ts";
import { FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import type { Log, LogFields } from "../../../src/core/log.ts";
import type { LogEvent } from "../../../src/core/log-events.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Scope } from "../../../src/core/scope.ts";
import { millis } from "../../../src/core/units.ts";
import { DatagramSocket, type ReceivedDatagram } from "../../../src/net/datagram.ts";
import { decodeTftp, encodeTftp, type TftpPacket } from "../../../src/protocol/tftp/packet.ts";
import { type BootFile, memoryFile, openBootFile } from "../../../src/service/boot-file.ts";
import { TftpService } from "../../../src/service/tftp-service.ts";

const LOOPBACK = parseIpv4Address("127.0.0.1");
const CONTENTS = Uint8Array.from({ length: 3000 }, (_, at) => at % 251);

type MaybeFile = BootFile | null;

class Client implements AsyncDisposable {
  readonly socket: DatagramSocket;
  readonly #arrived: ReceivedDatagram[] = [];
  #wake: (() => void) | undefined;

  private constructor(socket: DatagramSocket) {
    this.socket = socket;
    socket.listen((datagram) => {
      this.#arrived.push(datagram);
      this.#wake?.();
    });
  }

  static async open(): Promise<Client> {
    return new Client(await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false }));
  }

  /** The next packet, or undefined when none comes for a while. */
  async next(patience = 2000): Promise<{ readonly packet: TftpPacket; readonly port: number } | undefined> {
    if (this.#arrived.length === 0) {
      await new Promise<void>((resolve) => {
        const cancel = new SystemClock().after(millis(patience), resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    const datagram = this.#arrived.shift();
    return datagram === undefined ? undefined : { packet: decodeTftp(datagram.bytes), port: datagram.from.port };
  }

  send(packet: TftpPacket, port: number): Promise<void> {
    return this.socket.send(encodeTftp(packet), { address: LOOPBACK, port });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.socket.close();
  }
}

class Rig implements AsyncDisposable {
  readonly #scope = new Scope();
  readonly clock = new FakeClock();
  readonly lines: { readonly event: LogEvent; readonly fields: LogFields }[] = [];
  readonly service: TftpService;
  readonly port: number;

  private constructor(socket: DatagramSocket, file: () => MaybeFile | Promise<MaybeFile>) {
    const write = (event: LogEvent, fields: LogFields = {}): void => void this.lines.push({ event, fields });
    const log: Log = { debug: write, info: write, warn: write, error: write, with: () => log };
    this.port = socket.local.port;
    this.service = this.#scope.use(
      new TftpService({
        clock: this.clock,
        log,
        leases: { byAddress: () => undefined },
        links: [{ address: LOOPBACK, socket }],
        sources: [async (request) => (request.file === "file" ? file() : null)],
        limits: {
          blksize: 1468,
          windowsize: 16,
          transfers: 10,
          transfersPerClient: 3,
          requestsPerClient: { burst: 30, perSecond: 10 },
        },
      }),
    );
    this.service.start();
  }

  static async open(
    file: () => MaybeFile | Promise<MaybeFile> = () => memoryFile(CONTENTS, "1", new Date(0)),
  ): Promise<Rig> {
    return new Rig(await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false }), file);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }
}

const RRQ: TftpPacket = { kind: "rrq", file: "file", mode: "octet", options: new Map() };

/** Reads the file to its end from the first DATA on; gives what arrived. */
async function readOn(client: Client): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const got = await client.next();
    assert.ok(got?.packet.kind === "data", JSON.stringify(got));
    parts.push(got.packet.bytes);
    await client.send({ kind: "ack", block: got.packet.block }, got.port);
    if (got.packet.bytes.length < 512) return new Uint8Array(Buffer.concat(parts));
  }
}

/** Answers the OACK and then the last block of each window. */
async function readWindows(client: Client, windowsize: number, blksize: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const got = await client.next();
    assert.ok(got !== undefined);
    if (got.packet.kind === "oack") {
      await client.send({ kind: "ack", block: 0 }, got.port);
      continue;
    }
    assert.ok(got.packet.kind === "data" && got.packet.block === (parts.length + 1) % 65_536, JSON.stringify(got));
    parts.push(got.packet.bytes);
    const last = got.packet.bytes.length < blksize;
    if (last || parts.length % windowsize === 0) await client.send({ kind: "ack", block: got.packet.block }, got.port);
    if (last) return Buffer.concat(parts);
  }
}

test("each transfer has a port of its own, and the file arrives whole — RFC 1350 §4", async () => {
  await using rig = await Rig.open();
  await using client = await Client.open();
  await client.send(RRQ, rig.port);
  assert.deepEqual(await readOn(client), CONTENTS);
  while (rig.service.counters().running > 0) await new SystemClock().sleep(millis(5));
  const { complete, bytes } = rig.service.counters();
  assert.deepEqual([complete, bytes], [1, 3000]);
});

test("a stranger on a transfer's port is not heard, and the transfer goes on", async () => {
  await using rig = await Rig.open();
  await using client = await Client.open();
  await using stranger = await Client.open();
  await client.send(RRQ, rig.port);
  const first = await client.next();
  assert.ok(first !== undefined && first.port !== rig.port);
  await stranger.send({ kind: "error", code: 0, message: "end it" }, first.port);
  await stranger.send({ kind: "ack", block: 1 }, first.port);
  await client.send({ kind: "ack", block: 1 }, first.port);
  assert.equal((await readOn(client)).length, 3000 - 512);
});

test("a request that is repeated because the answer is late starts nothing new", async () => {
  await using rig = await Rig.open();
  await using client = await Client.open();
  for (let round = 0; round < 5; round += 1) await client.send(RRQ, rig.port);
  assert.equal((await client.next())?.packet.kind, "data");
  assert.equal(await client.next(200), undefined);
  assert.equal(rig.service.counters().running, 1);
});

test("beyond the limit of one client its requests are left to be repeated, not refused", async () => {
  await using rig = await Rig.open();
  const clients = await Promise.all([Client.open(), Client.open(), Client.open(), Client.open()]);
  for (const client of clients) await client.send(RRQ, rig.port);
  const answers = await Promise.all(clients.map((client) => client.next(300)));
  assert.equal(answers.filter((answer) => answer !== undefined).length, 3);
  assert.equal(rig.service.counters().postponed, 1);
  for (const client of clients) await client.socket.close();
});

test("a client that asks more often than it may is left waiting until it may again", async () => {
  await using rig = await Rig.open();
  await using client = await Client.open();
  const absent: TftpPacket = { ...RRQ, file: "absent" };
  for (let round = 0; round < 30; round += 1) {
    await client.send(absent, rig.port);
    assert.equal((await client.next())?.packet.kind, "error");
  }
  await client.send(absent, rig.port);
  while (rig.service.counters().postponed === 0) await new SystemClock().sleep(millis(5));
  assert.equal(rig.service.counters().refused, 30);
  await rig.clock.advance(100);
  await client.send(absent, rig.port);
  assert.equal((await client.next())?.packet.kind, "error");
});

test("what cannot be served is answered with the error that says why", async () => {
  await using rig = await Rig.open();
  await using client = await Client.open();
  const ask = async (packet: TftpPacket): Promise<number> => {
    await client.send(packet, rig.port);
    const answer = await client.next();
    return answer?.packet.kind === "error" ? answer.packet.code : -1;
  };
  assert.equal(await ask({ ...RRQ, file: "other" }), 1);
  assert.equal(await ask({ kind: "wrq", file: "file", mode: "octet", options: new Map() }), 2);
  assert.equal(await ask({ ...RRQ, mode: "mail" }), 4);
  assert.equal(await ask({ kind: "ack", block: 7 }), 5);
});

test("a file that cannot be read to its end ends the transfer with an error and a line in the log", async () => {
  const broken: BootFile = {
    size: 3000,
    version: "1",
    modified: new Date(0),
    handle: null,
    read: () => Promise.reject(new Fault("storage", "file.shrunk", "shorter now")),
    [Symbol.asyncDispose]: async () => {},
  };
  await using rig = await Rig.open(() => broken);
  await using client = await Client.open();
  await client.send(RRQ, rig.port);
  assert.equal((await client.next())?.packet.kind, "error");
  while (rig.service.counters().failed === 0) await new SystemClock().sleep(millis(5));
  assert.ok(rig.lines.some(({ event, fields }) => event === "tftp.failed" && fields.code === "file.shrunk"));
});

test("a client whose port is closed is given up at once", async () => {
  await using rig = await Rig.open();
  const client = await Client.open();
  await client.send({ ...RRQ, options: new Map([["timeout", "1"]]) }, rig.port);
  await client.next();
  await client.socket.close();
  while (rig.service.counters().running > 0) await new SystemClock().sleep(millis(5));
  assert.equal(rig.service.counters().failed, 1);
  assert.match(JSON.stringify(rig.lines), /port is closed/);
});

test("windows of every size bring a file on disk whole", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-tftp-"));
  try {
    const path = join(directory, "file");
    for (const windowsize of [1, 7, 16]) {
      const contents = randomBytes(8 * 300 + 3);
      writeFileSync(path, contents);
      await using rig = await Rig.open(() => openBootFile(path));
      await using client = await Client.open();
      const options = new Map([
        ["blksize", "8"],
        ["windowsize", String(windowsize)],
      ]);
      await client.send({ ...RRQ, options }, rig.port);
      assert.ok((await readWindows(client, windowsize, 8)).equals(contents), `window ${windowsize}`);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a file that becomes shorter while it is sent is never complete", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-tftp-"));
  try {
    for (const left of [0, 5000]) {
      const path = join(directory, "file");
      writeFileSync(path, randomBytes(10_000));
      await using rig = await Rig.open(() => openBootFile(path));
      await using client = await Client.open();
      await client.send(RRQ, rig.port);
      const first = await client.next();
      assert.equal(first?.packet.kind, "data");
      truncateSync(path, left);
      await client.send({ kind: "ack", block: 1 }, first.port);
      for (let got = await client.next(); got?.packet.kind !== "error"; got = await client.next()) {
        assert.ok(got?.packet.kind === "data" && got.packet.bytes.length === 512, JSON.stringify(got));
        await client.send({ kind: "ack", block: got.packet.block }, got.port);
      }
      while (rig.service.counters().failed === 0) await new SystemClock().sleep(millis(5));
      assert.ok(rig.lines.some(({ event, fields }) => event === "tftp.failed" && fields.code === "file.shrunk"));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("when the server stops, its clients are told", async () => {
  const rig = await Rig.open();
  await using client = await Client.open();
  await client.send(RRQ, rig.port);
  await client.next();
  await rig[Symbol.asyncDispose]();
  assert.equal((await client.next())?.packet.kind, "error");
});

test("what is not TFTP is counted and logged once a minute, and anything at all leaves the server serving", async () => {
  await using rig = await Rig.open();
  await using noise = await Client.open();
  const seed = Number(process.env["FUZZ_SEED"] ?? 23);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 3000; round += 1) {
    const bytes = random.bytes(random.below(60));
    if (bytes.length > 1 && random.below(3) !== 0) bytes.set([0, random.below(8)]);
    await noise.socket.send(bytes, { address: LOOPBACK, port: rig.port });
    // No more than the kernel's buffer holds, however seldom we get to run.
    while (round % 100 === 99 && rig.service.counters().received <= round) await new SystemClock().sleep(millis(1));
  }
  await using client = await Client.open();
  await client.send(RRQ, rig.port);
  assert.deepEqual(await readOn(client), CONTENTS, `seed ${seed}`);
  assert.ok(rig.service.counters().malformed > 500);
  assert.ok(rig.lines.filter(({ event }) => event === "tftp.malformed").length < 20);
});
