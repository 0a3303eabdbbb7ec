import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { answerCodes } from "../../../src/core/answer-codes.ts";
import { Fault, type FaultKind, isFault } from "../../../src/core/fault.ts";
import type { Json } from "../../../src/core/json.ts";
import {
  decodeCall,
  decodeReply,
  encodeReply,
  encodeRequest,
  failed,
  parseJson,
  resultOf,
} from "../../../src/protocol/json-rpc.ts";

const id = fc.oneof(fc.string(), fc.integer());

test("a request comes out as it went in", () => {
  fc.assert(
    fc.property(id, fc.string(), fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (given, method, params) => {
      const plain = JSON.parse(JSON.stringify(params)) as Json;
      const { batch, entries } = decodeCall(encodeRequest({ id: given, method, params: plain }));
      assert.equal(batch, false);
      assert.deepEqual(entries, [{ id: given, method, params: plain }]);
    }),
  );
});

test("a result and every kind of fault come out as they went in", () => {
  fc.assert(
    fc.property(id, fc.jsonValue({ maxDepth: 4 }), (given, value) => {
      const result = JSON.parse(JSON.stringify(value)) as Json;
      assert.deepEqual(resultOf(decodeReply(encodeReply({ id: given, outcome: { ok: true, result } }))), result);
    }),
  );
  for (const kind of Object.keys(answerCodes) as FaultKind[]) {
    const fault = new Fault(kind, "some.code", "some words", { detail: { field: "a", n: 1, no: null } });
    const reply = decodeReply(encodeReply({ id: "x", outcome: failed(fault) }));
    assert.throws(
      () => resultOf(reply),
      (error) =>
        isFault(error) &&
        error.kind === kind &&
        error.code === "some.code" &&
        error.message === "some words" &&
        error.detail["field"] === "a",
    );
  }
});

test("no text makes decoding throw anything but a fault", () => {
  const mutated = fc
    .tuple(
      fc.constantFrom(
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{}}',
        '[{"jsonrpc":"2.0"}]',
        '{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
      ),
      fc.nat(),
      fc.string(),
    )
    .map(([text, at, insert]) => text.slice(0, at % text.length) + insert + text.slice(at % text.length));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), mutated), (text) => {
      for (const entry of decodeCall(text).entries) assert.ok("fault" in entry || typeof entry.method === "string");
      try {
        decodeReply(text);
      } catch (error) {
        assert.ok(isFault(error) && error.kind === "malformed");
      }
    }),
    { numRuns: 3000 },
  );
});

test("JSON nested deeper than 64 levels is refused, arrays and objects alike", () => {
  const nested = (depth: number, open: string, close: string): string => open.repeat(depth) + close.repeat(depth);
  assert.doesNotThrow(() => parseJson(nested(64, "[", "]")));
  for (const text of [nested(66, "[", "]"), nested(1_000_000, "[", "]"), `${'{"a":'.repeat(66)}1${"}".repeat(66)}`]) {
    assert.throws(
      () => parseJson(text),
      (error) => isFault(error) && error.kind === "malformed",
    );
  }
});

test("a member named __proto__ stays a member and changes no prototype", () => {
  const { entries } = decodeCall('{"jsonrpc":"2.0","id":1,"method":"a","params":{"__proto__":{"polluted":true}}}');
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.equal(entries.length, 1);
});
