import assert from "node:assert/strict";
import { test } from "node:test";
import { answerFile, type RequestHeaders } from "../../../src/service/http-range.ts";

const modified = new Date("2026-01-01T10:00:00.500Z");
const AT = "Thu, 01 Jan 2026 10:00:00 GMT";
const BEFORE = "Thu, 01 Jan 2026 09:59:59 GMT";
const ask = (headers: RequestHeaders, size = 100): unknown => answerFile(headers, { etag: '"v1"', modified, size });

test("without conditions the whole file", () => assert.deepEqual(ask({}), { status: 200 }));

test("preconditions in the order of RFC 9110 §13.2.2", () => {
  assert.deepEqual(ask({ "if-match": '"v1"' }), { status: 200 });
  assert.deepEqual(ask({ "if-match": 'W/"v1"' }), { status: 412 }); // strong
  assert.deepEqual(ask({ "if-match": "*" }), { status: 200 });
  assert.deepEqual(ask({ "if-match": '"v0", "v1"', "if-unmodified-since": BEFORE }), { status: 200 });
  assert.deepEqual(ask({ "if-unmodified-since": BEFORE }), { status: 412 });
  assert.deepEqual(ask({ "if-unmodified-since": AT }), { status: 200 });
  assert.deepEqual(ask({ "if-none-match": 'W/"v1"' }), { status: 304 }); // weak
  assert.deepEqual(ask({ "if-none-match": '"v0"', "if-modified-since": AT }), { status: 200 });
  assert.deepEqual(ask({ "if-modified-since": AT }), { status: 304 });
  assert.deepEqual(ask({ "if-modified-since": BEFORE }), { status: 200 });
  assert.deepEqual(ask({ "if-modified-since": "yesterday" }), { status: 200 });
  assert.deepEqual(ask({ "if-none-match": '"v1"', range: "bytes=0-1" }), { status: 304 });
});

test("one range of bytes; several, and what is not of the form, get the whole — RFC 9110 §14.2", () => {
  assert.deepEqual(ask({ range: "bytes=0-0" }), { status: 206, first: 0, last: 0 });
  assert.deepEqual(ask({ range: "bytes=90-" }), { status: 206, first: 90, last: 99 });
  assert.deepEqual(ask({ range: "bytes=90-1000" }), { status: 206, first: 90, last: 99 });
  assert.deepEqual(ask({ range: "bytes=-5" }), { status: 206, first: 95, last: 99 });
  assert.deepEqual(ask({ range: "bytes=-500" }), { status: 206, first: 0, last: 99 });
  assert.deepEqual(ask({ range: "bytes=100-" }), { status: 416 });
  assert.deepEqual(ask({ range: "bytes=-0" }), { status: 416 });
  assert.deepEqual(ask({ range: "bytes=0-" }, 0), { status: 416 });
  for (const range of ["bytes=5-4", "bytes=0-1,3-4", "bytes=-", "items=0-1", "bytes=a-b", "bytes=0-1;x"])
    assert.deepEqual(ask({ range }), { status: 200 }, range);
});

test("If-Range with another version gets the whole — RFC 9110 §13.1.5", () => {
  assert.deepEqual(ask({ range: "bytes=0-0", "if-range": '"v1"' }), { status: 206, first: 0, last: 0 });
  assert.deepEqual(ask({ range: "bytes=0-0", "if-range": '"v0"' }), { status: 200 });
  assert.deepEqual(ask({ range: "bytes=0-0", "if-range": 'W/"v1"' }), { status: 200 });
  assert.deepEqual(ask({ range: "bytes=0-0", "if-range": AT }), { status: 206, first: 0, last: 0 });
  assert.deepEqual(ask({ range: "bytes=0-0", "if-range": BEFORE }), { status: 200 });
});
