import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../../../src/core/fault.ts";
import type { Json, JsonObject } from "../../../../src/core/json.ts";
import { ipmiProperties, parseIpmiDriverInfo } from "../../../../src/driver/ipmi/driver-info.ts";

function refuses(info: JsonObject, field: string, kind = "invalid"): void {
  assert.throws(
    () => parseIpmiDriverInfo(info),
    (error) => {
      assert.ok(isFault(error), String(error));
      assert.equal(error.kind, kind);
      assert.equal(error.detail["field"], field);
      assert.ok(error.message.startsWith(`${field}: `), error.message);
      return true;
    },
  );
}

test("the address alone suffices; everything else has Ironic's default", () => {
  const info = parseIpmiDriverInfo({ ipmi_address: "10.0.0.9" });
  assert.equal(info.target.port, 623);
  assert.equal(info.target.username, "");
  assert.equal(info.target.password.reveal(), "");
  assert.equal(info.target.bmcKey, undefined);
  assert.equal(info.target.privilege, "ADMINISTRATOR");
  assert.deepEqual(info.target.cipherSuites, [17, 3]);
  assert.equal(info.forceBootDevice, false);
  assert.equal(info.disableBootTimeout, true);
});

test("every key is read, as text or as the number or boolean that people write", () => {
  const strings = {
    ipmi_address: "bmc-1.rack.example",
    ipmi_port: "6230",
    ipmi_username: "admin",
    ipmi_password: "secret",
    ipmi_priv_level: "operator",
    ipmi_cipher_suite: "3",
    ipmi_hex_kg_key: "00112233445566778899aabbccddeeff00112233",
    ipmi_force_boot_device: "True",
    ipmi_disable_boot_timeout: "no",
    ipmi_protocol_version: "2.0",
    ipmi_bridging: "no",
  };
  assert.deepEqual(Object.keys(strings).sort(), Object.keys(ipmiProperties).sort());
  const plain = parseIpmiDriverInfo(strings);
  assert.equal(plain.target.host, "bmc-1.rack.example");
  assert.equal(plain.target.port, 6230);
  assert.equal(plain.target.privilege, "OPERATOR");
  assert.deepEqual(plain.target.cipherSuites, [3]);
  assert.equal(plain.target.bmcKey?.reveal(), strings.ipmi_hex_kg_key);
  assert.equal(plain.forceBootDevice, true);
  assert.equal(plain.disableBootTimeout, false);
  const typed = parseIpmiDriverInfo({
    ...strings,
    ipmi_port: 6230,
    ipmi_cipher_suite: 3,
    ipmi_force_boot_device: true,
    ipmi_disable_boot_timeout: false,
    ipmi_protocol_version: 2,
  });
  assert.deepEqual(
    { ...typed, target: { ...typed.target, password: 0, bmcKey: 0 } },
    { ...plain, target: { ...plain.target, password: 0, bmcKey: 0 } },
  );
});

test("what is wrong is refused with the name of its field", () => {
  const address = { ipmi_address: "10.0.0.9" };
  refuses({}, "ipmi_address");
  for (const value of ["", " ", "two words", "a/b", ["10.0.0.9"], true] as Json[])
    refuses({ ipmi_address: value }, "ipmi_address");
  for (const value of [0, 65536, "six", -1, 1.5, "0x26f"] as Json[])
    refuses({ ...address, ipmi_port: value }, "ipmi_port");
  refuses({ ...address, ipmi_username: "seventeen-letters" }, "ipmi_username");
  refuses({ ...address, ipmi_password: "twenty-one-characters" }, "ipmi_password");
  refuses({ ...address, ipmi_priv_level: "ROOT" }, "ipmi_priv_level");
  refuses({ ...address, ipmi_priv_level: "OEM" }, "ipmi_priv_level");
  for (const value of [0, 4, 12, "strong"] as Json[])
    refuses({ ...address, ipmi_cipher_suite: value }, "ipmi_cipher_suite");
  for (const value of ["abc", "00".repeat(21), "zz".repeat(20)])
    refuses({ ...address, ipmi_hex_kg_key: value }, "ipmi_hex_kg_key");
  refuses({ ...address, ipmi_force_boot_device: "maybe" }, "ipmi_force_boot_device");
  refuses({ ...address, ipmi_disable_boot_timeout: {} }, "ipmi_disable_boot_timeout");
  refuses({ ...address, ipmi_protocol_version: "3.0" }, "ipmi_protocol_version");
  refuses({ ...address, ipmi_bridging: "triple" }, "ipmi_bridging");
});

test("what ironrack does not do is unsupported, not silently ignored", () => {
  const address = { ipmi_address: "10.0.0.9" };
  refuses({ ...address, ipmi_protocol_version: "1.5" }, "ipmi_protocol_version", "unsupported");
  refuses({ ...address, ipmi_protocol_version: 1.5 }, "ipmi_protocol_version", "unsupported");
  refuses({ ...address, ipmi_bridging: "single" }, "ipmi_bridging", "unsupported");
});

test("secrets stand in no message and print as ***", () => {
  const long = "correct-horse-battery-staple";
  assert.throws(
    () => parseIpmiDriverInfo({ ipmi_address: "a", ipmi_password: long, ipmi_hex_kg_key: long }),
    (error) => isFault(error) && !error.message.includes(long),
  );
  const info = parseIpmiDriverInfo({ ipmi_address: "a", ipmi_password: "short", ipmi_hex_kg_key: "11".repeat(20) });
  assert.ok(!JSON.stringify(info).includes("short") && !JSON.stringify(info).includes("1111"));
});

test("a K_G of zeroes is none — IPMI 2.0 §13.33", () => {
  assert.equal(parseIpmiDriverInfo({ ipmi_address: "a", ipmi_hex_kg_key: "00".repeat(20) }).target.bmcKey, undefined);
});
