import { spawn } from "node:child_process";
import { access, constants, type FileHandle } from "node:fs/promises";
import { throwIfAborted } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";

const SETPRIV = "/usr/bin/setpriv";
const PRLIMIT = "/usr/bin/prlimit";
export const QEMU_IMG = "/usr/bin/qemu-img";

/** Whom qemu-img is when we are root: nobody. */
const UNPRIVILEGED = 65_534;
/** All that it may take of memory; Ironic gives it as much. */
const MOST_MEMORY = 1 << 30;
const MOST_SAID = 2000;

export interface QemuImgConversion {
  /** Open for reading. */
  readonly source: FileHandle;
  readonly format: string;
  /** Open, empty and ours; becomes a qcow2 image. */
  readonly target: FileHandle;
  /** Where it works: a directory with nothing in it. */
  readonly directory: string;
  /** What the target may become at most. */
  readonly mostBytes: number;
  /** Of processor time. */
  readonly mostSeconds: number;
  readonly program: string;
  readonly signal: AbortSignal;
  readonly onProgress: (percent: number) => void;
}

/**
 * Has qemu-img read the one image and write the other. It knows both only as open files and their format, may open nothing that everybody may not,
 * dies with us, and has bounds. When this is over it is gone, whatever came of it.
 * @throws Fault unsupported (it is not there), malformed (it could not, with its own words), cancelled
 */
export async function convertToQcow2(conversion: QemuImgConversion): Promise<void> {
  const { source, target, signal, program } = conversion;
  const runnable = await access(program, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!runnable) {
    throw new Fault(
      "unsupported",
      "image.no-qemu-img",
      `${conversion.format} images can only be converted with qemu-img: install the package qemu-utils`,
    );
  }
  throwIfAborted(signal);
  const asRoot = process.getuid?.() === 0;
  if (asRoot) await target.chown(UNPRIVILEGED, UNPRIVILEGED);
  const [command = SETPRIV, ...words] = commandLine(conversion, asRoot);
  const child = spawn(command, words, {
    cwd: conversion.directory,
    // Every thread with an arena of its own would reserve 64 MiB or more of the address space: a sound image ran into the bound.
    env: { LC_ALL: "C", PATH: "/usr/bin:/bin", MALLOC_ARENA_MAX: "1" },
    stdio: ["ignore", "pipe", "pipe", source.fd, target.fd],
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-MOST_SAID)));
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    const percent = /\(([0-9.]+)\/100%\)[^(]*$/.exec(text)?.[1];
    if (percent !== undefined && !signal.aborted) conversion.onProgress(Number(percent));
  });
  try {
    const { code, killedBy } = await new Promise<{ code: number | null; killedBy: string | null }>(
      (resolve, reject) => {
        child.once("error", reject);
        child.once("close", (status, by) => resolve({ code: status, killedBy: by }));
      },
    );
    throwIfAborted(signal);
    if (code !== 0) throw failure(conversion.format, code, killedBy, said);
  } finally {
    signal.removeEventListener("abort", kill);
    if (asRoot) await target.chown(0, 0);
  }
}

function commandLine(conversion: QemuImgConversion, asRoot: boolean): readonly string[] {
  const other = [`--reuid=${UNPRIVILEGED}`, `--regid=${UNPRIVILEGED}`, "--clear-groups"];
  return [
    SETPRIV,
    ...(asRoot ? other : []),
    "--no-new-privs",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--pdeathsig=KILL",
    PRLIMIT,
    `--as=${MOST_MEMORY}`,
    `--cpu=${Math.ceil(conversion.mostSeconds)}`,
    `--fsize=${Math.ceil(conversion.mostBytes)}`,
    "--core=0",
    "--nofile=64",
    conversion.program,
    "convert",
    "-p",
    "-f",
    conversion.format,
    "-O",
    "qcow2",
    // Runs of zeroes become holes by whole clusters: a smaller one would only be filled up again.
    "-S",
    "64k",
    "/dev/fd/3",
    "/dev/fd/4",
  ];
}

function failure(format: string, code: number | null, killedBy: string | null, said: string): Fault {
  // It names the files as we gave them to it.
  const words = said
    .replaceAll("/dev/fd/3", "the image")
    .replaceAll("/dev/fd/4", "the converted image")
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim();
  if (killedBy !== null) {
    return new Fault(
      "malformed",
      "image.convert-bounds",
      `qemu-img took more time or room than a ${format} image of this size needs (${[killedBy, words].filter(Boolean).join(": ")})`,
    );
  }
  return new Fault("malformed", "image.convert", `qemu-img could not convert the ${format} image: ${words || code}`, {
    detail: { status: code },
  });
}
