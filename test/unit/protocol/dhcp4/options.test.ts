import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIpv4Address } from "../../../../src/core/brand.ts";
import { MalformedFault } from "../../../../src/core/fault.ts";
import {
  dhcpOptions,
  encodeOption,
  encodeOptions,
  isOptionName,
  type OptionName,
  optionNameFromCode,
  type OptionValue,
  readOption,
} from "../../../../src/protocol/dhcp4/options.ts";

const one = parseIpv4Address("10.0.0.1");
const two = parseIpv4Address("192.168.255.254");

/** A value and its bytes for each form of the table. */
const EXAMPLES: { readonly [form: string]: readonly (readonly [unknown, string])[] } = {
  "8-bit number": [
    [0, "00"],
    [255, "ff"],
  ],
  "16-bit number": [[258, "0102"]],
  "32-bit number": [[0xffffffff, "ffffffff"]],
  "signed 32-bit number": [[-3600, "fffff1f0"]],
  "true or false": [
    [true, "01"],
    [false, "00"],
  ],
  nothing: [[true, ""]],
  "IPv4 address": [[one, "0a000001"]],
  text: [
    ["rack.test", "7261636b2e74657374"],
    ["", ""],
  ],
  bytes: [[Uint8Array.of(1, 0, 255), "0100ff"]],
  "at least 1 bytes": [[Uint8Array.of(7), "07"]],
  "at least 2 bytes": [[Uint8Array.of(1, 2), "0102"]],
  "at least 3 bytes": [[Uint8Array.of(1, 2, 3), "010203"]],
  "at least 11 bytes": [[new Uint8Array(11), "00".repeat(11)]],
  "list of 8-bit number": [[[1, 3, 6], "010306"]],
  "list of 16-bit number": [[[0, 7], "00000007"]],
  "list of IPv4 address": [[[one, two], "0a000001c0a8fffe"]],
  "list of pair of IPv4 addresses": [[[{ first: one, second: two }], "0a000001c0a8fffe"]],
  "DHCP message type": [
    ["discover", "01"],
    ["tls", "12"],
  ],
  "list of route": [
    [[{ destination: parseIpv4Address("0.0.0.0"), prefixLength: 0, router: one }], "000a000001"],
    [[{ destination: parseIpv4Address("10.17.0.0"), prefixLength: 16, router: two }], "100a11c0a8fffe"],
    [[{ destination: parseIpv4Address("10.229.0.128"), prefixLength: 25, router: one }], "190ae500800a000001"],
  ],
  "list of domain names": [
    [
      ["eng.apple.com", "marketing.apple.com"],
      "03656e67056170706c6503636f6d00096d61726b6574696e67056170706c6503636f6d00",
    ],
  ],
  "options within an option": [
    [
      new Map([
        [1, Uint8Array.of(9, 9)],
        [2, Uint8Array.of()],
      ]),
      "010209090200",
    ],
  ],
};

test("each code and each name stands once, and the table inverts", () => {
  const codes = Object.values(dhcpOptions).map((row) => row.code);
  assert.equal(new Set(codes).size, codes.length);
  for (const [name, row] of Object.entries(dhcpOptions)) {
    assert.equal(optionNameFromCode(row.code), name);
    assert.ok(row.code > 0 && row.code < 255, name);
    assert.match(row.source, /^(RFC \d+|iPXE|MS-DHCPE|draft-)/);
  }
});

test("every option of RFC 2132 is there", () => {
  const rfc2132 = [
    ...Array.from({ length: 49 }, (_, at) => at + 1),
    ...Array.from({ length: 12 }, (_, at) => at + 50),
    64,
    65,
    66,
    67,
    68,
    69,
    70,
    71,
    72,
    73,
    74,
    75,
    76,
  ];
  assert.deepEqual(
    rfc2132.filter((code) => optionNameFromCode(code) === undefined),
    [],
  );
});

for (const [name, row] of Object.entries(dhcpOptions)) {
  test(`${name} (${row.code}) has an example that reads back and writes the same bytes — ${row.source}`, () => {
    assert.ok(isOptionName(name));
    const examples = EXAMPLES[row.value.form];
    assert.ok(examples !== undefined, `no example for ${row.value.form}`);
    for (const [value, hex] of examples) {
      const terminated: string = name === "ipxe" ? "ff" : "";
      assert.equal(
        Buffer.from(encodeOption(name, value as OptionValue<typeof name>)).toString("hex"),
        hex + terminated,
      );
      const got: unknown = readOption(new Map([[row.code, Uint8Array.from(Buffer.from(hex, "hex"))]]), name);
      assert.deepEqual(got, value);
    }
  });
}

function read(name: OptionName, hex: string): unknown {
  return readOption(new Map([[dhcpOptions[name].code, Uint8Array.from(Buffer.from(hex, "hex"))]]), name);
}

test("a value that is too short, too long or outside of its range is malformed", () => {
  for (const [name, hex] of [
    ["subnetMask", "ffffff"],
    ["subnetMask", "ffffff0000"],
    ["router", ""],
    ["router", "0a0000010a"],
    ["ipForwarding", "02"],
    ["ipForwarding", ""],
    ["leaseTime", "000e10"],
    ["messageType", "13"],
    ["messageType", "00"],
    ["clientIdentifier", "01"],
    ["policyFilter", "0a000001"],
    ["classlessStaticRoute", "210a0000010a000001"],
    ["classlessStaticRoute", "180a00"],
    ["clientSystemArchitecture", "00"],
    ["relayAgentInformation", "01"],
    ["relayAgentInformation", "010501"],
    ["domainSearch", "0361"],
    ["domainSearch", "c000"],
    ["domainSearch", "40"],
    ["domainSearch", ""],
    ["parameterRequestList", ""],
    ["rapidCommit", "01"],
  ] as const) {
    assert.throws(() => read(name, hex), MalformedFault, `${name} ${hex}`);
  }
});

test("names in a search list may end in a pointer backwards — RFC 3397 §2", () => {
  assert.deepEqual(read("domainSearch", "03656e67056170706c6503636f6d00096d61726b6574696e67c004"), [
    "eng.apple.com",
    "marketing.apple.com",
  ]);
});

test("a search list of pointers to pointers ends", () => {
  const value = Buffer.concat([
    Buffer.from("00", "hex"),
    ...Array.from({ length: 300 }, (_, at) =>
      Buffer.from([0xc0 | (((at * 2 + 1 - 2) >> 8) & 0x3f), Math.max(0, at * 2 - 1) & 255]),
    ),
  ]);
  try {
    read("domainSearch", value.toString("hex"));
  } catch (error) {
    assert.ok(error instanceof MalformedFault);
  }
});

test("text loses the NULs that some clients put at its end, and nothing else", () => {
  assert.equal(read("hostName", "61620000"), "ab");
  assert.equal(read("hostName", "610062"), "a\0b");
});

test("PAD and END count within option 175 and not within option 82", () => {
  assert.deepEqual(read("ipxe", "00b00101ff1234"), new Map([[176, Uint8Array.of(1)]]));
  assert.deepEqual(
    read("relayAgentInformation", "0000ff0101"),
    new Map([
      [0, Uint8Array.of()],
      [255, Uint8Array.of(1)],
    ]),
  );
});

test("named values become bytes in the order in which they are stated", () => {
  assert.deepEqual([...encodeOptions({ router: [one], subnetMask: two, hostName: undefined }).keys()], [3, 1]);
});
