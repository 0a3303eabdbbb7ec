import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { SystemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Secret } from "../../../src/core/secret.ts";
import { Scope } from "../../../src/core/scope.ts";
import { millis } from "../../../src/core/units.ts";
import { BootFiles } from "../../../src/service/boot-files.ts";
import type { ServerIdentity } from "../../../src/service/boot-listener.ts";
import { BootHttp } from "../../../src/service/boot-http.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { CertificateAuthority } from "../../certificates.ts";
import { bootSettings } from "../../boot-settings.ts";
import { aMac, aNode, aPort } from "../../conformance/store-contract.ts";

const directory = mkdtempSync(join(tmpdir(), "ironrack-http-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const kernel = join(directory, "kernel");
const initrd = join(directory, "initrd");
writeFileSync(kernel, "kernel");
writeFileSync(initrd, Buffer.alloc(20_000_000, "x"));
const clock = new SystemClock();

interface Rig extends AsyncDisposable {
  readonly http: BootHttp;
  readonly port: number;
}

async function open(identity: ServerIdentity | null = null): Promise<Rig> {
  const scope = new Scope();
  const store = scope.use(openMemoryStore({ clock }));
  const node = aNode(1, { bootTarget: "ramdisk" });
  await store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put(aPort(1, node.uuid));
  });
  const http = scope.use(
    new BootHttp({
      clock,
      log: silentLog,
      store,
      boot: bootSettings(),
      files: scope.use(new BootFiles({ clock, named: new Map(), root: null })),
      ramdisk: { kernel, initrd, arm64: null },
      isoDirectories: [],
      listen: [{ address: "127.0.0.1", port: 0, identity }],
      mostConnections: 64,
    }),
  );
  await http.start();
  return { http, port: http.ports()[0] ?? 0, [Symbol.asyncDispose]: () => scope.close() };
}

function get(port: number, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    request({ port, path, agent: false }, (response) => {
      let body = "";
      response.setEncoding("latin1").on("data", (part: string) => {
        body += part;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    })
      .on("error", reject)
      .end();
  });
}

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

test("a script says what its node is to do when it is asked for, not before", async () => {
  await using rig = await open();
  const { status, body } = await get(rig.port, `/boot/${aMac(1).replaceAll(":", "-")}.ipxe`);
  assert.equal(status, 200);
  assert.match(
    body,
    /^kernel http:\/\/127\.0\.0\.1:8080\/ramdisk\/kernel initrd=initrd ipa-api-url=http:\/\/127\.0\.0\.1:6385 /m,
  );
  assert.match((await get(rig.port, `/boot/${aMac(2).replaceAll(":", "-")}.ipxe`)).body, /sanboot/);
});

test("clients that go away in the middle leave no open file and no running answer behind", async () => {
  await using rig = await open();
  await get(rig.port, "/ramdisk/kernel");
  const before = openFiles();
  await Promise.all(
    Array.from(
      { length: 30 },
      () =>
        new Promise<void>((resolve) => {
          const asked = request({ port: rig.port, path: "/ramdisk/initrd", agent: false }, (response) => {
            response.once("data", () => {
              response.destroy();
              resolve();
            });
          });
          asked.on("error", () => resolve());
          asked.end();
        }),
    ),
  );
  while (rig.http.counters().running > 0) await clock.sleep(millis(10));
  await clock.sleep(millis(50));
  assert.ok(openFiles() <= before + 2, `${before} before, ${openFiles()} now`);
});

test("a file that becomes shorter cuts the connection that asks for it, also one that would go on", async () => {
  await using rig = await open();
  truncateSync(initrd, 100_000_000); // more than the buffers of two sockets hold
  const answered = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { Connection: "keep-alive" };
    request({ port: rig.port, path: "/ramdisk/initrd", agent: false, headers }, resolve).on("error", reject).end();
  });
  truncateSync(initrd, 10);
  const cut = new Promise<unknown>((resolve) => answered.on("error", resolve));
  answered.resume();
  assert.match(String(await cut), /aborted/);
  while (rig.http.counters().running > 0) await clock.sleep(millis(1));
  assert.equal(rig.http.counters().failed, 1);
});

test("requests that follow each other without waiting are answered in order, each whole", async () => {
  await using rig = await open();
  const before = openFiles();
  const size = statSync(initrd).size;
  const socket = connect(rig.port, "127.0.0.1");
  const line = (path: string, rest = ""): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n${rest}\r\n`;
  const paths = Array.from({ length: 40 }, (_, at) => (at % 4 === 0 ? "/ramdisk/initrd" : "/ramdisk/kernel"));
  socket.write(paths.map((path) => line(path)).join("") + line("/absent", "Connection: close\r\n"));
  let most = 0;
  let length = 0;
  let ends = "";
  for await (const part of socket) {
    const bytes = part as Buffer;
    length += bytes.length;
    ends = (ends + bytes.subarray(-300).toString("latin1")).slice(-300);
    most = Math.max(most, openFiles());
  }
  assert.match(ends, /HTTP\/1\.1 404 Not Found\r\n/);
  assert.ok(length > 10 * size && length < 10 * size + 41 * 500, `${length} bytes`);
  assert.ok(most < before + 10, `${most} files were open`);
});

test("anything at all on the wire leaves the server serving", async () => {
  await using rig = await open();
  const seed = Number(process.env["FUZZ_SEED"] ?? 31);
  const random = new SeededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const line = random.below(2) === 0 ? "GET /ramdisk/kernel HTTP/1.1\r\nHost: x\r\nRange: " : "";
    await new Promise<void>((resolve) => {
      const socket = connect(rig.port, "127.0.0.1", () => {
        socket.write(line);
        socket.end(Buffer.from(random.bytes(random.below(200))));
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
      socket.resume();
    });
  }
  assert.deepEqual(await get(rig.port, "/ramdisk/kernel"), { status: 200, body: "kernel" }, `seed ${seed}`);
  assert.equal(rig.http.counters().failed, 0);
});

test("a kernel that is not there is 404, and closing ends what runs", async () => {
  const rig = await open();
  rmSync(kernel);
  assert.equal((await get(rig.port, "/ramdisk/kernel")).status, 404);
  writeFileSync(kernel, "kernel");
  truncateSync(initrd, 100_000_000); // more than the buffers of two sockets hold
  const answered = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ port: rig.port, path: "/ramdisk/initrd", agent: false }, resolve).on("error", reject).end();
  });
  // Nobody reads yet: the answer still runs.
  assert.equal(rig.http.counters().running, 1);
  await rig[Symbol.asyncDispose]();
  const cut = new Promise<unknown>((resolve) => answered.on("error", resolve));
  answered.resume();
  assert.match(String(await cut), /aborted/);
});

/** The whole answer to one request over TLS, and whose certificate was shown. */
function getByTls(
  port: number,
  ca: string,
  path: string,
): Promise<{ readonly subject: string; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: "127.0.0.1", ca }, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    });
    const subject = (): string => String(socket.getPeerX509Certificate()?.subject);
    let text = "";
    let shown = "";
    socket.once("secureConnect", () => {
      shown = subject();
    });
    socket.setEncoding("latin1").on("data", (part: string) => {
      text += part;
    });
    socket.once("end", () => resolve({ subject: shown, text }));
    socket.once("error", reject);
  });
}

test("a renewed certificate is shown from the next connection on; the one that runs ends well", async () => {
  const authority = new CertificateAuthority(directory, "ca");
  const identity = (name: string): ServerIdentity => {
    const { cert, key } = authority.issue(name, "IP:127.0.0.1");
    return { cert: readFileSync(cert, "utf8"), key: new Secret(readFileSync(key, "utf8")) };
  };
  await using rig = await open(identity("first"));
  const ca = readFileSync(authority.file, "utf8");
  const running = getByTls(rig.port, ca, "/ramdisk/initrd");
  const before = await getByTls(rig.port, ca, "/ramdisk/kernel");
  assert.equal(before.subject, "CN=first");
  assert.match(before.text, /^HTTP\/1\.1 200 OK[\s\S]*\r\n\r\nkernel$/);
  rig.http.renew(identity("second"));
  assert.equal((await getByTls(rig.port, ca, "/ramdisk/kernel")).subject, "CN=second");
  const { subject, text } = await running;
  assert.equal(subject, "CN=first");
  assert.equal(text.length - text.indexOf("\r\n\r\n") - 4, statSync(initrd).size);
});
