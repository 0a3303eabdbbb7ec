import { constants, type FileHandle, open } from "node:fs/promises";
import { Fault } from "../core/fault.ts";
import type { JsonObject } from "../core/json.ts";
import { nativeAddon } from "../core/native-addon.ts";
import type { ConvertedFormat } from "../domain/image-format.ts";
import { fileDigest } from "./file-digest.ts";
import type { Draft, ImageShelf } from "./image-shelf.ts";
import { runJob } from "./native-job.ts";
import { convertToQcow2 } from "./qemu-img.ts";

/** A failed conversion with less than this left on the disk failed for that. */
const NO_SPACE = 16 << 20;
/** Tables and header of a qcow2 image beside its data: a part of the disk, and something for a small one. */
const TABLES_SHARE = 1 / 1024;
const TABLES_LEAST = 8 << 20;
/** What qemu-img reaches on a slow appliance at least, in bytes a second: of data, and of holes that it only walks over. */
const DATA_RATE = 4 << 20;
const HOLE_RATE = 1 << 30;

export interface Conversion {
  readonly path: string;
  readonly format: ConvertedFormat;
  readonly draft: Draft;
  readonly shelf: ImageShelf;
  /** The image lies on the shelf, where we may do with its file what we like. */
  readonly shelved: boolean;
  readonly program: string;
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number, total: number) => void;
}

interface Looked {
  readonly virtualSize: number;
  readonly dataBytes: number;
}

/**
 * Makes a qcow2 image of another format's, as the draft, on the disk. The addon looks at the image's own structures first: only one that is whole
 * and names no other file reaches qemu-img. What to keep with the converted image is answered.
 * @throws Fault invalid (content of another format), unsupported (names other files, qemu-img is missing), malformed, conflict (changed
 * meanwhile), storage (no space), cancelled
 */
export async function convertImage(conversion: Conversion): Promise<JsonObject> {
  const { path, format, draft, shelf, signal, onProgress } = conversion;
  await using source = await open(path, constants.O_RDONLY);
  const before = await identity(source);
  // The very file, whatever becomes of its name.
  const looked = await runJob<unknown, Looked>(
    (onNews, onEnd) =>
      nativeAddon().startConvertibleCheck({ path: `/proc/self/fd/${source.fd}`, format }, onNews, onEnd),
    { signal },
  );
  const tables = TABLES_LEAST + looked.virtualSize * TABLES_SHARE;
  await makeRoom(shelf, looked.dataBytes + tables);
  await readableByAll(source, conversion.shelved);
  await using target = await open(draft.path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await convertToQcow2({
      source,
      format,
      target,
      directory: await shelf.emptyDirectory(),
      mostBytes: looked.virtualSize + tables,
      mostSeconds: 60 + looked.dataBytes / DATA_RATE + looked.virtualSize / HOLE_RATE,
      program: conversion.program,
      signal,
      onProgress: (percent) => onProgress((looked.virtualSize * percent) / 100, looked.virtualSize),
    });
  } catch (error) {
    if (!signal.aborted && (await shelf.freeBytes()) < NO_SPACE) throw noSpace(looked.dataBytes, error);
    throw error;
  }
  await target.sync();
  if ((await identity(source)) !== before)
    throw new Fault("conflict", "image.changed", "the image changed while it was converted", { retry: "later" });
  return { digest: await fileDigest(draft.path, "sha256", { signal }) };
}

async function identity(file: FileHandle): Promise<string> {
  const { size, mtimeNs } = await file.stat({ bigint: true });
  return `${size} ${mtimeNs}`;
}

async function makeRoom(shelf: ImageShelf, bytes: number): Promise<void> {
  shelf.makeRoom(bytes);
  if ((await shelf.freeBytes()) < bytes) await shelf.freeSpace(bytes);
  if ((await shelf.freeBytes()) < bytes) throw noSpace(bytes);
}

function noSpace(bytes: number, cause?: unknown): Fault {
  return new Fault(
    "storage",
    "image.space",
    `the converted image may need ${Math.ceil(bytes)} bytes, for which its directory has no room; free some, or make image.cache_size smaller`,
    { retry: "never", detail: { bytes: Math.ceil(bytes) }, cause },
  );
}

/** Root's qemu-img is another user, who opens the file anew. */
async function readableByAll(source: FileHandle, shelved: boolean): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { mode } = await source.stat();
  if ((mode & 0o004) !== 0) return;
  // The shelf's directory is closed to others.
  if (shelved) await source.chmod(0o644);
  else
    throw new Fault(
      "invalid",
      "image.unreadable",
      "the image can only be converted when all may read its file: the daemon runs as root, and qemu-img as nobody",
      { detail: { field: "instance_info.image_source" } },
    );
}
