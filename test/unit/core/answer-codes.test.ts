import assert from "node:assert/strict";
import { test } from "node:test";
import { answerCode, answerCodes, faultOfAnswer, rpcCode } from "../../../src/core/answer-codes.ts";

test("no two kinds share a JSON-RPC code, and ours lie in the range that JSON-RPC 2.0 leaves to servers", () => {
  const codes = Object.values(answerCodes).map(({ rpc }) => rpc);
  assert.equal(new Set(codes).size, codes.length);
  const standard = new Set([-32700, -32602, -32603]);
  for (const code of codes) assert.ok(standard.has(code) || (code <= -32000 && code >= -32099), String(code));
});

test("every kind has an HTTP error status and an exit status that says failure", () => {
  for (const { http, exit } of Object.values(answerCodes)) {
    assert.ok(http >= 400 && http < 600);
    assert.ok(exit > 0 && exit < 256);
  }
});

test("a kind that nobody knows counts as internal, also one that every object has", () => {
  for (const kind of ["", "new-kind", "constructor", "__proto__"]) {
    assert.equal(answerCode(kind), answerCodes.internal);
    assert.equal(faultOfAnswer({ kind, code: "c", message: "m" }).kind, "internal");
  }
});

test("an unknown command and a bad request have JSON-RPC's own codes", () => {
  assert.equal(rpcCode("not-found", "command.unknown"), -32601);
  assert.equal(rpcCode("invalid", "request.invalid"), -32600);
  assert.equal(rpcCode("not-found", "toString"), -32001);
});
