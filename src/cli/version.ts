import { readFile } from "node:fs/promises";

/** The version of the package that this program belongs to: the nearest package.json above it. */
export async function version(): Promise<string> {
  for (let directory = new URL(".", import.meta.url); ; directory = new URL("..", directory)) {
    const text = await readFile(new URL("package.json", directory), "utf8").catch(() => undefined);
    const found = text === undefined ? undefined : /"version":\s*"([^"]+)"/.exec(text)?.[1];
    if (found !== undefined) return found;
    if (directory.pathname === "/") return "unknown";
  }
}
