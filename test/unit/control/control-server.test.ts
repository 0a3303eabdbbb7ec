import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { spawnSync } from "node:child_process";
import { Type } from "typebox";
import { SystemClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { silentLog } from "../../../src/core/log.ts";
import { millis, seconds } from "../../../src/core/units.ts";
import { SocketTransport } from "../../../src/cli/socket-transport.ts";
import { Catalogue, command } from "../../../src/conductor/catalogue.ts";
import { ControlServer } from "../../../src/control/control-server.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";

const clock = new SystemClock();
const free = Type.Unsafe<JsonObject>(Type.Object({}));
const { signal } = new AbortController();

interface Bench {
  readonly path: string;
  readonly ended: string[];
}

async function serve(
  use: (bench: Bench) => Promise<void>,
  options: { readonly longestLine?: number } = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-control-"));
  const ended: string[] = [];
  const slow = (name: string, changes: boolean) =>
    command({
      name,
      summary: name,
      changes,
      params: Type.Object({ ms: Type.Integer() }, { additionalProperties: false }),
      result: free,
      handle: async ({ ms }, context) => {
        try {
          await clock.sleep(millis(ms), context.signal);
          ended.push(`${name} done`);
        } catch (error) {
          ended.push(`${name} ${isFault(error) ? error.code : "?"}`);
          throw error;
        }
        return { waited: ms };
      },
    });
  const echo = command({
    name: "echo",
    summary: "echo",
    changes: false,
    params: Type.Object({}, { additionalProperties: true }),
    result: free,
    handle: async (params) => params as JsonObject,
  });
  const fail = command({
    name: "fail",
    summary: "fail",
    changes: false,
    params: Type.Object({}),
    result: free,
    handle: async () => {
      throw new Fault("conflict", "node.state", "not now", { detail: { node: "n1" } });
    },
  });
  const catalogue = new Catalogue({
    commands: [slow("read", false), slow("change", true), echo, fail],
    store: openMemoryStore({ clock }),
    log: silentLog,
  });
  const path = join(directory, "control.sock");
  try {
    await using _control = await ControlServer.open({ path, catalogue, log: silentLog, ...options });
    await use({ path, ended });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Writes to the socket and collects lines until there are `count` or the peer ends. */
async function exchange(path: string, text: string, count: number): Promise<JsonObject[]> {
  const socket = await opened(path);
  socket.write(text);
  let data = "";
  for await (const chunk of socket) {
    data += String(chunk);
    if (data.split("\n").length > count) break;
  }
  socket.destroy();
  return data
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as JsonObject);
}

function opened(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

const line = (id: number | string | null | undefined, method: string, params: JsonObject = {}): string =>
  `${JSON.stringify({ jsonrpc: "2.0", ...(id === undefined ? {} : { id }), method, params })}\n`;
const codeOf = (reply: JsonObject | undefined): unknown => (reply?.["error"] as JsonObject | undefined)?.["code"];

test("the socket file may be used by its owner and group alone, and is gone after the end", async () => {
  let path = "";
  await serve(async (bench) => {
    path = bench.path;
    assert.equal(statSync(path).mode & 0o777, 0o660);
  });
  assert.throws(() => statSync(path));
});

test("the socket goes to the configured group, and a group that is not there is an error that names the key", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-control-"));
  const catalogue = new Catalogue({ commands: [], store: openMemoryStore({ clock }), log: silentLog });
  const open = (group: string): Promise<ControlServer> =>
    ControlServer.open({ path: join(directory, "control.sock"), catalogue, log: silentLog, group });
  try {
    // The group of the process itself, which everybody may give a file to.
    const own =
      readFileSync("/etc/group", "utf8")
        .split("\n")
        .find((line) => line.split(":")[2] === String(process.getgid?.()))
        ?.split(":")[0] ?? "";
    await using _control = await open(own);
    assert.equal(statSync(join(directory, "control.sock")).gid, process.getgid?.());
    await assert.rejects(open("no-such-group"), (error) => isFault(error));
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("requests of one connection run together and are answered as they finish", async () => {
  await serve(async ({ path }) => {
    const replies = await exchange(
      path,
      line(1, "read", { ms: 200 }) + line(2, "echo", { a: 1 }) + line("three", "read", { ms: 50 }),
      3,
    );
    assert.deepEqual(
      replies.map((reply) => reply["id"]),
      [2, "three", 1],
    );
    assert.deepEqual(replies[0]?.["result"], { a: 1 });
  });
});

test("a batch is answered by a batch, a notification by nothing — JSON-RPC 2.0 §4.1, §6", async () => {
  await serve(async ({ path }) => {
    const batch = `${JSON.stringify([{ jsonrpc: "2.0", id: 1, method: "echo" }, { jsonrpc: "2.0", method: "echo" }, 7])}\n`;
    const [replies] = (await exchange(path, line(undefined, "echo") + batch, 1)) as unknown as JsonObject[][];
    assert.deepEqual(
      replies?.map((reply) => [reply["id"], codeOf(reply)]),
      [
        [1, undefined],
        [null, -32600],
      ],
    );
  });
});

test("what is not JSON-RPC gets its error and the connection goes on — JSON-RPC 2.0 §5.1", async () => {
  await serve(async ({ path }) => {
    const bad = [
      "{",
      "[]",
      "7",
      '{"id":1,"method":"echo"}',
      '{"jsonrpc":"2.0","id":{},"method":"echo"}',
      '{"jsonrpc":"2.0","id":2,"method":"echo","params":3}',
    ];
    const replies = await exchange(
      path,
      `${bad.join("\n")}\n\r\n${line(9, "none")}${line(10, "read", { ms: "x" })}${line(11, "fail")}`,
      9,
    );
    const codes = new Map(replies.map((reply) => [JSON.stringify(reply["id"]), codeOf(reply)]));
    assert.equal(replies.length, 9);
    assert.deepEqual(replies.slice(0, 4).map(codeOf), [-32700, -32600, -32600, -32600]);
    assert.deepEqual([codes.get("9"), codes.get("10"), codes.get("11")], [-32601, -32602, -32002]);
    const failed = replies.find((reply) => reply["id"] === 11)?.["error"];
    assert.deepEqual(failed, {
      code: -32002,
      message: "not now",
      data: { kind: "conflict", code: "node.state", detail: { node: "n1" } },
    });
  });
});

test("a line beyond the limit is refused and ends the connection", async () => {
  await serve(
    async ({ path }) => {
      const replies = await exchange(path, "x".repeat(5000), 9);
      assert.deepEqual(replies.map(codeOf), [-32700]);
    },
    { longestLine: 4096 },
  );
});

test("a caller that goes away cancels what it reads and not what it changes", async () => {
  await serve(async ({ path, ended }) => {
    const socket = await opened(path);
    socket.write(line(1, "read", { ms: 60_000 }) + line(2, "change", { ms: 150 }));
    await clock.sleep(millis(50));
    socket.destroy();
    await clock.sleep(millis(300));
    assert.deepEqual(ended, ["read caller.gone", "change done"]);
  });
});

test("closing the server answers what runs with cancelled", async () => {
  let reply: Promise<JsonObject[]> | undefined;
  await serve(async ({ path }) => {
    reply = exchange(path, line(1, "read", { ms: 60_000 }), 1);
    await clock.sleep(millis(100));
  });
  assert.equal(codeOf((await reply)?.[0]), -32010);
});

test("a thousand requests at once are all answered, also to a caller that reads slowly", async () => {
  await serve(async ({ path }) => {
    const text = "y".repeat(20_000);
    const socket = await opened(path);
    for (let id = 0; id < 1000; id += 1) socket.write(line(id, "echo", { text }));
    await clock.sleep(millis(200));
    const seen = new Set<unknown>();
    let rest = "";
    for await (const chunk of socket) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const one of lines) seen.add((JSON.parse(one) as JsonObject)["id"]);
      if (seen.size === 1000) break;
    }
    socket.destroy();
    assert.equal(seen.size, 1000);
  });
});

test("a socket file that nobody listens on is replaced; one that is served, or another file, is not", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-control-"));
  const path = join(directory, "control.sock");
  const catalogue = new Catalogue({ commands: [], store: openMemoryStore({ clock }), log: silentLog });
  const open = (): Promise<ControlServer> => ControlServer.open({ path, catalogue, log: silentLog });
  try {
    // A process that dies without closing leaves its socket file.
    spawnSync(process.execPath, [
      "-e",
      `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
    ]);
    assert.ok(statSync(path).isSocket());
    {
      await using _first = await open();
      await assert.rejects(open(), (error) => isFault(error) && error.code === "control.taken");
    }
    writeFileSync(path, "precious");
    await assert.rejects(open(), (error) => isFault(error) && error.kind === "storage");
    assert.equal(statSync(path).size, 8);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the CLI's socket transport carries results and faults, and says what to do when nobody listens", async () => {
  await serve(async ({ path }) => {
    await using transport = new SocketTransport(path, clock);
    assert.deepEqual(await transport.call("echo", { a: [1, { b: null }] }, { signal }), { a: [1, { b: null }] });
    await assert.rejects(
      transport.call("fail", {}, { signal }),
      (error) =>
        isFault(error) && error.kind === "conflict" && error.code === "node.state" && error.detail["node"] === "n1",
    );
    await assert.rejects(
      transport.call("read", { ms: 60_000 }, { signal, timeout: millis(50) }),
      (error) => isFault(error) && error.kind === "timeout",
    );
  });
  await assert.rejects(
    new SocketTransport("/nonexistent/control.sock", clock).open(),
    (error) => isFault(error) && error.code === "daemon.down" && /systemctl status ironrackd/.test(error.message),
  );
});

test("the CLI's socket transport comes back after the daemon was away", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-control-"));
  const path = join(directory, "control.sock");
  const echo = command({
    name: "echo",
    summary: "echo",
    changes: false,
    params: Type.Object({}),
    result: free,
    handle: async () => ({}),
  });
  const catalogue = new Catalogue({ commands: [echo], store: openMemoryStore({ clock }), log: silentLog });
  await using transport = new SocketTransport(path, clock);
  for (let round = 0; round < 2; round += 1) {
    await using _control = await ControlServer.open({ path, catalogue, log: silentLog });
    assert.deepEqual(await transport.call("echo", {}, { signal, timeout: seconds(5) }), {});
  }
  // Somebody who accepts and then hangs up.
  const rude = createServer((socket) => socket.destroy()).listen(path);
  await clock.sleep(millis(50));
  await assert.rejects(
    transport.call("echo", {}, { signal }),
    (error) => isFault(error) && error.kind === "unreachable",
  );
  rude.close();
  rmSync(directory, { recursive: true });
});
