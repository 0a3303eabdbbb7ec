import assert from "node:assert/strict";
import { test } from "node:test";
import { SystemClock } from "../../../src/core/clock.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { complete } from "../../../src/cli/completion.ts";
import { buildProgram } from "../../../src/cli/program.ts";

const terminal = { out: () => {}, err: () => {}, outWidth: undefined, errWidth: undefined };
const program = buildProgram({
  terminal,
  clock: new SystemClock(),
  random: new SystemRandom(),
  version: "0",
  interrupted: new AbortController().signal,
  exit: () => {},
});
const words = (...line: readonly string[]): readonly string[] => complete(program, line).words;
const nodes = (...line: readonly string[]): boolean => complete(program, line).nodes;

test("verbs complete at every level, here and behind site with its options", () => {
  assert.deepEqual(words("no"), ["node"]);
  assert.deepEqual(words("node", "in"), ["inspect", "inventory"]);
  assert.deepEqual(words("node", "power", ""), ["off", "on", "reboot"]);
  assert.deepEqual(words("site", "--broker", "node", "node", "li"), ["list"]);
  assert.deepEqual(words("--socket", "/x", "event", ""), ["list"]);
  assert.equal(words("comp").includes("complete"), false);
});

test("options complete, those of the commands above too", () => {
  assert.deepEqual(words("node", "deploy", "n1", "--image-s"), ["--image-source"]);
  assert.ok(words("node", "list", "--").includes("--socket"));
  assert.deepEqual(words("node", "deploy", "n1", "--image-source", ""), []);
});

test("names of nodes are asked for where a node is meant", () => {
  assert.equal(nodes("node", "show", ""), true);
  assert.equal(nodes("node", "power", "on", "n"), true);
  assert.equal(nodes("port", "create", "--node", ""), true);
  assert.equal(nodes("node", "boot-device", "n1", ""), false);
  assert.equal(nodes("port", "show", ""), false);
  assert.equal(nodes("node", ""), false);
});

test("no two commands of one level have the same name, and every one says what it does", () => {
  const walk = (command: typeof program): void => {
    const names = command.commands.map((one) => one.name());
    assert.equal(new Set(names).size, names.length, command.name());
    for (const one of command.commands) {
      if (one.name() !== "complete") assert.notEqual(one.description(), "", one.name());
      walk(one);
    }
  };
  walk(program);
});
