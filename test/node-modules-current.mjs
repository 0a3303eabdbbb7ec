// Exit status 0 when node_modules holds what package-lock.json says, by npm's own record of what it installed.
import { readFileSync } from "node:fs";

const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages;
try {
  const wanted = packages("package-lock.json");
  const present = packages("node_modules/.package-lock.json");
  const same = Object.entries(wanted).every(
    ([path, entry]) =>
      path === "" || (present[path] === undefined ? entry.optional === true : present[path].version === entry.version),
  );
  process.exitCode = same && Object.keys(present).every((path) => wanted[path] !== undefined) ? 0 : 1;
} catch {
  process.exitCode = 1;
}
