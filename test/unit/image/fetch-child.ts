import { SystemClock } from "../../../src/core/clock.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { bytes } from "../../../src/core/units.ts";
import type { ImageFormat } from "../../../src/domain/image-format.ts";
import { ImageCache } from "../../../src/image/cache.ts";
import { DeployableImages } from "../../../src/image/deployable-images.ts";
import { ImageShelf } from "../../../src/image/image-shelf.ts";

/** A process that fetches an image until it is killed: node fetch-child.js DIRECTORY SOURCE FORMAT [QEMU_IMG]. A number a line: progress. */
const [directory = "", source = "", format = "", qemuImg] = process.argv.slice(2);
const clock = new SystemClock();
const log = silentLog;
const shelf = new ImageShelf({ directory, maximumBytes: bytes(1 << 30), clock, random: new SystemRandom() });
const fileDirectories = ["/"];
const cache = new ImageCache({ shelf, fileDirectories, clock, log });
const images = new DeployableImages({
  cache,
  shelf,
  fileDirectories,
  clock,
  log,
  ...(qemuImg === undefined ? {} : { qemuImg }),
});
await shelf.open();
await images.fetch(
  { source, format: format as ImageFormat },
  { signal: new AbortController().signal, log, onProgress: (count) => process.stdout.write(`${count}\n`) },
);
