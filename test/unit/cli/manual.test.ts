import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { cliManual } from "../../documents.ts";

test("docs/cli.md says what the verbs are (npm run docs writes it)", () => {
  assert.equal(readFileSync(resolve(import.meta.dirname, "../../../..", "docs/cli.md"), "utf8"), cliManual());
});
