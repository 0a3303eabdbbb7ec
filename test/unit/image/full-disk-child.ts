import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { SystemClock } from "../../../src/core/clock.ts";
import { toFault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { bytes } from "../../../src/core/units.ts";
import { ImageCache } from "../../../src/image/cache.ts";
import { type DeployableImage, DeployableImages } from "../../../src/image/deployable-images.ts";
import { ImageShelf } from "../../../src/image/image-shelf.ts";

/**
 * What becomes of images when the disk fills up meanwhile: node full-disk-child.js ROOT, where ROOT/small is a file system of 96 MiB and
 * ROOT/disk.vmdk an image of 24. One line of JSON for each scene.
 */
const MIB = 2 ** 20;
const IMAGE_BYTES = 30 * MIB;
const BEGIN_BYTES = 8 * MIB;

const [root = ""] = process.argv.slice(2);
const mount = join(root, "small");
const directory = join(mount, "shelf");
const ballast = join(mount, "ballast");
const clock = new SystemClock();
const log = silentLog;
const shelf = new ImageShelf({ directory, maximumBytes: bytes(1 << 30), clock, random: new SystemRandom() });
const cache = new ImageCache({ shelf, fileDirectories: [root], clock, log });

/** A qemu-img that waits until ROOT/go is there, after it has told of progress. */
const waiting = join(root, "waiting-qemu-img");
writeFileSync(
  waiting,
  `#!/bin/sh\nprintf '    (1.00/100%%)\\r'\nwhile [ ! -e ${join(root, "go")} ]; do sleep 0.02; done\nexec qemu-img "$@"\n`,
  { mode: 0o755 },
);
const images = new DeployableImages({ cache, shelf, fileDirectories: [root], clock, log, qemuImg: waiting });

/** Once `least` bytes are there: leaves so much room on the disk, and goes on. */
function fillingUp(least: number, left: number, goOn: () => void): (count: number) => void {
  let filled = false;
  return (count) => {
    if (filled || count < least) return;
    filled = true;
    const { bavail, bsize } = statfsSync(mount);
    writeFileSync(ballast, Buffer.alloc(bavail * bsize - left));
    goOn();
  };
}

const content = randomBytes(IMAGE_BYTES);
/** Those who were sent the first part of the slow image; undefined: it is sent as a whole. */
let waitForRest: (() => void)[] | undefined;
const server = createServer((request, response) => {
  response.writeHead(200, { "content-length": IMAGE_BYTES });
  if (request.url !== "/slow.img" || waitForRest === undefined) return void response.end(content);
  response.write(content.subarray(0, BEGIN_BYTES));
  waitForRest.push(() => void response.end(content.subarray(BEGIN_BYTES)));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function fetch(source: string, format: "raw" | "vmdk", onProgress = (_bytes: number): void => {}) {
  return await images.fetch({ source, format }, { signal: new AbortController().signal, log, onProgress });
}

async function scene(name: string, play: () => Promise<DeployableImage>): Promise<DeployableImage | undefined> {
  let image: DeployableImage | undefined;
  let told: { readonly code: string; readonly retry: string; readonly words: string };
  try {
    image = await play();
    told = { code: "", retry: "", words: String(image.bytes) };
  } catch (error) {
    const { code, retry, message } = toFault(error);
    told = { code, retry, words: message };
  }
  const files = readdirSync(directory).filter((one) => one !== "empty" && !one.endsWith(".json"));
  const kinds = files.map((one) => (one.endsWith(".img") ? (one.split("-")[0] ?? "") : one));
  process.stdout.write(`${JSON.stringify({ scene: name, ...told, shelf: kinds.toSorted() })}\n`);
  return image;
}

const vmdk = join(root, "disk.vmdk");
const old = await scene("first download", async () => await fetch(`${base}/old.img`, "raw"));
old?.[Symbol.dispose]();
await scene("conversion into a full disk", async () => {
  const goOn = (): void => writeFileSync(join(root, "go"), "");
  return await fetch(vmdk, "vmdk", fillingUp(1, 10 * MIB, goOn));
});
const converted = await scene("conversion again", async () => await fetch(vmdk, "vmdk"));
const slow = async (): Promise<DeployableImage> => {
  rmSync(ballast, { force: true });
  waitForRest = [];
  const goOn = (): void => {
    for (const send of waitForRest ?? []) send();
    waitForRest = undefined;
  };
  return await fetch(`${base}/slow.img`, "raw", fillingUp(BEGIN_BYTES, 4 * MIB, goOn));
};
await scene("download into a full disk", slow);
converted?.[Symbol.dispose]();
const last = await scene("download again", slow);
last?.[Symbol.dispose]();
await images[Symbol.asyncDispose]();
await cache[Symbol.asyncDispose]();
server.closeAllConnections();
server.close();
