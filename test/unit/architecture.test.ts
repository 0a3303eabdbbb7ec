import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { test } from "node:test";

/** docs/architecture.md's table: which folders of src a folder may import, type-only imports counted. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  protocol: ["core"],
  domain: ["core"],
  net: ["core"],
  image: ["core", "domain"],
  client: ["core", "protocol", "net"],
  driver: ["core", "domain", "protocol", "client", "image"],
  store: ["core", "domain"],
  service: ["core", "domain", "protocol", "net"],
  conductor: ["core", "domain"],
  api: ["core", "protocol", "domain", "conductor", "net"],
  mqtt: ["core", "protocol", "domain", "conductor", "net"],
  control: ["core", "protocol", "domain", "conductor", "net"],
  // protocol: the table of DHCP options is what [dhcp.options] is read by; domain: what a boot template may say.
  config: ["core", "protocol", "domain"],
  cli: ["core", "domain", "config", "store", "net", "protocol"],
};

/** Single files that a layer may import beyond its folders. */
const MAY_IMPORT_FILES: Readonly<Record<string, readonly string[]>> = {
  conductor: ["driver/interfaces.ts"],
};

/** What has one home, and the file that is it. */
const ONE_HOME: readonly { readonly what: string; readonly pattern: RegExp; readonly home: readonly string[] }[] = [
  { what: "Date", pattern: /\bnew Date\(\)|\bDate\.now\(/, home: ["core/clock.ts"] },
  { what: "timers", pattern: /\b(setTimeout|setInterval)\(|AbortSignal\.timeout/, home: ["core/clock.ts"] },
  { what: "Math.random", pattern: /\bMath\.random\(/, home: [] },
  { what: "process.env", pattern: /\bprocess\.env\b/, home: ["core/environment.ts"] },
  { what: "console", pattern: /\bconsole\./, home: [] },
];

const sources = resolve(import.meta.dirname, "../../../src");

function files(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? files(join(directory, entry.name))
      : entry.name.endsWith(".ts")
        ? [join(directory, entry.name)]
        : [],
  );
}

const all = files(sources).map((path) => ({ name: relative(sources, path), text: readFileSync(path, "utf8") }));

/** Comments say what they like. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

test("every layer imports only what the table allows", () => {
  const wrong: string[] = [];
  for (const { name, text } of all) {
    const layer = name.split("/")[0] ?? "";
    if (!name.includes("/")) continue; // the composition root
    const allowed = MAY_IMPORT[layer];
    if (allowed === undefined) {
      wrong.push(`${name}: folder "${layer}" is not in the table`);
      continue;
    }
    for (const [, specifier] of text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)) {
      const target = relative(sources, resolve(sources, name, "..", specifier ?? ""));
      const targetLayer = target.split("/")[0] ?? "";
      if (target.startsWith("..") || targetLayer === layer || allowed.includes(targetLayer)) continue;
      if (MAY_IMPORT_FILES[layer]?.includes(target) === true) continue;
      wrong.push(`${name} imports ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("nothing imports the composition root", () => {
  const root = new RegExp(
    `from "(\\.\\.?/)+(${all
      .filter(({ name }) => !name.includes("/"))
      .map(({ name }) => name)
      .join("|")})"`,
  );
  const wrong = all.filter(({ name, text }) => name.includes("/") && root.test(text)).map(({ name }) => name);
  assert.deepEqual(wrong, []);
});

for (const { what, pattern, home } of ONE_HOME) {
  test(`${what} occurs only in ${home.length === 0 ? "no file" : home.join(", ")}`, () => {
    assert.deepEqual(
      all.filter(({ name, text }) => !home.includes(name) && pattern.test(code(text))).map(({ name }) => name),
      [],
    );
  });
}

test("no file or folder is a drawer", () => {
  const drawers = /(^|\/)(utils?|common|helpers?|shared|misc|base|manager|types)(\.ts|\/)/;
  assert.deepEqual(
    all.map(({ name }) => name).filter((name) => drawers.test(name)),
    [],
  );
});
