import assert from "node:assert/strict";
import { test } from "node:test";
import { authenticationAlgorithms, cipherSuite } from "../../../../src/protocol/ipmi/cipher-suite.ts";
import {
  deriveSessionKeys,
  keyedHash,
  rakp2Code,
  rakp3Code,
  rakp4Code,
  sameCode,
} from "../../../../src/protocol/ipmi/rakp-keys.ts";
import { decodeRakp2, decodeRakp3, decodeRakp4 } from "../../../../src/protocol/ipmi/rakp-message.ts";
import { contextOf, payloadOf, sameBytes, sessions } from "./golden-capture.ts";

function filled(byte: number, count: number): Uint8Array {
  return new Uint8Array(count).fill(byte);
}

function text(value: string): Uint8Array {
  return Buffer.from(value, "latin1");
}

function counting(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => index + 1);
}

/** RFC 2202 §2 (HMAC-MD5), §3 (HMAC-SHA-1); RFC 4231 §4.2 to §4.8 (HMAC-SHA-256). Test case 5 of both truncates and is left out for SHA-256. */
const vectors = [
  ["rakp-hmac-md5", filled(0x0b, 16), text("Hi There"), "9294727a3638bb1c13f48ef8158bfc9d"],
  ["rakp-hmac-md5", text("Jefe"), text("what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738"],
  ["rakp-hmac-md5", filled(0xaa, 16), filled(0xdd, 50), "56be34521d144c88dbb8c733f0e8b3f6"],
  ["rakp-hmac-md5", counting(25), filled(0xcd, 50), "697eaf0aca3a3aea3a75164746ffaa79"],
  [
    "rakp-hmac-md5",
    filled(0xaa, 80),
    text("Test Using Larger Than Block-Size Key - Hash Key First"),
    "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
  ],
  ["rakp-hmac-sha1", filled(0x0b, 20), text("Hi There"), "b617318655057264e28bc0b6fb378c8ef146be00"],
  ["rakp-hmac-sha1", text("Jefe"), text("what do ya want for nothing?"), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"],
  ["rakp-hmac-sha1", filled(0xaa, 20), filled(0xdd, 50), "125d7342b9ac11cd91a39af48aa17b4f63f175d3"],
  ["rakp-hmac-sha1", counting(25), filled(0xcd, 50), "4c9007f4026250c6bc8414f9bf50c86c2d7235da"],
  [
    "rakp-hmac-sha1",
    filled(0xaa, 80),
    text("Test Using Larger Than Block-Size Key - Hash Key First"),
    "aa4ae5e15272d00e95705637ce8a3b55ed402112",
  ],
  [
    "rakp-hmac-sha256",
    filled(0x0b, 20),
    text("Hi There"),
    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
  ],
  [
    "rakp-hmac-sha256",
    text("Jefe"),
    text("what do ya want for nothing?"),
    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
  ],
  [
    "rakp-hmac-sha256",
    filled(0xaa, 20),
    filled(0xdd, 50),
    "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
  ],
  [
    "rakp-hmac-sha256",
    counting(25),
    filled(0xcd, 50),
    "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
  ],
  [
    "rakp-hmac-sha256",
    filled(0xaa, 131),
    text("Test Using Larger Than Block-Size Key - Hash Key First"),
    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
  ],
  [
    "rakp-hmac-sha256",
    filled(0xaa, 131),
    text(
      "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
    ),
    "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
  ],
] as const;

test("keyed hashes give the values of RFC 2202 and RFC 4231", () => {
  for (const [algorithm, key, message, expected] of vectors) {
    const code = keyedHash(algorithm, key, message);
    assert.equal(Buffer.from(code).toString("hex"), expected);
    assert.equal(code.length, authenticationAlgorithms[algorithm].codeLength);
  }
});

for (const capture of sessions) {
  test(`the codes of RAKP 2, 3 and 4 are those of ${capture.name} — IPMI 2.0 §13.31`, () => {
    const { suite, context, keys } = contextOf(capture);
    const second = decodeRakp2(payloadOf(capture, "rakp-2"), authenticationAlgorithms[suite.authentication].codeLength);
    assert.ok(second.kind === "accepted");
    sameBytes(rakp2Code(context), second.code);
    sameBytes(rakp3Code(context), decodeRakp3(payloadOf(capture, "rakp-3")).code);
    sameBytes(rakp4Code(context, keys), decodeRakp4(payloadOf(capture, "rakp-4")).code);
  });

  test(`another password, name, role or K_G gives other codes than ${capture.name}`, () => {
    const { context, keys } = contextOf(capture);
    for (const other of [
      { ...context, password: Buffer.from("Secret") },
      { ...context, username: Buffer.from("Admin") },
      { ...context, role: context.role ^ 0x10 },
    ]) {
      assert.ok(!sameCode(rakp2Code(other), rakp2Code(context)));
      // With a K_G the password proves who the user is and has no part in the keys.
      const inKeys = capture.bmcKey === null || other.password === context.password;
      assert.equal(sameCode(deriveSessionKeys(other).k1, keys.k1), !inKeys);
    }
    const otherKey = { ...context, bmcKey: new Uint8Array(20).fill(7) };
    sameBytes(rakp2Code(otherKey), rakp2Code(context), "K_G has no part in RAKP 2");
    assert.ok(!sameCode(rakp4Code(otherKey, deriveSessionKeys(otherKey)), rakp4Code(context, keys)));
  });
}

test("a password shorter than 20 bytes and the same padded with zeroes are one key — IPMI 2.0 §13.31", () => {
  const padded = new Uint8Array(20);
  padded.set(Buffer.from("secret"));
  for (const algorithm of ["rakp-hmac-sha1", "rakp-hmac-sha256"] as const) {
    sameBytes(keyedHash(algorithm, Buffer.from("secret"), text("x")), keyedHash(algorithm, padded, text("x")));
  }
});

test("codes of different length are never the same", () => {
  assert.ok(!sameCode(new Uint8Array(0), new Uint8Array(12)));
  assert.ok(sameCode(new Uint8Array(12), new Uint8Array(12)));
});

test("RAKP 4's code is cut to the length of the suite's integrity code", () => {
  for (const [id, length] of [
    [3, 12],
    [8, 16],
    [17, 16],
  ] as const) {
    assert.equal(cipherSuite(id).checkLength, length);
  }
});
