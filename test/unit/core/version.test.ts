import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { test } from "node:test";
import { VERSION } from "../../../src/core/version.ts";

test("the version is package.json's", () => {
  const { version } = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../../../package.json"), "utf8")) as {
    version: string;
  };
  assert.equal(VERSION, version);
});
