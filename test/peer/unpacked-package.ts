import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/**
 * A Debian package of this release, downloaded and unpacked but not installed (its scripts would start a service, or
 * touch the boot loader); the directory is kept. @throws Error when apt-get has it neither here nor there
 */
export function unpackedPackage(name: string): string {
  const cache = join(homedir(), ".cache", "ironrack", "packages");
  const directory = join(cache, name);
  if (existsSync(directory)) return directory;
  const fresh = `${directory}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    execFileSync("apt-get", ["download", name], { cwd: fresh, stdio: "ignore" });
    const archive = readdirSync(fresh).find((file) => file.endsWith(".deb"));
    if (archive === undefined) throw new Error(`apt-get gave no package ${name}`);
    execFileSync("dpkg", ["-x", archive, "."], { cwd: fresh });
    renameSync(fresh, directory);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(directory)) throw error;
  }
  return directory;
}
