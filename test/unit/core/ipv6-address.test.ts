import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isFault } from "../../../src/core/fault.ts";
import {
  ipv6FromBytes,
  ipv6FromNumber,
  ipv6ToBytes,
  ipv6ToNumber,
  isLinkLocal,
  parseIpv6Address,
} from "../../../src/core/ipv6-address.ts";

const CANONICAL: readonly (readonly [string, string])[] = [
  ["2001:0DB8::0001", "2001:db8::1"],
  ["2001:db8:0:0:0:0:2:1", "2001:db8::2:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["1::", "1::"],
  ["::ffff:192.0.2.1", "::ffff:c000:201"],
];
for (const [written, canonical] of CANONICAL) {
  test(`${written} is written ${canonical} — RFC 5952`, () => assert.equal(parseIpv6Address(written), canonical));
}

const WRONG = [
  "",
  ":",
  ":::",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1::2::3",
  "12345::",
  "g::",
  "fe80::1%eth0",
  "1:2:3:4:5:6:7::8",
  "::1.2.3",
  "1.2.3.4::",
];
for (const text of WRONG) {
  test(`"${text}" is not an address`, () => {
    assert.throws(
      () => parseIpv6Address(text),
      (error) => isFault(error) && error.kind === "invalid",
    );
  });
}

test("every address comes back from its text, its bytes and its number", () => {
  const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const withZeroes = fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(
      fc.oneof(
        sixteen,
        withZeroes.map((list) => Uint8Array.from(list)),
      ),
      (bytes) => {
        const address = ipv6FromBytes(bytes);
        assert.deepEqual(ipv6ToBytes(address), Uint8Array.from(bytes));
        assert.equal(ipv6FromNumber(ipv6ToNumber(address)), address);
        assert.equal(parseIpv6Address(address), address);
        assert.equal(new URL(`http://[${address}]/`).hostname, `[${address}]`); // the platform agrees
      },
    ),
  );
});

test("fe80::/10 is link-local, and nothing else", () => {
  assert.ok(isLinkLocal(parseIpv6Address("fe80::1")) && isLinkLocal(parseIpv6Address("febf::1")));
  assert.ok(!isLinkLocal(parseIpv6Address("fec0::1")) && !isLinkLocal(parseIpv6Address("fd00::1")));
});
