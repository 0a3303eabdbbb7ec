import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer as createTlsServer } from "node:https";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { SystemClock } from "../../../src/core/clock.ts";
import type { Fault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { bytes, millis } from "../../../src/core/units.ts";
import { ImageCache, type ImageCacheOptions } from "../../../src/image/cache.ts";
import { ImageShelf, type ImageShelfOptions } from "../../../src/image/image-shelf.ts";
import type { ImageChecksum } from "../../../src/image/image-source.ts";
import { boundToUs } from "../../bound-to-us.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-images-"));
after(() => rmSync(root, { recursive: true }));
let made = 0;

function aDirectory(): string {
  made += 1;
  return join(root, String(made));
}

function sha256(content: Buffer): ImageChecksum {
  return { algorithm: "sha256", value: createHash("sha256").update(content).digest("hex") };
}

/** A clock whose pauses are short, so that retries can be waited for. */
class QuickClock extends SystemClock {
  override after(duration: Parameters<SystemClock["after"]>[0], call: () => void): () => void {
    return super.after(millis(duration / 200), call);
  }
}

async function open(
  options: Partial<Omit<ImageCacheOptions, "shelf"> & Pick<ImageShelfOptions, "directory" | "maximumBytes">> = {},
): Promise<ImageCache> {
  const { directory = aDirectory(), maximumBytes = bytes(10_000_000), ...others } = options;
  const clock = new QuickClock();
  const shelf = new ImageShelf({ directory, maximumBytes, clock, random: new SystemRandom() });
  await shelf.open();
  return new ImageCache({ shelf, fileDirectories: [], clock, log: silentLog, silence: millis(30_000), ...others });
}

const calm = (): { readonly signal: AbortSignal; readonly log: typeof silentLog } => ({
  signal: new AbortController().signal,
  log: silentLog,
});

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A web server of the test's own on loopback, closed when disposed of. */
async function serve(
  handler: Handler,
): Promise<AsyncDisposable & { readonly url: string; readonly requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    handler(request, response, requests.length);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const content = randomBytes(300_000);

test("an image is fetched once, checked, kept under its checksum, and found again after a restart", async () => {
  await using server = await serve((_request, response) => response.end(content));
  const directory = aDirectory();
  {
    await using cache = await open({ directory });
    const progress: number[] = [];
    using image = await cache.fetch(
      { source: `${server.url}/a.raw`, checksum: sha256(content) },
      { ...calm(), onProgress: (count) => progress.push(count) },
    );
    assert.deepEqual(readFileSync(image.path), content);
    assert.equal(image.bytes, content.length);
    assert.equal(progress.at(-1), content.length);
    assert.equal(statSync(image.path).mode & 0o777, 0o600);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
  }
  await using again = await open({ directory });
  using image = await again.fetch({ source: "http://127.0.0.1:1/elsewhere", checksum: sha256(content) }, calm());
  assert.deepEqual(readFileSync(image.path), content);
  assert.equal(server.requests.length, 1);
});

for (const algorithm of ["md5", "sha256", "sha512"] as const) {
  test(`a wrong ${algorithm} is refused, names both values, and leaves nothing`, async () => {
    await using server = await serve((_request, response) => response.end(content));
    const directory = aDirectory();
    await using cache = await open({ directory });
    const right = createHash(algorithm).update(content).digest("hex");
    const wrong = createHash(algorithm).update("x").digest("hex");
    await assert.rejects(
      cache.fetch({ source: `${server.url}/a`, checksum: { algorithm, value: wrong } }, calm()),
      (error: Fault) => {
        assert.equal(error.detail["actual"], right);
        assert.equal(error.detail["expected"], wrong);
        return error.kind === "invalid" && error.code === "image.checksum" && error.retry === "never";
      },
    );
    assert.deepEqual(readdirSync(directory), []);
  });
}

test("all who want the same image at once share one transfer", async () => {
  await using server = await serve((_request, response) => {
    response.write(content.subarray(0, 1000));
    setTimeout(() => response.end(content.subarray(1000)), 50);
  });
  await using cache = await open();
  const images = await Promise.all(
    Array.from({ length: 8 }, () => cache.fetch({ source: `${server.url}/a`, checksum: sha256(content) }, calm())),
  );
  assert.equal(server.requests.length, 1);
  assert.equal(new Set(images.map((image) => image.path)).size, 1);
});

test("one who goes away does not disturb the others; the last one who goes away ends the transfer", async () => {
  const closed: string[] = [];
  await using server = await serve((request, response) => {
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, 1000));
    response.on("close", () => closed.push(request.url ?? ""));
    if (request.url === "/shared") setTimeout(() => response.end(content.subarray(1000)), 80);
  });
  const directory = aDirectory();
  await using cache = await open({ directory, silence: millis(5000) });
  const leaver = new AbortController();
  const left = cache.fetch(
    { source: `${server.url}/shared`, checksum: sha256(content) },
    { signal: leaver.signal, log: silentLog },
  );
  const stayed = cache.fetch({ source: `${server.url}/shared`, checksum: sha256(content) }, calm());
  leaver.abort();
  await assert.rejects(left, (error: Fault) => error.kind === "cancelled");
  using image = await stayed;
  assert.deepEqual(readFileSync(image.path), content);
  const last = new AbortController();
  const alone = cache.fetch({ source: `${server.url}/alone` }, { signal: last.signal, log: silentLog });
  while (!server.requests.some((request) => request.url === "/alone")) await pause(5);
  last.abort();
  await assert.rejects(alone, (error: Fault) => error.kind === "cancelled");
  while (!closed.includes("/alone")) await pause(5);
  while (readdirSync(directory).some((name) => name.endsWith(".part"))) await pause(5);
});

test("a transfer that breaks is resumed where it stopped, if the server can tell that it is the same", async () => {
  const ranges: (string | undefined)[] = [];
  await using server = await serve((request, response, count) => {
    ranges.push(request.headers.range);
    assert.equal(request.headers["if-range"], count === 1 ? undefined : '"v1"');
    const from = Number(/bytes=([0-9]+)-/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const until = Math.min(content.length, from + 100_000);
    response.writeHead(from === 0 ? 200 : 206, {
      etag: '"v1"',
      "content-length": content.length - from,
      ...(from === 0 ? {} : { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
    });
    response.write(content.subarray(from, until), () =>
      until < content.length ? response.socket?.end() : response.end(),
    );
  });
  await using cache = await open();
  using image = await cache.fetch({ source: `${server.url}/a`, checksum: sha256(content) }, calm());
  assert.deepEqual(readFileSync(image.path), content);
  assert.deepEqual(ranges, [undefined, "bytes=100000-", "bytes=200000-"]);
});

test("a transfer whose resource changed meanwhile, or that cannot be resumed, begins anew", async () => {
  for (const headers of [{ etag: '"a"' }, {}] as const) {
    await using server = await serve((request, response, count) => {
      if (count > 1) assert.equal(request.headers.range, "etag" in headers ? "bytes=1000-" : undefined);
      response.writeHead(200, { "content-length": content.length, ...headers });
      if (count === 1) response.write(Buffer.alloc(1000), () => response.socket?.end());
      else response.end(content);
    });
    await using cache = await open();
    using image = await cache.fetch({ source: `${server.url}/a`, checksum: sha256(content) }, calm());
    assert.deepEqual(readFileSync(image.path), content);
    assert.equal(server.requests.length, 2);
  }
});

test("a server that falls silent or answers 503 is asked again, and given up in the end", async () => {
  await using server = await serve((request, response, count) => {
    if (request.url === "/never") response.writeHead(503).end();
    else if (count === 1) response.writeHead(503).end();
    else if (count === 2) response.write("x");
    else response.end(content);
  });
  await using cache = await open({ silence: millis(400) });
  using image = await cache.fetch({ source: `${server.url}/a`, checksum: sha256(content) }, calm());
  assert.equal(image.bytes, content.length);
  await assert.rejects(
    cache.fetch({ source: `${server.url}/never` }, calm()),
    (error: Fault) => error.kind === "unreachable" && error.code === "image.http-503",
  );
});

test("404 is the operator's mistake, told at once without user name, password or query", async () => {
  await using server = await serve((_request, response) => response.writeHead(404).end("no"));
  await using cache = await open();
  const source = server.url.replace("://", "://user:hush@");
  await assert.rejects(cache.fetch({ source: `${source}/gone?token=hush` }, calm()), (error: Fault) => {
    assert.equal(error.message.includes("hush"), false);
    assert.equal(error.detail["field"], "instance_info.image_source");
    return error.kind === "invalid" && error.code === "image.http-404";
  });
  assert.equal(server.requests.length, 1);
  assert.equal(server.requests[0]?.headers.authorization, `Basic ${Buffer.from("user:hush").toString("base64")}`);
});

test("redirects are followed, up to five, and credentials do not go to another server", async () => {
  await using other = await serve((_request, response) => response.end(content));
  await using server = await serve((request, response) => {
    if (request.url === "/circle") response.writeHead(302, { location: "/circle" }).end();
    else if (request.url?.startsWith("/on") === true) response.writeHead(302, { location: `${request.url}on` }).end();
    else response.writeHead(302, { location: `${other.url}/b` }).end();
  });
  await using cache = await open();
  using image = await cache.fetch(
    { source: `${server.url.replace("://", "://u:p@")}/a`, checksum: sha256(content) },
    calm(),
  );
  assert.equal(image.bytes, content.length);
  assert.equal(other.requests[0]?.headers.authorization, undefined);
  for (const path of ["on", "circle"]) {
    const before = server.requests.length;
    await assert.rejects(
      cache.fetch({ source: `${server.url}/${path}` }, calm()),
      (error: Fault) => error.code === "image.redirect" && error.kind === "invalid",
    );
    assert.equal(server.requests.length - before, 6);
  }
});

test("a redirect to anything but a web server is refused", async () => {
  await using server = await serve((_request, response) =>
    response.writeHead(302, { location: "file:///etc/passwd" }).end(),
  );
  const directory = aDirectory();
  await using cache = await open({ directory });
  await assert.rejects(
    cache.fetch({ source: `${server.url}/a` }, calm()),
    (error: Fault) => error.code === "image.redirect" && error.kind === "invalid",
  );
  assert.deepEqual(readdirSync(directory), []);
});

test("without a checksum the server is asked each time and sends only what changed; a reader keeps the file it has", async () => {
  let version = 1;
  await using server = await serve((request, response) => {
    const etag = `"v${version}"`;
    if (request.headers["if-none-match"] === etag) response.writeHead(304).end();
    else response.writeHead(200, { etag }).end(`version ${version}`);
  });
  const directory = aDirectory();
  {
    await using cache = await open({ directory });
    using first = await cache.fetch({ source: `${server.url}/a` }, calm());
    using second = await cache.fetch({ source: `${server.url}/a` }, calm());
    assert.equal(first.path, second.path);
    version = 2;
    using third = await cache.fetch({ source: `${server.url}/a` }, calm());
    assert.equal(readFileSync(third.path, "utf8"), "version 2");
    assert.equal(readFileSync(first.path, "utf8"), "version 1");
  }
  await using again = await open({ directory });
  using fourth = await again.fetch({ source: `${server.url}/a` }, calm());
  assert.equal(readFileSync(fourth.path, "utf8"), "version 2");
  assert.equal(server.requests.length, 4);
  assert.equal(readdirSync(directory).filter((name) => name.endsWith(".img")).length, 1);
});

test("what was not used for longest makes room; what is in use stays", async () => {
  const contents = [1, 2, 3, 4].map((fill) => Buffer.alloc(400_000, fill));
  await using server = await serve((request, response) => response.end(contents[Number(request.url?.slice(1))]));
  const directory = aDirectory();
  await using cache = await open({ directory, maximumBytes: bytes(1_000_000) });
  const fetch = (index: number) =>
    cache.fetch({ source: `${server.url}/${index}`, checksum: sha256(contents[index] ?? Buffer.alloc(0)) }, calm());
  const has = (index: number): boolean =>
    readdirSync(directory).some(
      (name) => name.startsWith(`sha256-${sha256(contents[index] ?? Buffer.alloc(0)).value}`) && name.endsWith(".img"),
    );
  using first = await fetch(0);
  (await fetch(1))[Symbol.dispose]();
  await pause(5);
  (await fetch(2))[Symbol.dispose]();
  assert.deepEqual([0, 1, 2].map(has), [true, false, true]);
  (await fetch(3))[Symbol.dispose]();
  assert.deepEqual([0, 1, 2, 3].map(has), [true, false, false, true]);
  assert.equal(readFileSync(first.path)[0], 1);
});

test("what an earlier process left half done is removed at the start", async () => {
  const directory = aDirectory();
  mkdirSync(directory);
  writeFileSync(join(directory, "sha256-00.abc.part"), "half");
  await using _cache = await open({ directory });
  assert.deepEqual(readdirSync(directory), []);
});

test("an image that cannot fit on the disk is refused before it is written", async () => {
  await using server = await serve((_request, response) => {
    response.writeHead(200, { "content-length": String(2 ** 52) });
    response.write("x");
  });
  await using cache = await open();
  await assert.rejects(
    cache.fetch({ source: `${server.url}/a` }, calm()),
    (error: Fault) => error.kind === "storage" && error.code === "image.space",
  );
});

test("files are used where they are, if they lie in an allowed directory, symbolic links followed", async () => {
  const allowed = aDirectory();
  const outside = aDirectory();
  for (const directory of [allowed, outside, join(allowed, "sub")]) mkdirSync(directory);
  writeFileSync(join(allowed, "sub", "a.raw"), content);
  writeFileSync(join(outside, "b.raw"), content);
  symlinkSync(join(outside, "b.raw"), join(allowed, "link.raw"));
  await using cache = await open({ fileDirectories: [allowed] });
  for (const source of [join(allowed, "sub", "a.raw"), `file://${allowed}/sub/a.raw`, `${allowed}/sub/../sub/a.raw`]) {
    using image = await cache.fetch({ source, checksum: sha256(content) }, calm());
    assert.equal(image.path, join(allowed, "sub", "a.raw"));
  }
  const bad = [
    join(outside, "b.raw"),
    join(allowed, "link.raw"),
    join(allowed, "none.raw"),
    `${allowed}/../${outside.split("/").at(-1)}/b.raw`,
    allowed,
    `${allowed}x`,
    "ftp://h/x",
    "a.raw",
    "file://host/x",
    "/etc/passwd",
    join(allowed, "sub"),
  ];
  for (const source of bad) {
    await assert.rejects(
      cache.fetch({ source }, calm()),
      (error: Fault) => error.kind === "invalid" && error.detail["field"] === "instance_info.image_source",
      source,
    );
  }
});

test("using a cached image again leaves its file untouched, so that a stream from it does not take it for changed", async () => {
  await using server = await serve((_request, response) => response.end(content));
  await using cache = await open();
  const image = { source: `${server.url}/a`, checksum: sha256(content) };
  using first = await cache.fetch(image, calm());
  const before = statSync(first.path, { bigint: true });
  using second = await cache.fetch(image, calm());
  const after = statSync(second.path, { bigint: true });
  assert.deepEqual([after.ino, after.mtimeNs, after.ctimeNs], [before.ino, before.mtimeNs, before.ctimeNs]);
});

test("a local file with a wrong checksum is refused before anything else happens, and names both values", async () => {
  const directory = aDirectory();
  mkdirSync(directory);
  const path = join(directory, "a.raw");
  writeFileSync(path, content);
  await using cache = await open({ fileDirectories: [directory] });
  for (const algorithm of ["md5", "sha256", "sha512"] as const) {
    const value = createHash(algorithm).update("x").digest("hex");
    await assert.rejects(cache.fetch({ source: path, checksum: { algorithm, value } }, calm()), (error: Fault) => {
      assert.equal(error.detail["actual"], createHash(algorithm).update(content).digest("hex"));
      return error.code === "image.checksum" && error.kind === "invalid" && error.retry === "never";
    });
  }
});

test("a local file that was found right is not read again, until it is another", async () => {
  const directory = aDirectory();
  mkdirSync(directory);
  const path = join(directory, "a.raw");
  writeFileSync(path, content);
  await using cache = await open({ fileDirectories: [directory] });
  const reads = async (checksum: ImageChecksum): Promise<number> => {
    const progress: number[] = [];
    using _image = await cache.fetch(
      { source: path, checksum },
      { ...calm(), onProgress: (count) => progress.push(count) },
    );
    return progress.at(-1) ?? 0;
  };
  assert.equal(await reads(sha256(content)), content.length);
  assert.equal(await reads(sha256(content)), 0);
  const other = randomBytes(content.length);
  writeFileSync(path, other);
  await assert.rejects(reads(sha256(content)), (error: Fault) => error.code === "image.checksum");
  assert.equal(await reads(sha256(other)), other.length);
});

test("who no longer wants a checksum ends its computation", async () => {
  const directory = aDirectory();
  mkdirSync(directory);
  const path = join(directory, "large.raw");
  writeFileSync(path, "");
  truncateSync(path, 2 ** 40); // hours of reading
  await using cache = await open({ fileDirectories: [directory] });
  const leaver = new AbortController();
  await assert.rejects(
    cache.fetch(
      { source: path, checksum: sha256(content) },
      { signal: leaver.signal, log: silentLog, onProgress: () => leaver.abort() },
    ),
    (error: Fault) => error.kind === "cancelled",
  );
});

/** A server that sends `first` bytes of the content and the rest when told to. */
async function serveInTwo(first: number, whole: Buffer = content) {
  let goOn: () => void = () => {};
  const told = new Promise<void>((resolve) => (goOn = resolve));
  const server = await serve((_request, response) => {
    response.writeHead(200, { "content-length": whole.length, etag: '"v1"' });
    response.write(whole.subarray(0, first));
    void told.then(() => response.end(whole.subarray(first)));
  });
  return { server, goOn };
}

test("an image that may be used early is handed out as it arrives, and is whole and checked in the end", async () => {
  const { server, goOn } = await serveInTwo(200_000);
  await using _server = server;
  await using cache = await open();
  const wanted = { source: `${server.url}/a`, checksum: sha256(content) };
  {
    using early = await cache.fetch(wanted, { ...calm(), early: "begin" });
    assert.ok(early.download !== undefined);
    assert.equal(early.bytes, content.length);
  }
  const whole = cache.fetch(wanted, calm());
  goOn();
  using image = await whole;
  assert.equal(image.download, undefined);
  assert.deepEqual(readFileSync(image.path), content);
  using again = await cache.fetch(wanted, { ...calm(), early: "continue" });
  assert.equal(again.path, image.path);
  assert.equal(server.requests.length, 1);
});

/** How often this process has a file of the shelf open, under its present name. */
function openFiles(directory: string): number {
  const targets = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // it was the listing's own
    }
  });
  return targets.filter((target) => target.startsWith(directory)).length;
}

test("the file of a download stays open while somebody may read it as it arrives, and no longer: removed, it would take up room", async () => {
  const { server, goOn } = await serveInTwo(200_000);
  await using _server = server;
  const directory = aDirectory();
  await using cache = await open({ directory });
  const wanted = { source: `${server.url}/a`, checksum: sha256(content) };
  const early = await cache.fetch(wanted, { ...calm(), early: "begin" });
  const whole = cache.fetch(wanted, calm());
  goOn();
  (await whole)[Symbol.dispose]();
  assert.ok(openFiles(directory) > 0);
  early[Symbol.dispose]();
  assert.equal(openFiles(directory), 0);
});

test("a transfer that failed while nobody waited tells the next who goes on with it, once", async () => {
  const { server, goOn } = await serveInTwo(200_000);
  await using _server = server;
  const directory = aDirectory();
  await using cache = await open({ directory });
  const wanted = { source: `${server.url}/a`, checksum: sha256(randomBytes(1)) };
  (await cache.fetch(wanted, { ...calm(), early: "begin" }))[Symbol.dispose]();
  goOn();
  while (readdirSync(directory).length > 0) await pause(5);
  const refused = (error: Fault): boolean => error.code === "image.checksum" && error.kind === "invalid";
  await assert.rejects(cache.fetch(wanted, { ...calm(), early: "continue" }), refused);
  assert.equal(server.requests.length, 1);
  await assert.rejects(cache.fetch(wanted, calm()), refused);
  assert.equal(server.requests.length, 2);
});

test("zeroes stay holes, and only what is on the disk counts against the cache", async () => {
  const sparse = Buffer.concat([content, Buffer.alloc(4 << 20), content]);
  await using server = await serve((_request, response) => response.end(sparse));
  await using cache = await open({ maximumBytes: bytes(2_000_000) });
  using image = await cache.fetch({ source: `${server.url}/a`, checksum: sha256(sparse) }, calm());
  assert.deepEqual(readFileSync(image.path), sparse);
  assert.ok(statSync(image.path).blocks * 512 < 1_000_000);
  (await cache.fetch({ source: `${server.url}/b` }, calm()))[Symbol.dispose]();
  using still = await cache.fetch({ source: `${server.url}/a`, checksum: sha256(sparse) }, calm());
  assert.equal(still.path, image.path);
  assert.equal(server.requests.length, 2);
});

test("an image server that nobody vouches for is refused; one that image.ca_file vouches for is not", async () => {
  const directory = aDirectory();
  mkdirSync(directory);
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const subject = ["-subj", "/CN=images", "-addext", "subjectAltName=IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "pipe" });
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_request, response) =>
    response.end(content),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const source = `https://127.0.0.1:${(server.address() as AddressInfo).port}/a`;
  try {
    await using strict = await open();
    await assert.rejects(
      strict.fetch({ source }, calm()),
      (error: Fault) => error.code === "image.tls" && error.kind === "refused" && error.message.includes(source),
    );
    await using trusting = await open({ caFile: cert });
    using image = await trusting.fetch({ source, checksum: sha256(content) }, calm());
    assert.deepEqual(readFileSync(image.path), content);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

/** Sends the first 200 000 bytes of the content and then nothing, until told to answer wholly; notes what was asked for. */
async function serveHaltingly(etag = '"v1"') {
  const state = { halting: true, etag };
  const ranges: (string | undefined)[] = [];
  const server = await serve((request, response) => {
    const { range, "if-range": condition } = request.headers;
    ranges.push(range);
    const from = condition === state.etag ? Number(/bytes=([0-9]+)-/.exec(range ?? "")?.[1] ?? 0) : 0;
    response.writeHead(from === 0 ? 200 : 206, {
      etag: state.etag,
      "content-length": content.length - from,
      ...(from === 0 ? {} : { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` }),
    });
    if (state.halting) response.write(content.subarray(from, 200_000));
    else response.end(content.subarray(from));
  });
  return { server, state, ranges };
}

function notedBytes(directory: string): number {
  const name = readdirSync(directory).find((one) => one.endsWith(".part.json"));
  if (name === undefined) return 0;
  return (JSON.parse(readFileSync(join(directory, name), "utf8")) as { bytes: number }).bytes;
}

test("a download that kill -9 interrupted goes on where it was on the disk, and its checksum is that of the whole", async () => {
  const { server, state, ranges } = await serveHaltingly();
  await using _server = server;
  const directory = aDirectory();
  const source = `${server.url}/a`;
  const child = spawn(
    ...boundToUs(process.execPath, join(import.meta.dirname, "fetch-child.js"), directory, source, "raw"),
    {
      stdio: "ignore",
    },
  );
  const ended = once(child, "exit");
  try {
    while (!existsSync(directory) || notedBytes(directory) < 200_000) await pause(10);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
  state.halting = false;
  await using cache = await open({ directory });
  const progress: number[] = [];
  using image = await cache.fetch({ source }, { ...calm(), onProgress: (count) => progress.push(count) });
  assert.deepEqual(readFileSync(image.path), content);
  assert.deepEqual(ranges, [undefined, "bytes=200000-"]);
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.includes(".part")),
    [],
  );
});

test("a download that an orderly end interrupted goes on; one whose resource is another by then begins anew", async () => {
  for (const etag of ['"v1"', '"v2"']) {
    const { server, state, ranges } = await serveHaltingly();
    await using _server = server;
    const directory = aDirectory();
    const wanted = { source: `${server.url}/a`, checksum: sha256(content) };
    {
      await using cache = await open({ directory });
      const fetching = cache.fetch(wanted, calm());
      fetching.catch(() => undefined);
      while (notedBytes(directory) === 0) await pause(5);
    }
    const noted = notedBytes(directory);
    state.halting = false;
    state.etag = etag;
    await using cache = await open({ directory });
    using image = await cache.fetch(wanted, calm());
    assert.deepEqual(readFileSync(image.path), content);
    assert.deepEqual(ranges, [undefined, `bytes=${noted}-`]);
  }
});

test("what is left of a download goes before any image when room is needed, and is not taken for one from elsewhere", async () => {
  const { server, state, ranges } = await serveHaltingly();
  await using _server = server;
  const directory = aDirectory();
  const checksum = sha256(content);
  {
    await using cache = await open({ directory });
    cache.fetch({ source: `${server.url}/a`, checksum }, calm()).catch(() => undefined);
    while (notedBytes(directory) === 0) await pause(5);
  }
  state.halting = false;
  await using cache = await open({ directory, maximumBytes: bytes(350_000) });
  using _other = await cache.fetch({ source: `${server.url}/b` }, calm());
  assert.equal(notedBytes(directory), 0);
  using image = await cache.fetch({ source: `${server.url}/c`, checksum }, calm());
  assert.deepEqual(readFileSync(image.path), content);
  assert.deepEqual(ranges, [undefined, undefined, undefined]);
});
