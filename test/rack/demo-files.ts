import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { Fault } from "../../src/core/fault.ts";
import { BUILD } from "./daemon.ts";

export interface Ramdisk {
  readonly kernel: string;
  readonly initrd: string;
}

export interface DemoImage {
  readonly path: string;
  readonly sha256: string;
}

const CACHE = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "ironrack");

/** The ramdisk that test/setup.sh built; IRONRACK_RAMDISK names another directory. */
export function findRamdisk(): Ramdisk {
  const named = process.env["IRONRACK_RAMDISK"];
  const directory = named ?? join(CACHE, "ramdisk", key("native/ramdisk/build.sh"));
  const ramdisk = { kernel: join(directory, "kernel"), initrd: join(directory, "initrd") };
  if (existsSync(ramdisk.kernel) && existsSync(ramdisk.initrd)) return ramdisk;
  throw new Fault("not-found", "demo.ramdisk", `there is no ramdisk in ${directory}: run bash test/setup.sh ramdisk`);
}

/** The Debian image that test/setup.sh built; IRONRACK_IMAGE names another file. */
export async function findImage(): Promise<DemoImage> {
  const path = process.env["IRONRACK_IMAGE"] ?? join(CACHE, "image", key("test/rack/image/build.sh"), "debian.qcow2");
  if (!existsSync(path)) {
    throw new Fault("not-found", "demo.image", `there is no demonstration image ${path}: run bash test/setup.sh image`);
  }
  return { path: resolve(path), sha256: await digestOf(path) };
}

/** The file's sha256. */
export async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** What the recipe calls the product of its present sources. */
function key(recipe: string): string {
  return execFileSync("bash", [resolve(BUILD, "..", recipe), "--key"], { encoding: "utf8" }).trim();
}
