import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  mkdtempSync,
  openSync,
  closeSync,
  ftruncateSync,
  writeSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  readdirSync,
} from "node:fs";
import { once } from "node:events";
import { createServer as createWebServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { SystemClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { bytes } from "../../../src/core/units.ts";
import { ImageCache } from "../../../src/image/cache.ts";
import { DeployableImages } from "../../../src/image/deployable-images.ts";
import { ImageShelf } from "../../../src/image/image-shelf.ts";
import {
  type HolePolicy,
  type IscsiTarget,
  streamImage,
  type StreamProgress,
  type StreamRequest,
} from "../../../src/image/stream.ts";
import { Tgtd } from "./tgtd.ts";

const IMAGE_BYTES = 24 << 20;
const DISK_BYTES = 32 << 20;

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Through the addon onto tgtd (package tgt): what the daemon does, on loopback. */
describe("streamImage", () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-stream."));
  const disk = join(directory, "disk");
  const raw = join(directory, "raw");
  const qcow2 = join(directory, "qcow2");
  let tgtd: Tgtd;
  let target: IscsiTarget;

  const request = (change: Partial<StreamRequest> = {}): StreamRequest => ({
    source: { path: raw, format: "raw" },
    targets: [target],
    policy: "write-zeroes",
    verify: "none",
    ...change,
  });
  const never = new AbortController().signal;
  const fillDisk = (byte: number): void => writeFileSync(disk, Buffer.alloc(DISK_BYTES, byte));
  const sockets = (): number =>
    readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return execFileSync("readlink", [`/proc/${process.pid}/fd/${fd}`], { encoding: "utf8" }).startsWith("socket:");
      } catch {
        return false;
      }
    }).length;

  before(async () => {
    const file = openSync(raw, "w");
    ftruncateSync(file, IMAGE_BYTES);
    for (let at = 0; at < IMAGE_BYTES; at += randomInt(1, 20) * 100_000)
      writeSync(file, randomBytes(randomInt(1, 300_000)), 0, undefined, Math.min(at, IMAGE_BYTES - 300_000));
    closeSync(file);
    execFileSync("qemu-img", ["convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", raw, qcow2]);
    fillDisk(0xa5);
    tgtd = await Tgtd.start([disk]);
    const [only] = tgtd.targets;
    assert.ok(only !== undefined);
    target = only;
  });

  after(() => {
    tgtd[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  for (const policy of ["write-zeroes", "discard", "disk-is-blank"] satisfies HolePolicy[]) {
    test(`writes raw and qcow2 images byte for byte, with policy ${policy}`, async () => {
      for (const source of [
        { path: raw, format: "raw" },
        { path: qcow2, format: "qcow2" },
      ] as const) {
        fillDisk(policy === "disk-is-blank" ? 0 : 0xa5);
        const news: StreamProgress[] = [];
        const result = await streamImage(request({ source, policy, verify: "read-back" }), {
          signal: never,
          onProgress: (progress) => news.push(progress),
        });
        const [written] = result.targets;
        assert.equal(result.virtualSize, IMAGE_BYTES);
        assert.ok(written?.ok);
        assert.equal(written.bytes + written.skipped, IMAGE_BYTES);
        assert.match(written.digest, /^crc32c:[0-9a-f]{8}$/);
        assert.ok(
          readFileSync(disk).subarray(0, IMAGE_BYTES).equals(readFileSync(raw)),
          "the disk differs from the image",
        );
        assert.equal(news.at(-1)?.targets[0]?.stage, "finished");
        assert.equal(news.at(-1)?.targets[0]?.verified, written.bytes);
      }
    });
  }

  test("writes what a vmdk image holds, by way of its converted one", async () => {
    const vmdk = join(directory, "disk.vmdk");
    execFileSync("qemu-img", ["convert", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, vmdk]);
    fillDisk(0xa5);
    const clock = new SystemClock();
    const shelf = new ImageShelf({
      directory: join(directory, "shelf"),
      maximumBytes: bytes(1 << 30),
      clock,
      random: new SystemRandom(),
    });
    const parts = { shelf, fileDirectories: [directory], clock, log: silentLog };
    await using cache = new ImageCache(parts);
    await using images = new DeployableImages({ ...parts, cache });
    const options = { signal: never, log: silentLog, early: "begin" } as const;
    using image = await images.fetch({ source: vmdk, format: "vmdk" }, options);
    const { path, format, checksum } = image;
    assert.ok(checksum !== undefined);
    const result = await streamImage(request({ source: { path, format, checksum } }), { signal: never });
    assert.ok(result.targets[0]?.ok);
    assert.deepEqual(result.checksum, checksum);
    assert.ok(readFileSync(disk).subarray(0, IMAGE_BYTES).equals(readFileSync(raw)), "the disk differs from the image");
  });

  test("rejects an image whose checksum is wrong, before the disk is touched", async () => {
    fillDisk(0xa5);
    const source = { path: raw, format: "raw", checksum: { algorithm: "sha256", value: "0".repeat(64) } } as const;
    await assert.rejects(
      streamImage(request({ source }), { signal: never }),
      (error) => error instanceof Fault && error.kind === "invalid" && error.code === "image.checksum-mismatch",
    );
    assert.ok(readFileSync(disk).equals(Buffer.alloc(DISK_BYTES, 0xa5)), "the disk was written to");
  });

  /** A server that holds back what lies behind `first` bytes until it is told. */
  const serveInTwo = async (path: string, first: number) => {
    const whole = readFileSync(path);
    let goOn: () => void = () => {};
    const told = new Promise<void>((resolve) => (goOn = resolve));
    const server = createWebServer((_request, response) => {
      response.writeHead(200, { "content-length": whole.length });
      response.write(whole.subarray(0, first));
      void told.then(() => response.end(whole.subarray(first)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const close = (): void => {
      server.closeAllConnections();
      server.close();
    };
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/image`, goOn, close };
  };
  const cacheIn = (name: string): ImageCache => {
    const clock = new SystemClock();
    const shelf = new ImageShelf({
      directory: join(directory, name),
      maximumBytes: bytes(1 << 30),
      clock,
      random: new SystemRandom(),
    });
    return new ImageCache({ shelf, fileDirectories: [], clock, log: silentLog });
  };

  for (const [format, path] of [
    ["raw", raw],
    ["qcow2", qcow2],
  ] as const) {
    test(`writes a ${format} image while it is downloaded`, async () => {
      fillDisk(0xa5);
      const half = Math.floor(statSync(path).size / 2);
      const server = await serveInTwo(path, half);
      await using cache = cacheIn(`arriving-${format}`);
      const checksum = { algorithm: "sha256", value: sha256(readFileSync(path)) } as const;
      const options = { signal: never, log: silentLog, early: "begin" } as const;
      try {
        using image = await cache.fetch({ source: server.url, checksum }, options);
        assert.ok(image.download !== undefined);
        const { path: file, download } = image;
        const result = await streamImage(request({ source: { path: file, download, format, checksum } }), {
          signal: never,
          // The rest is only sent when something is on the disk.
          onProgress: ({ targets: [first] }) => (first?.written ?? 0) > 0 && server.goOn(),
        });
        assert.ok(result.targets[0]?.ok);
        assert.ok(readFileSync(disk).subarray(0, IMAGE_BYTES).equals(readFileSync(raw)), "the disk differs");
      } finally {
        server.close();
      }
    });
  }

  test("does not report as written what turns out to be another image than was asked for, nor what never comes", async () => {
    for (const ending of ["wrong", "cancelled"]) {
      const server = await serveInTwo(raw, IMAGE_BYTES / 2);
      await using cache = cacheIn(`arriving-${ending}`);
      const checksum = { algorithm: "sha256", value: "0".repeat(64) } as const;
      const leaver = new AbortController();
      try {
        using image = await cache.fetch(
          { source: server.url, checksum },
          { signal: never, log: silentLog, early: "begin" },
        );
        const source = { path: image.path, download: image.download, format: "raw", checksum } as const;
        await assert.rejects(
          streamImage(request({ source }), {
            signal: leaver.signal,
            onProgress: ({ targets: [first] }) => {
              if ((first?.written ?? 0) === 0) return;
              if (ending === "wrong") server.goOn();
              else leaver.abort();
            },
          }),
          (error) =>
            error instanceof Fault && error.code === (ending === "wrong" ? "image.checksum" : "stream.cancelled"),
        );
      } finally {
        server.close();
      }
    }
  });

  test("rejects a qcow2 image in raw clothing, and an image that is not there", async () => {
    await assert.rejects(streamImage(request({ source: { path: qcow2, format: "raw" } }), { signal: never }), {
      kind: "invalid",
      code: "image.format-mismatch",
    });
    await assert.rejects(streamImage(request({ source: { path: `${raw}.no`, format: "raw" } }), { signal: never }), {
      kind: "not-found",
      code: "image.open",
    });
  });

  test("gives a wrong secret as that target's fault, and writes the others", async () => {
    fillDisk(0xa5);
    const wrong = { ...target, chap: { username: "rack", password: "wrongwrongwrong" } };
    const { targets } = await streamImage(request({ targets: [wrong, target] }), { signal: never });
    assert.ok(targets[0]?.ok === false && targets[0].fault instanceof Fault);
    assert.equal(targets[0].fault.code, "iscsi.authentication-failed");
    assert.equal(targets[0].fault.retry, "never");
    assert.equal(targets[1]?.ok, true);
    assert.ok(readFileSync(disk).subarray(0, IMAGE_BYTES).equals(readFileSync(raw)));
  });

  test("cancels and leaves no socket, again and again", async (context) => {
    const before = sockets();
    for (const delay of [0, 1, 5, 20, 60, 100]) {
      const controller = new AbortController();
      const stream = streamImage(request({ verify: "read-back" }), { signal: controller.signal });
      const outcome = assert.rejects(stream, { kind: "cancelled" }).catch((error: unknown) => {
        // A fast machine may be done before the latest cancel.
        if (delay < 60) throw error;
      });
      await sleep(delay);
      const begun = performance.now();
      controller.abort();
      await outcome;
      context.diagnostic(`cancelled after ${delay} ms, ended ${Math.round(performance.now() - begun)} ms later`);
    }
    assert.equal(sockets(), before);
    await assert.rejects(streamImage(request(), { signal: AbortSignal.abort() }), { kind: "cancelled" });
  });

  test("ends cleanly with the thread that began it", async () => {
    const module = new URL("../../../src/image/stream.js", import.meta.url).href;
    const code = `
      import(${JSON.stringify(module)}).then(({ streamImage }) => {
        streamImage(${JSON.stringify(request({ verify: "read-back" }))}, { signal: new AbortController().signal, onProgress() {} }).catch(() => {});
        setTimeout(() => process.exit(0), 30);
      });`;
    for (let round = 0; round < 5; round += 1) {
      const worker = new Worker(code, { eval: true });
      const status = await new Promise((resolve, reject) => {
        worker.once("exit", resolve);
        worker.once("error", reject);
      });
      assert.equal(status, 0);
    }
  });
});
