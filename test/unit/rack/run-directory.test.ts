import assert from "node:assert/strict";
import { test } from "node:test";
import { leftovers } from "../../rack/run-directory.ts";

test("only directories of racks whose process is dead are leftovers", () => {
  const entries = [
    "ironrack-rack-10-AbCdEf",
    "ironrack-rack-11-aaaaaa",
    "ironrack-rack-x-aaaaaa",
    "ironrack-rack-10",
    "other-10-AbCdEf",
  ];
  assert.deepEqual(
    leftovers(entries, (pid) => pid === 11),
    ["ironrack-rack-10-AbCdEf"],
  );
});
