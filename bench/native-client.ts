import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

/** The path of a client program of bench/client, compiled when its source is newer. */
export function nativeClient(name: string): string {
  const source = resolve(import.meta.dirname, `../../bench/client/${name}.cpp`);
  const directory = resolve(import.meta.dirname, "client");
  const program = join(directory, name);
  const built = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (built < statSync(source).mtimeMs) {
    mkdirSync(directory, { recursive: true });
    execFileSync("g++", ["-O2", "-std=c++23", "-Wall", "-Wextra", "-o", program, source], { stdio: "inherit" });
  }
  return program;
}
