import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { availableParallelism, homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnTgtd } from "../test/unit/image/tgtd.ts";
import { compare, type Comparison, type Report } from "./comparison.ts";
import { boundToUs } from "../test/bound-to-us.ts";

/**
 * image2iscsi beside qemu-img, in turns within one run, medians of three (--rounds N): wall time and the initiator's processor time per
 * GB of data delivered. Targets: s drops data and costs nothing, t is tgtd on tmpfs with raised session parameters, d the
 * same with its defaults. Both sides take the disk for blank and leave holes out; of compressed raw images the peer's side is
 * the format's own program into a file, then qemu-img. Only ratios of one run count.
 *
 * The image is 4 GiB of ext4 with this machine's own /usr/share, /usr/bin and /usr/lib/gcc; it is made once and kept in
 * the cache, and read from the page cache.
 */
const BUILD = resolve("build/native");
const TOOL = join(BUILD, "image2iscsi");
const CACHE = join(homedir(), ".cache/ironrack/bench-iscsi");
const DISK_BYTES = 4 * 2 ** 30;
/** xz takes minutes for all of it: its rows have the disk's first part, which is full. */
const PART_BYTES = 128 * 2 ** 20;
const TREE = ["/usr/share", "/usr/bin", "/usr/lib/gcc"];

type TargetKind = "s" | "t" | "d";
type ImageName = "raw" | "qcow2" | "zlib" | "zstd" | "raw.gz" | "raw.zst" | "raw.xz" | "blocks.xz";

/** What image2iscsi and qemu-img call the format; the latter unpacks with a program of its own first. */
const FORMATS: Readonly<Record<ImageName, string>> = {
  raw: "raw",
  qcow2: "qcow2",
  zlib: "qcow2",
  zstd: "qcow2",
  "raw.gz": "gzip",
  "raw.zst": "zstd",
  "raw.xz": "xz",
  "blocks.xz": "xz",
};

interface Case {
  readonly name: string;
  readonly image: ImageName;
  readonly target: TargetKind;
  readonly targets: number;
  /** Throughput, ours to the peer's, at least. */
  readonly goal: number;
  /** Processor time per GB, ours to the peer's, at most. */
  readonly cpuGoal?: number;
  /** Flags of image2iscsi; with them the peer is image2iscsi without. */
  readonly against?: readonly string[];
  /** The peer unpacks with this into a file first. */
  readonly unpack?: readonly string[];
  /** What Ironic did: to a raw file first, then every byte of it, one request at a time. */
  readonly likeIronic?: true;
}

const CASES: readonly Case[] = [
  { name: "raw → s", image: "raw", target: "s", targets: 1, goal: 2.5, cpuGoal: 0.3 },
  { name: "raw → t", image: "raw", target: "t", targets: 1, goal: 1.35, cpuGoal: 0.3 },
  { name: "raw → d", image: "raw", target: "d", targets: 1, goal: 1.8, cpuGoal: 0.3 },
  { name: "qcow2 → s", image: "qcow2", target: "s", targets: 1, goal: 2.2, cpuGoal: 0.35 },
  { name: "qcow2 zlib → s", image: "zlib", target: "s", targets: 1, goal: 3.5, cpuGoal: 0.4 },
  { name: "qcow2 zlib → t", image: "zlib", target: "t", targets: 1, goal: 2.4, cpuGoal: 0.4 },
  { name: "qcow2 zstd → s", image: "zstd", target: "s", targets: 1, goal: 1.9, cpuGoal: 0.65 },
  { name: "qcow2 zstd → t", image: "zstd", target: "t", targets: 1, goal: 1.5, cpuGoal: 0.65 },
  { name: "raw → 8 s", image: "raw", target: "s", targets: 8, goal: 2.2, cpuGoal: 0.27 },
  { name: "qcow2 zstd → 8 s", image: "zstd", target: "s", targets: 8, goal: 4.7, cpuGoal: 0.16 },
  { name: "qcow2 zlib → 8 s", image: "zlib", target: "s", targets: 8, goal: 10, cpuGoal: 0.08 },
  {
    name: "qcow2 zlib → t, as Ironic did",
    image: "zlib",
    target: "t",
    targets: 1,
    goal: 6,
    cpuGoal: 0.3,
    likeIronic: true,
  },
  {
    name: "raw.gz → s, gzip",
    image: "raw.gz",
    target: "s",
    targets: 1,
    goal: 7,
    cpuGoal: 0.2,
    unpack: ["gzip", "-dc"],
  },
  {
    name: "raw.gz → s, pigz",
    image: "raw.gz",
    target: "s",
    targets: 1,
    goal: 2.6,
    cpuGoal: 0.2,
    unpack: ["pigz", "-dc"],
  },
  { name: "raw.zst → s", image: "raw.zst", target: "s", targets: 1, goal: 2, cpuGoal: 0.65, unpack: ["zstd", "-qdc"] },
  {
    name: "raw.xz → s, one block",
    image: "raw.xz",
    target: "s",
    targets: 1,
    goal: 1,
    unpack: ["xz", "-dc"],
  },
  {
    name: "raw.xz → s, many blocks",
    image: "blocks.xz",
    target: "s",
    targets: 1,
    goal: availableParallelism(),
    unpack: ["xz", "-dc"],
  },
  {
    name: "raw → s, digests to none",
    image: "raw",
    target: "s",
    targets: 1,
    goal: 0.6,
    against: ["--header-digest", "--data-digest"],
  },
];

/** Peak memory of a job in MiB, at most; the peer is one qemu-img. */
const MEMORY: readonly { readonly targets: number; readonly goal: number }[] = [
  { targets: 1, goal: 32 },
  { targets: 8, goal: 64 },
  { targets: 64, goal: 192 },
];
const MEMORY_IMAGES: readonly ImageName[] = ["raw", "zlib", "raw.gz", "raw.zst", "blocks.xz"];

interface Measured {
  readonly seconds: number;
  readonly cpu: number;
}

export async function benchIscsi(report: Report, only: readonly string[], rounds: number): Promise<void> {
  execFileSync("make", ["-s", "-C", resolve("native"), `OUT=${BUILD}`, "target", "tool"], { stdio: ["ignore", 2, 2] });
  makeImages();
  const wanted = (name: string): boolean => only.length === 0 || only.some((word) => name.includes(word));
  for (const each of CASES.filter(({ name }) => wanted(name))) report(await measure(each, rounds));
  for (const { targets, goal } of MEMORY) {
    const name = `peak memory, ${targets} ${targets === 1 ? "target" : "targets"}`;
    if (wanted(name)) report(await measureMemory(name, targets, goal));
  }
  const cancel = "cancel, target silent";
  if (wanted(cancel)) report(await measureCancel(cancel));
}

/** Image and targets go behind it. */
const ours = (format: string, options: readonly string[] = []): readonly string[] => [
  TOOL,
  "--quiet",
  "--policy",
  "disk-is-blank",
  "--format",
  format,
  ...options,
];

/** Image and target go behind it. */
const qemuImg = (format: string, options: readonly string[] = []): readonly string[] => [
  "qemu-img",
  "convert",
  "-n",
  "--target-is-zero",
  ...options,
  "-f",
  format,
  "-O",
  "raw",
];

/** From the signal to the end of the process, while a target holds its socket and answers nothing. */
async function measureCancel(name: string): Promise<Comparison> {
  const seconds = async ([program = "", ...options]: readonly string[]): Promise<number> => {
    await using target = await startSink(1, false, ["--fault=silent@200"]);
    const child = spawn(program, [...options, target.urls[0] ?? ""], { stdio: "ignore" });
    const ended = new Promise((resolve) => child.once("close", resolve));
    await target.silent;
    const begun = performance.now();
    child.kill("SIGINT");
    await ended;
    return (performance.now() - begun) / 1000;
  };
  const raw = join(CACHE, "raw");
  const mine = await seconds([...ours("raw"), raw]);
  const peer = await seconds([...qemuImg("raw"), raw]);
  return compare(name, "s", { value: mine }, { value: peer }, { bound: 1 });
}

async function measureMemory(name: string, targets: number, goal: number): Promise<Comparison> {
  await using target = await startSink(targets, false);
  const peak = { ours: 0, peer: 0 };
  for (const image of MEMORY_IMAGES) {
    const path = join(CACHE, image);
    const format = FORMATS[image];
    peak.ours = Math.max(peak.ours, await peakMebibytes([...ours(format), path, ...target.urls]));
    if (format !== "raw" && format !== "qcow2") continue;
    peak.peer = Math.max(peak.peer, await peakMebibytes([...qemuImg(format), path, target.urls[0] ?? ""]));
  }
  return compare(name, "MiB", { value: peak.ours }, { value: peak.peer }, { bound: goal });
}

/** The most memory that a program had to itself, looked at a hundred times a second: neither its text nor what it maps of the image. */
async function peakMebibytes([program = "", ...options]: readonly string[]): Promise<number> {
  const child = spawn(program, options, { stdio: ["ignore", "ignore", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  let peak = 0;
  while (child.exitCode === null && child.signalCode === null) {
    peak = Math.max(peak, ownMebibytes(child.pid ?? 0));
    await sleep(10);
  }
  const status = await ended;
  if (status !== 0) throw new Error(`${program} ended with ${String(status)}`);
  return peak;
}

function ownMebibytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const kibibytes = [...status.matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB$/gm)].map(([, digits]) => Number(digits));
    return kibibytes.reduce((a, b) => a + b, 0) / 1024;
  } catch {
    return 0; // it ended between two looks
  }
}

async function measure(each: Case, rounds: number): Promise<Comparison> {
  await using target = await startTarget(each);
  const image = join(CACHE, each.image);
  const format = FORMATS[each.image];
  const together = (options: readonly string[]): string => shell([...ours(format, options), image, ...target.urls]);
  // One process per target: qemu-img knows no other way.
  const peers = (flags: readonly string[]): string =>
    target.urls.map((url) => shell([...qemuImg(format, flags), image, url])).join(" & ");
  const spool = join(tmpdir(), `ironrack-bench-${process.pid}.raw`);
  const ironic = `${shell(["qemu-img", "convert", "-f", format, "-O", "raw", image, spool])} && ${shell(["qemu-img", "dd", "-f", "raw", "-O", "raw", "bs=1M", `if=${spool}`, `of=${target.urls[0] ?? ""}`])}; rm -f ${spool}`;
  const unpacked = `${shell([...(each.unpack ?? []), image])} > ${spool} && ${shell([...qemuImg("raw"), spool, target.urls[0] ?? ""])}; rm -f ${spool}`;
  const candidates =
    each.likeIronic === true
      ? [ironic]
      : each.unpack !== undefined
        ? [unpacked]
        : each.against !== undefined
          ? [together([])]
          : [peers([]), peers(["-W", "-m", "16"])];

  // tmpfs takes far longer for pages that it does not have yet: a run that does not count makes them.
  if (each.target !== "s") await timed(together([]));
  const mine: Measured[] = [];
  const theirs: Measured[][] = candidates.map(() => []);
  for (let round = 0; round < rounds; round += 1) {
    mine.push(await timed(together(each.against ?? [])));
    for (const [index, command] of candidates.entries()) theirs[index]?.push(await timed(command));
  }
  // The peer is whichever of its ways is fastest.
  const best = theirs.map(median).reduce((a, b) => (b.seconds < a.seconds ? b : a));
  const own = median(mine);
  const gigabytes = (allocated(each.image) * each.targets) / 1e9;
  const figures = ({ seconds, cpu }: Measured): { value: number; cpu: number } => ({
    value: gigabytes / seconds,
    cpu: cpu / gigabytes,
  });
  process.stderr.write(`${each.name}: ${JSON.stringify({ ours: mine, peers: theirs })}\n`);
  const goal = each.cpuGoal === undefined ? { least: each.goal } : { least: each.goal, cpuMost: each.cpuGoal };
  return compare(each.name, "GB/s", figures(own), figures(best), goal);
}

/** Bytes of data in the disk that the image holds. */
function allocated(image: ImageName): number {
  return FORMATS[image] === "xz" ? PART_BYTES : statSync(join(CACHE, "raw")).blocks * 512;
}

const shell = (argv: readonly string[]): string => argv.map((word) => `'${word}'`).join(" ");

function median(runs: readonly Measured[]): Measured {
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
  return { seconds: middle(runs.map(({ seconds }) => seconds)), cpu: middle(runs.map(({ cpu }) => cpu)) };
}

/** Wall and processor time of a command line and of all that it starts. */
async function timed(command: string): Promise<Measured> {
  const child = spawn("bash", ["-c", `set -e; TIMEFORMAT='%R %U %S'; time { ${command} & wait; }`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const status = await new Promise((resolve) => child.once("close", resolve));
  const numbers = errors.trimEnd().split("\n").at(-1)?.split(" ").map(Number) ?? [];
  const [seconds, user, system] = numbers;
  if (
    status !== 0 ||
    seconds === undefined ||
    user === undefined ||
    system === undefined ||
    /error|failed/i.test(errors)
  ) {
    throw new Error(`${command} ended with ${String(status)}: ${errors.slice(0, 2000)}`);
  }
  return { seconds, cpu: user + system };
}

interface Target extends AsyncDisposable {
  readonly urls: readonly string[];
}

async function startTarget(each: Case): Promise<Target> {
  return each.target === "s"
    ? await startSink(each.targets, each.against !== undefined)
    : await startTgtd(each.target === "t");
}

async function startSink(
  count: number,
  digests: boolean,
  faults: readonly string[] = [],
): Promise<Target & { /** Once it is. */ readonly silent: Promise<unknown> }> {
  const child = spawn(
    ...boundToUs(
      join(BUILD, "test-target"),
      `--size=${DISK_BYTES}`,
      `--digests=${digests ? "yes" : "no"}`,
      "--check-digests=no",
      ...faults,
    ),
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines = createInterface(child.stdout);
  const port = await new Promise<string>((resolve) => lines.once("line", resolve));
  const silent = new Promise((resolve) => lines.once("line", resolve));
  const urls = Array.from(
    { length: count },
    (_, index) => `iscsi://127.0.0.1:${port}/iqn.2026-01.bench:disk${index}/1`,
  );
  return { urls, silent, [Symbol.asyncDispose]: async () => await killed(child) };
}

async function startTgtd(raised: boolean): Promise<Target> {
  const directory = mkdtempSync("/dev/shm/ironrack-bench.");
  const disk = join(directory, "disk");
  execFileSync("truncate", ["-s", String(DISK_BYTES), disk]);
  const { process: child, port, admin } = await spawnTgtd();
  admin("--lld iscsi --op new --mode target --tid 1 -T iqn.2026-01.bench:disk");
  admin(`--lld iscsi --op new --mode logicalunit --tid 1 --lun 1 -b ${disk}`);
  if (raised) {
    for (const [name, value] of Object.entries({
      MaxRecvDataSegmentLength: "262144",
      FirstBurstLength: "262144",
      MaxBurstLength: "16776192",
      InitialR2T: "No",
    })) {
      admin(`--lld iscsi --op update --mode target --tid 1 --name ${name} --value ${value}`);
    }
  }
  admin("--lld iscsi --op bind --mode target --tid 1 -I ALL");
  return {
    urls: [`iscsi://127.0.0.1:${port}/iqn.2026-01.bench:disk/1`],
    [Symbol.asyncDispose]: async () => {
      await killed(child); // it ignores SIGTERM while it has targets
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.kill("SIGKILL");
  await closed;
}

function makeImages(): void {
  mkdirSync(CACHE, { recursive: true });
  const make = (name: string, build: (path: string) => void): void => {
    const path = join(CACHE, name);
    if (existsSync(path)) return;
    process.stderr.write(`bench: making the ${name} image (once)\n`);
    rmSync(`${path}.new`, { force: true });
    build(`${path}.new`);
    renameSync(`${path}.new`, path);
  };
  const convert = (...options: readonly string[]): ((path: string) => void) => {
    return (path) =>
      void execFileSync("qemu-img", ["convert", "-W", "-m", "8", "-O", "qcow2", ...options, join(CACHE, "raw"), path], {
        stdio: ["ignore", 2, 2],
      });
  };
  make("raw", (path) => {
    const tree = mkdtempSync(join(tmpdir(), "ironrack-bench-tree."));
    try {
      execFileSync("cp", ["-r", ...TREE, tree], { stdio: ["ignore", 2, "ignore"] });
      execFileSync("truncate", ["-s", String(DISK_BYTES), path]);
      execFileSync("mkfs.ext4", ["-q", "-F", "-d", tree, path], { stdio: ["ignore", 2, 2] });
    } finally {
      rmSync(tree, { recursive: true, force: true });
    }
  });
  make("qcow2", convert());
  make("zstd", convert("-c", "-o", "compression_type=zstd"));
  make("zlib", convert("-c"));
  const pack = (command: string): ((path: string) => void) => {
    return (path) => void execFileSync("bash", ["-c", `${command} > ${path}`], { cwd: CACHE, stdio: ["ignore", 2, 2] });
  };
  make("raw.gz", pack("pigz -c raw"));
  make("raw.zst", pack("zstd -q -c raw"));
  make("raw.xz", pack(`head -c ${PART_BYTES} raw | xz -1 -T1 -c`));
  make("blocks.xz", pack(`head -c ${PART_BYTES} raw | xz -1 -T0 --block-size=8MiB -c`));
}
