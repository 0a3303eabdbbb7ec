import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const CACHE = join(homedir(), ".cache", "ironrack", "packages");

/**
 * A Debian package of this release, downloaded and unpacked but not installed (its scripts would start a service, or
 * touch the boot loader); the directory is kept. @throws Error when apt-get has it neither here nor there
 */
export function unpackedPackage(name: string): string {
  return unpacked(name, CACHE, []);
}

/** The same for packages of arm64, by package lists of its own: the system's apt need not know that processor. */
export class Arm64Packages {
  readonly #cache = join(CACHE, "arm64");
  readonly #apt: readonly string[];

  /** @throws Error when the lists cannot be had */
  constructor() {
    const lists = join(this.#cache, "lists");
    this.#apt = [
      "-o",
      "APT::Architecture=arm64",
      "-o",
      "APT::Architectures::=arm64",
      "-o",
      `Dir::State::Lists=${lists}`,
      "-o",
      `Dir::Cache=${join(this.#cache, "apt")}`,
      "-o",
      "APT::Sandbox::User=root",
      "-o",
      "Acquire::Languages=none",
    ];
    mkdirSync(join(lists, "partial"), { recursive: true });
    mkdirSync(join(this.#cache, "apt", "archives", "partial"), { recursive: true });
    execFileSync("apt-get", [...this.#apt, "update"], { stdio: "ignore" });
  }

  unpacked(name: string): string {
    return unpacked(name, this.#cache, this.#apt);
  }

  /** The first package that this one depends on: of a name without a version, the one of today. */
  dependency(name: string): string {
    const told = execFileSync("apt-cache", [...this.#apt, "depends", "--important", name], { encoding: "utf8" });
    const found = /^ {2}Depends: (\S+)$/m.exec(told)?.[1];
    if (found === undefined) throw new Error(`${name} depends on nothing`);
    return found;
  }
}

function unpacked(name: string, cache: string, apt: readonly string[]): string {
  const directory = join(cache, name);
  if (existsSync(directory)) return directory;
  const fresh = `${directory}.${process.pid}`;
  mkdirSync(fresh, { recursive: true });
  try {
    execFileSync("apt-get", [...apt, "download", name], { cwd: fresh, stdio: "ignore" });
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
