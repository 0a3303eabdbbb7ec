import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { renderFile } from "../../../src/config/document.ts";
import { checkConfig, problemLine } from "../../../src/config/load.ts";
import { editDistance } from "../../../src/config/suggestion.ts";
import { configTable } from "../../../src/config/table.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-config-fuzz-"));
after(() => rmSync(root, { recursive: true }));
const path = join(root, "appliance.conf");

/** Every outcome is a configuration without problems, or problems with places within the file and no configuration. */
function check(text: string): void {
  writeFileSync(path, text);
  const { config, problems } = checkConfig(path);
  assert.equal(config === undefined, problems.length > 0);
  const lines = text.split("\n").length;
  for (const problem of problems) {
    assert.match(problemLine(problem), /^appliance\.conf:[1-9][0-9]*:[1-9][0-9]*: ./);
    assert.ok(problem.at.line <= lines + 1, `${problem.at.line} of ${lines}`);
  }
}

test("arbitrary text is a configuration or problems, never anything else", () => {
  fc.assert(fc.property(fc.string({ maxLength: 200 }), check), { numRuns: 500 });
});

test("so is the shipped file with characters put in, taken out or changed", () => {
  const shipped = renderFile().replaceAll(/^#(?! )/gm, "");
  const edit = fc.record({
    at: fc.nat({ max: shipped.length }),
    remove: fc.nat({ max: 12 }),
    put: fc.string({ maxLength: 6 }),
  });
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
      let text = shipped;
      for (const { at, remove, put } of edits) text = text.slice(0, at) + put + text.slice(at + remove);
      check(text);
    }),
    { numRuns: 300 },
  );
});

test("so are values of every TOML type under every key", () => {
  const values = [
    '"x"',
    "'/x'",
    "1",
    "-1",
    "9999999999999999999",
    "1.5",
    "inf",
    "true",
    "[]",
    "[1]",
    '["a", [2]]',
    "{}",
    "{ a = 1 }",
    "2026-01-01",
    "2026-01-01T00:00:00Z",
    "07:32:00",
    '"""\nx"""',
    '""',
  ];
  for (const [section, { fields }] of Object.entries(configTable)) {
    for (const key of Object.keys(fields)) for (const value of values) check(`[${section}]\n${key} = ${value}\n`);
  }
});

test("the distance of two words is that of swaps, insertions, removals and changes", () => {
  const cases = [
    ["", "", 0],
    ["abc", "", 3],
    ["abc", "abc", 0],
    ["abc", "acb", 1],
    ["kitten", "sitting", 3],
    ["interfce", "interface", 1],
  ] as const;
  for (const [a, b, distance] of cases) assert.equal(editDistance(a, b), distance);
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
    }),
  );
});
