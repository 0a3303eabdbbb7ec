import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isFault } from "../../../src/core/fault.ts";
import { SharedStreams, type WriteOptions } from "../../../src/image/shared-streams.ts";
import { type Checkpoint, streamImage, type StreamContent } from "../../../src/image/stream.ts";
import { Gate, Tgtd } from "./tgtd.ts";

const MIB = 2 ** 20;
const IMAGE_BYTES = 24 * MIB;
/** Half of the image, and more than the 8 MiB that are on the way at once: some of it is acknowledged. */
const BEGINNING = 12 * MIB;
const CYCLES = 1000;

describe("shared streams", () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-shared."));
  const disks = ["a", "b"].map((name) => join(directory, name));
  const image = join(directory, "image");
  const content: StreamContent = { source: { path: image, format: "raw" }, policy: "write-zeroes", verify: "none" };
  let tgtd: Tgtd;

  const [first, second] = [0, 1].map((index) => () => {
    const target = tgtd.targets[index];
    assert.ok(target !== undefined);
    return target;
  }) as [() => Tgtd["targets"][number], () => Tgtd["targets"][number]];
  const never = new AbortController().signal;
  const isWritten = (disk: string | undefined): boolean =>
    readFileSync(disk ?? "")
      .subarray(0, IMAGE_BYTES)
      .equals(readFileSync(image));
  const blank = (): void => {
    for (const disk of disks) writeFileSync(disk, Buffer.alloc(IMAGE_BYTES + MIB, 0xa5));
  };
  /** A write that has begun to arrive at the disk, behind a gate that holds the rest up. */
  const begun = async (streams: SharedStreams, gate: Gate, options: WriteOptions) => {
    let arrived = (): void => {};
    const arriving = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const written = streams.write(content, gate.target, {
      ...options,
      onProgress: ({ written: bytes }) => {
        if (bytes > 0) arrived();
      },
    });
    await Promise.race([arriving, written]);
    return { written };
  };

  before(async () => {
    writeFileSync(image, randomBytes(IMAGE_BYTES));
    blank();
    tgtd = await Tgtd.start(disks);
  });
  after(() => {
    tgtd[Symbol.dispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test("who wants an image that is being written joins that stream, gets all of it, and waits for nobody", async () => {
    blank();
    const streams = new SharedStreams();
    await using gate = await Gate.before(first(), BEGINNING);
    const { written: slow } = await begun(streams, gate, { signal: never });
    const late = await streams.write(content, second(), { signal: never });
    assert.equal(late.joined, true);
    assert.equal(late.bytes + late.skipped, IMAGE_BYTES);
    assert.ok(isWritten(disks[1]) && !isWritten(disks[0]));
    gate.open();
    assert.equal((await slow).joined, false);
    assert.ok(isWritten(disks[0]));
  });

  test("a cancel or a fault of one leaves the others of its stream alone", async () => {
    blank();
    const streams = new SharedStreams();
    await using gate = await Gate.before(first(), BEGINNING);
    await using other = await Gate.before(second(), BEGINNING);
    const controller = new AbortController();
    const { written: cancelled } = await begun(streams, gate, { signal: controller.signal });
    const { written } = await begun(streams, other, { signal: never });
    const stranger = { ...first(), chap: { username: "rack", password: "wrongwrongwrong" } };
    await assert.rejects(streams.write(content, stranger, { signal: never }), {
      code: "iscsi.authentication-failed",
    });
    controller.abort();
    await assert.rejects(cancelled, { kind: "cancelled" });
    other.open();
    assert.equal((await written).joined, true);
    assert.ok(isWritten(disks[1]) && !isWritten(disks[0]));
  });

  test("another policy, or a file that changed, is another stream", async () => {
    const streams = new SharedStreams();
    await using gate = await Gate.before(first(), BEGINNING);
    const { written } = await begun(streams, gate, { signal: never });
    const alone = await streams.write({ ...content, policy: "discard" }, second(), { signal: never });
    assert.equal(alone.joined, false);
    utimesSync(image, 1, 1);
    assert.equal((await streams.write(content, second(), { signal: never })).joined, false);
    gate.open();
    await assert.rejects(written, { code: "image.changed" });
  });

  test("a stream goes on from its checkpoint, and from the beginning when that is of nothing or of another disk", async () => {
    blank();
    await using gate = await Gate.before({ ...first(), checkpoints: true }, BEGINNING);
    const controller = new AbortController();
    const checkpoint = await new Promise<Checkpoint>((resolve, reject) => {
      new SharedStreams()
        .write(content, gate.target, { signal: controller.signal, onCheckpoint: resolve })
        .then(() => reject(new Error("it was not held up")), reject);
    });
    controller.abort();
    const stored = JSON.parse(JSON.stringify(checkpoint)) as Checkpoint;
    const resumed = await new SharedStreams().write(content, { ...first(), resume: stored }, { signal: never });
    assert.ok(resumed.resumed > 0 && resumed.resumeRefused === "");
    assert.equal(resumed.bytes + resumed.skipped + resumed.resumed, IMAGE_BYTES);
    assert.ok(isWritten(disks[0]));
    for (const resume of [{}, { ...stored, extents: "all" }, { ...stored, samples: [[1, 2]] }]) {
      const anew = await new SharedStreams().write(content, { ...second(), resume }, { signal: never });
      assert.equal(anew.bytes + anew.skipped, IMAGE_BYTES);
    }
    blank();
    const anew = await new SharedStreams().write(content, { ...second(), resume: stored }, { signal: never });
    assert.ok(anew.resumed === 0 && anew.resumeRefused !== "");
    assert.ok(isWritten(disks[1]));
  });

  test(`${CYCLES} streams that are begun and cancelled leave no socket, no thread and no memory`, async () => {
    const cycle = async (round: number): Promise<void> => {
      const controller = new AbortController();
      const outcome = streamImage({ ...content, targets: [first(), second()] }, { signal: controller.signal });
      const ended = outcome.then(
        () => undefined,
        (error: unknown) => assert.ok(isFault(error) && error.kind === "cancelled", String(error)),
      );
      if (round % 4 > 0) await sleep((round % 4) * 2);
      controller.abort();
      await ended;
    };
    const held = () => ({ fds: readdirSync("/proc/self/fd").length, threads: readdirSync("/proc/self/task").length });
    for (let round = 0; round < CYCLES / 5; round += 1) await cycle(round);
    const early = { ...held(), rss: process.memoryUsage().rss };
    for (let round = 0; round < CYCLES - CYCLES / 5; round += 1) await cycle(round);
    const late = { ...held(), rss: process.memoryUsage().rss };
    assert.deepEqual([late.fds, late.threads], [early.fds, early.threads]);
    // A leak of one buffer of 256 KiB a stream would be 200 MiB.
    assert.ok(late.rss - early.rss < 64 * MIB, `${early.rss} bytes have become ${late.rss}`);
  });
});
