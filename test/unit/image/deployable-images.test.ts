import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { SystemClock } from "../../../src/core/clock.ts";
import type { Fault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { bytes } from "../../../src/core/units.ts";
import type { ImageFormat } from "../../../src/domain/image-format.ts";
import { ImageCache } from "../../../src/image/cache.ts";
import { type DeployableImage, DeployableImages } from "../../../src/image/deployable-images.ts";
import { ImageShelf } from "../../../src/image/image-shelf.ts";
import { boundToUs } from "../../bound-to-us.ts";
import { gone } from "../../gone.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-convert-"));
chmodSync(root, 0o755); // where tests run as root, qemu-img is nobody
after(() => rmSync(root, { recursive: true }));
const originals = join(root, "originals");
mkdirSync(originals);

const DISK_BYTES = 70 * 1024 * 1024 + 512;
const raw = makeRaw("disk.raw", DISK_BYTES);
/** Whole blocks of every format: the last byte of its images is one of the disk. */
const round = makeRaw("round.raw", 80 * 1024 * 1024);

/** Data at the ends and in between, the rest a hole. */
function makeRaw(name: string, size: number): string {
  const path = join(originals, name);
  const file = openSync(path, "w");
  ftruncateSync(file, size);
  for (const [at, length] of [
    [0, 700],
    [3_000_001, 200_000],
    [34_000_000, 5_000_000],
    [size - 600, 600],
  ] as const)
    writeSync(file, randomBytes(length), 0, length, at);
  closeSync(file);
  return path;
}

function qemuImg(...words: string[]): string {
  return execFileSync("qemu-img", words, { encoding: "utf8", stdio: "pipe" });
}

let made = 0;

function aPath(ending: string): string {
  made += 1;
  return join(originals, `${made}.${ending}`);
}

function convert(format: string, options?: string, from = raw): string {
  const path = aPath(format);
  qemuImg("convert", "-f", "raw", "-O", format, ...(options === undefined ? [] : ["-o", options]), from, path);
  return path;
}

/** A copy with bytes changed at places. */
function changed(path: string, changes: readonly (readonly [number, Buffer])[], length?: number): string {
  const content = readFileSync(path);
  for (const [at, put] of changes) put.copy(content, at);
  const copy = aPath("changed");
  writeFileSync(copy, content.subarray(0, length));
  return copy;
}

interface House extends AsyncDisposable {
  readonly directory: string;
  fetch(source: string, format: ImageFormat, options?: Partial<FetchWords>): Promise<DeployableImage>;
}

interface FetchWords {
  readonly signal: AbortSignal;
  readonly checksum: string;
  readonly onProgress: (bytes: number, total: number) => void;
}

async function house(options: { directory?: string; program?: string } = {}): Promise<House> {
  made += 1;
  const { directory = join(root, `shelf-${made}`), program } = options;
  const clock = new SystemClock();
  const log = silentLog;
  const shelf = new ImageShelf({ directory, maximumBytes: bytes(1 << 30), clock, random: new SystemRandom() });
  await shelf.open();
  const fileDirectories = [originals];
  const cache = new ImageCache({ shelf, fileDirectories, clock, log });
  const qemu = program === undefined ? {} : { qemuImg: program };
  const images = new DeployableImages({ cache, shelf, fileDirectories, clock, log, ...qemu });
  return {
    directory,
    fetch: async (source, format, { signal = new AbortController().signal, checksum, onProgress = () => {} } = {}) =>
      await images.fetch(
        { source, format, checksum: checksum === undefined ? undefined : { algorithm: "sha256", value: checksum } },
        { signal, log, onProgress },
      ),
    [Symbol.asyncDispose]: async () => {
      await images[Symbol.asyncDispose]();
      await cache[Symbol.asyncDispose]();
    },
  };
}

function sha256(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

/** Files of images and drafts. */
function shelved(directory: string): readonly string[] {
  return readdirSync(directory).filter((name) => name !== "empty");
}

function refusal(code: string): (error: Fault) => boolean {
  return (error) => {
    assert.equal(error.code, code, error.message);
    assert.equal(error.retry, "never");
    return true;
  };
}

const KINDS = [
  ["vmdk", "subformat=monolithicSparse"],
  ["vmdk", "subformat=streamOptimized"],
  ["vhdx", "subformat=dynamic"],
  ["vhdx", "subformat=fixed"],
  ["vhdx", "subformat=dynamic,block_size=1M"],
  ["vdi", undefined],
  ["vdi", "static=on"],
] as const;

for (const [format, options] of KINDS) {
  test(`a ${format} image (${options ?? "dynamic"}) becomes a qcow2 image with the same disk, once`, async () => {
    const source = convert(format, options);
    const checksum = sha256(source);
    await using first = await house();
    const progress: number[] = [];
    const onProgress = (count: number, total: number): void => void progress.push(count / total);
    using image = await first.fetch(source, format, { checksum, onProgress });
    assert.equal(image.format, "qcow2");
    assert.match(qemuImg("compare", "-f", "qcow2", "-F", "raw", image.path, raw), /identical/);
    assert.deepEqual(image.checksum, { algorithm: "sha256", value: sha256(image.path) });
    assert.equal(statSync(image.path).mode & 0o777, 0o600);
    assert.equal(statSync(image.path).uid, process.getuid?.());
    assert.equal(progress.at(-1), 1);
    using again = await first.fetch(source, format, { checksum });
    assert.equal(again.path, image.path);
    await using restarted = await house({ directory: first.directory });
    using later = await restarted.fetch(source, format, { checksum });
    assert.equal(later.path, image.path);
    assert.deepEqual(later.checksum, image.checksum);
  });
}

test("an image without a checksum is converted again when its file is another, and only then", async () => {
  const source = convert("vdi");
  await using one = await house();
  using first = await one.fetch(source, "vdi");
  using second = await one.fetch(source, "vdi");
  assert.equal(second.path, first.path);
  writeFileSync(source, readFileSync(convert("vdi", "static=on")));
  using third = await one.fetch(source, "vdi");
  assert.notEqual(third.path, first.path);
});

test("an image from a URL is downloaded whole and then converted; while its server calls it the same, nothing is done again", async () => {
  const content = readFileSync(convert("vmdk", "subformat=streamOptimized"));
  let sent = 0;
  const server = createServer((request, response) => {
    if (request.headers["if-none-match"] === '"a"') return void response.writeHead(304).end();
    sent += 1;
    response.writeHead(200, { etag: '"a"', "content-length": content.length }).end(content);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk.vmdk`;
  try {
    await using one = await house();
    const both = await Promise.all([one.fetch(url, "vmdk"), one.fetch(url, "vmdk")]);
    using third = await one.fetch(url, "vmdk");
    assert.deepEqual(
      both.map(({ path }) => path),
      [third.path, third.path],
    );
    assert.match(qemuImg("compare", "-f", "qcow2", "-F", "raw", third.path, raw), /identical/);
    assert.equal(sent, 1);
    for (const image of both) image[Symbol.dispose]();
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("an image that names another file, or is a part or a difference, is refused by name before qemu-img sees it", async () => {
  const sparse = convert("vmdk", "subformat=monolithicSparse");
  const overlay = aPath("vmdk");
  qemuImg("create", "-f", "vmdk", "-b", sparse, "-F", "vmdk", overlay);
  const vdi = convert("vdi");
  const vhdx = convert("vhdx");
  const parameters = readFileSync(vhdx).indexOf(Buffer.from("3767a1ca36fa434db3b633f0aa44e76b", "hex"), 192 << 10);
  assert.ok(parameters > 0);
  const parameterAt = readFileSync(vhdx).readUInt32LE(parameters + 16) + (parameters & ~0xffff);
  // A capacity of zero makes the embedded descriptor one that may name any file on the appliance.
  const lure = Buffer.from(
    '# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 4 FLAT "/etc/passwd" 0\n\0',
  );
  const cases: readonly (readonly [ImageFormat, string, string])[] = [
    ["vmdk", convert("vmdk", "subformat=monolithicFlat"), "vmdk.extents"],
    ["vmdk", convert("vmdk", "subformat=twoGbMaxExtentSparse"), "vmdk.extents"],
    [
      "vmdk",
      changed(sparse, [
        [12, Buffer.alloc(8)],
        [512, lure],
      ]),
      "vmdk.extents",
    ],
    ["vmdk", changed(sparse, [[512, lure]]), "vmdk.extents"],
    ["vmdk", overlay, "vmdk.parent"],
    ["vdi", changed(vdi, [[0x4c, Buffer.from([4])]]), "vdi.differencing"],
    ["vdi", changed(vdi, [[0x1b8, Buffer.from([9])]]), "vdi.differencing"],
    ["vhdx", changed(vhdx, [[parameterAt + 4, Buffer.from([2])]]), "vhdx.parent"],
  ];
  await using one = await house({ program: "/bin/false" });
  for (const [format, path, code] of cases) await assert.rejects(one.fetch(path, format), refusal(code), path);
  assert.deepEqual(shelved(one.directory), []);
});

test("an image that is not what it was said to be is refused", async () => {
  await using one = await house({ program: "/bin/false" });
  const paths = { vmdk: convert("vmdk"), vhdx: convert("vhdx"), vdi: convert("vdi"), qcow2: convert("qcow2"), raw };
  for (const said of ["vmdk", "vhdx", "vdi"] as const) {
    for (const [content, path] of Object.entries(paths))
      if (content !== said) await assert.rejects(one.fetch(path, said), refusal("image.format-mismatch"));
  }
});

test("an image that is cut off or damaged is refused, wherever, and leaves nothing", async () => {
  await using one = await house();
  let accepted = 0;
  for (const [format, options] of KINDS) {
    const whole = convert(format, options, round);
    const { size } = statSync(whole);
    for (const length of [600, 70_000, Math.floor(size / 2), size - 1_000_000])
      await assert.rejects(one.fetch(changed(whole, [], length), format), (error: Fault) => error.kind === "malformed");
    // There may be padding at the end; without it the disk is the same.
    const shortened = await one.fetch(changed(whole, [], size - 600), format).catch((error: unknown) => error as Fault);
    if ("path" in shortened)
      assert.match(qemuImg("compare", "-f", "qcow2", "-F", "raw", shortened.path, round), /identical/);
    else assert.equal(shortened.kind, "malformed");
    accepted += "path" in shortened ? 1 : 0;
  }
  const streamed = convert("vmdk", "subformat=streamOptimized");
  const torn = changed(streamed, [[Math.floor(statSync(streamed).size / 2), randomBytes(20_000)]]);
  await assert.rejects(one.fetch(torn, "vmdk"), refusal("image.convert"));
  assert.equal(shelved(one.directory).length, 2 * accepted);
});

test("a wrong checksum is that of the original, and is found before the conversion", async () => {
  await using one = await house({ program: "/bin/false" });
  await assert.rejects(one.fetch(convert("vdi"), "vdi", { checksum: "0".repeat(64) }), refusal("image.checksum"));
});

test("without qemu-img the fault names the package", async () => {
  await using one = await house({ program: join(root, "no-qemu-img") });
  await assert.rejects(one.fetch(convert("vdi"), "vdi"), (error: Fault) => {
    assert.match(error.message, /qemu-utils/);
    return error.code === "image.no-qemu-img" && error.kind === "unsupported";
  });
});

test("a sound image is converted within the bounds of memory, however qemu-img's threads happen to run", async () => {
  // With an arena of its own for each thread one in twelve ran into them.
  for (let round = 0; round < 12; round += 1) {
    await using one = await house();
    using _image = await one.fetch(convert("vdi"), "vdi");
  }
});

test("what qemu-img says before it is stopped is told", async () => {
  const program = join(root, "dying-qemu-img");
  writeFileSync(program, "#!/bin/sh\necho /dev/fd/3: no more memory >&2\nkill -ABRT $$\n", { mode: 0o755 });
  await using one = await house({ program });
  await assert.rejects(one.fetch(convert("vdi"), "vdi"), (error: Fault) => {
    assert.match(error.message, /\(SIGABRT: the image: no more memory\)$/);
    return error.code === "image.convert-bounds";
  });
});

test("an image whose disk has no room is refused before qemu-img runs", async () => {
  const source = aPath("vdi");
  const { bavail, bsize } = statfsSync(originals);
  qemuImg("create", "-f", "vdi", "-o", "static=on", source, String(bavail * bsize + 2 ** 35));
  await using one = await house({ program: "/bin/false" });
  await assert.rejects(one.fetch(source, "vdi"), refusal("image.space"));
  rmSync(source);
});

/** Stands in for a qemu-img that takes its time: tells its process id as its progress. */
function slowProgram(): string {
  const path = join(root, "slow-qemu-img");
  writeFileSync(path, '#!/bin/sh\nprintf "    (%d.00/100%%)\\r" $$\nexec sleep 600\n', { mode: 0o755 });
  return path;
}

function processOf(progress: number, total: number): number {
  return Math.round((progress / total) * 100);
}

test("who no longer wants a conversion ends it, and its process", async () => {
  await using one = await house({ program: slowProgram() });
  const leaver = new AbortController();
  let pid = 0;
  const onProgress = (count: number, total: number): void => {
    pid = processOf(count, total);
    leaver.abort();
  };
  const fetching = one.fetch(convert("vdi"), "vdi", { signal: leaver.signal, onProgress });
  await assert.rejects(fetching, (error: Fault) => error.kind === "cancelled");
  assert.ok(pid > 0);
  await gone(pid);
  while (shelved(one.directory).length > 0) await pause(5);
});

test("the process ends with the daemon, also by kill -9; the next one sweeps up and converts", async () => {
  const source = convert("vdi");
  made += 1;
  const directory = join(root, `shelf-${made}`);
  const words = [join(import.meta.dirname, "fetch-child.js"), directory, source, "vdi", slowProgram()];
  const child = spawn(...boundToUs(process.execPath, ...words), { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  child.kill("SIGKILL");
  await ended;
  await gone(processOf(Number(line), DISK_BYTES));
  assert.ok(shelved(directory).some((name) => name.endsWith(".part")));
  await using one = await house({ directory });
  assert.deepEqual(shelved(directory), []);
  using image = await one.fetch(source, "vdi");
  assert.match(qemuImg("compare", "-f", "qcow2", "-F", "raw", image.path, raw), /identical/);
});
