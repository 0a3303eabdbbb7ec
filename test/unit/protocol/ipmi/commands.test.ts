import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader } from "../../../../src/core/byte-reader.ts";
import { MalformedFault } from "../../../../src/core/fault.ts";
import {
  bootDevices,
  bootFlags,
  decodeBootFlags,
  encodeBootFlags,
  getSystemBootFlags,
  setSystemBootOptions,
  type BootDeviceSelector,
} from "../../../../src/protocol/ipmi/command/boot-options.ts";
import { chassisActions, chassisControl } from "../../../../src/protocol/ipmi/command/chassis-control.ts";
import { chassisIdentify } from "../../../../src/protocol/ipmi/command/chassis-identify.ts";
import { closeSession } from "../../../../src/protocol/ipmi/command/close-session.ts";
import { getChannelAuthenticationCapabilities } from "../../../../src/protocol/ipmi/command/get-channel-authentication-capabilities.ts";
import {
  decodeCipherSuiteRecords,
  getChannelCipherSuites,
} from "../../../../src/protocol/ipmi/command/get-channel-cipher-suites.ts";
import { getChassisStatus } from "../../../../src/protocol/ipmi/command/get-chassis-status.ts";
import { getDeviceId } from "../../../../src/protocol/ipmi/command/get-device-id.ts";
import { getSelInfo } from "../../../../src/protocol/ipmi/command/get-sel-info.ts";
import { getSystemRestartCause } from "../../../../src/protocol/ipmi/command/get-system-restart-cause.ts";
import { setSessionPrivilegeLevel } from "../../../../src/protocol/ipmi/command/set-session-privilege-level.ts";
import type { IpmiCommand } from "../../../../src/protocol/ipmi/command.ts";
import { completionCodes, completionFault } from "../../../../src/protocol/ipmi/completion-code.ts";
import { rakpFault, rakpStatuses } from "../../../../src/protocol/ipmi/rakp-status.ts";
import { capture, messagesOf, sameBytes } from "./golden-capture.ts";

function read<T>(command: IpmiCommand<never, T>, ...data: number[]): T {
  return command.decode(new ByteReader(Uint8Array.from(data)));
}

/** Each with the shortest answer that IPMI 2.0 allows. */
const shortest: readonly (readonly [IpmiCommand<never, unknown>, readonly number[]])[] = [
  [getDeviceId, [0x20, 0x81, 0x09, 0x08, 0x02, 0x9f, 0x91, 0x12, 0x00, 0x02, 0x0f]],
  [getChannelAuthenticationCapabilities, [1, 0x80, 0x04, 0x02, 0, 0, 0]],
  [getChannelCipherSuites, [1]],
  [setSessionPrivilegeLevel, [4]],
  [closeSession, []],
  [getChassisStatus, [0x21, 0x10, 0x40]],
  [chassisControl, []],
  [chassisIdentify, []],
  [setSystemBootOptions, []],
  [getSystemBootFlags, [1, 5, 0xe0, 0x04, 0, 0]],
  [getSystemRestartCause, [1, 1]],
  [getSelInfo, [0x51, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]],
];

test("every command decodes the shortest answer that the specification allows, and nothing shorter", () => {
  for (const [command, data] of shortest) {
    read(command, ...data);
    for (let length = 0; length < data.length; length += 1) {
      assert.throws(
        () => read(command, ...data.slice(0, length)),
        MalformedFault,
        `${command.name} with ${length} bytes`,
      );
    }
  }
});

test("commands that a BMC carries out for good are actions, those that only ask are reads", () => {
  const effects = Object.fromEntries(shortest.map(([command]) => [command.name, command.effect]));
  assert.equal(effects["Chassis Control"], "action");
  assert.deepEqual(
    Object.entries(effects)
      .filter(([name, effect]) => name.startsWith("Get") && effect !== "read")
      .map(([name]) => name),
    [],
  );
});

test("the chassis actions are those of IPMI 2.0 table 28-4", () => {
  assert.deepEqual(Object.values(chassisActions), [0, 1, 2, 3, 4, 5]);
  for (const [action, code] of Object.entries(chassisActions)) {
    sameBytes(chassisControl.encode({ action: action as keyof typeof chassisActions }), Uint8Array.of(code));
  }
});

test("Get Device ID tells firmware, version and manufacturer, as ipmitool prints them of ipmi_sim", () => {
  const id = read(getDeviceId, 0x00, 0x03, 0x09, 0x08, 0x02, 0x9f, 0x91, 0x12, 0x00, 0x02, 0x0f, 0, 0, 0, 0);
  assert.equal(id.firmware, "9.08");
  assert.equal(id.ipmiVersion, "2.0");
  assert.equal(id.manufacturerId, 4753);
  assert.equal(id.productId, 3842);
  assert.ok(id.chassisDevice && !id.updating && !id.providesSdrs);
});

test("Get Chassis Status reads every bit of its three bytes — IPMI 2.0 table 28-3", () => {
  const off = read(getChassisStatus, 0x00, 0x00, 0x00);
  assert.ok(!off.powerOn && off.restorePolicy === "always-off" && off.identify === undefined);
  const all = read(getChassisStatus, 0x5f, 0x1f, 0x6f);
  assert.ok(all.powerOn && all.powerOverload && all.interlock && all.powerFault && all.powerControlFault);
  assert.deepEqual(all.lastEvent, { acFailed: true, overload: true, interlock: true, fault: true, onByCommand: true });
  assert.ok(all.intrusion && all.frontPanelLockout && all.driveFault && all.coolingFault);
  assert.equal(all.restorePolicy, "always-on");
  assert.equal(all.identify, "indefinite");
  assert.equal(read(getChassisStatus, 0x60, 0, 0x50).restorePolicy, "unknown");
  assert.equal(read(getChassisStatus, 0x60, 0, 0x50).identify, "temporary");
});

test("boot flags encode as the bytes that operators know from ipmitool raw", () => {
  for (const [device, persistent, efi, hex] of [
    ["pxe", true, true, "e004000000"],
    ["pxe", false, true, "a004000000"],
    ["pxe", false, false, "8004000000"],
    ["disk", true, true, "e008000000"],
    ["disk", true, false, "c008000000"],
    ["disk-safe-mode", false, false, "800c000000"],
    ["cdrom", false, true, "a014000000"],
    ["bios-setup", false, true, "a018000000"],
    ["remote-media", true, true, "e024000000"],
  ] as const) {
    sameBytes(encodeBootFlags(bootFlags(device, { persistent, efi })), Buffer.from(hex, "hex"));
  }
});

test("boot flags decode and encode to the same bytes, whatever bits a BMC sends", () => {
  const selectors = new Set<number>(Object.values(bootDevices));
  for (let first = 0; first < 256; first += 1) {
    for (let second = 0; second < 256; second += 1) {
      const bytes = Uint8Array.of(first, second, first ^ 0x5a, second ^ 0xa5, first);
      if (!selectors.has((second >> 2) & 15)) {
        assert.throws(() => decodeBootFlags(new ByteReader(bytes)), MalformedFault);
        continue;
      }
      sameBytes(encodeBootFlags(decodeBootFlags(new ByteReader(bytes))), bytes);
    }
  }
});

test("boot device selectors invert", () => {
  const codes = Object.values(bootDevices);
  assert.equal(new Set(codes).size, codes.length);
  for (const device of Object.keys(bootDevices) as BootDeviceSelector[]) {
    const bytes = encodeBootFlags(bootFlags(device, { persistent: false, efi: false }));
    assert.equal(decodeBootFlags(new ByteReader(bytes)).device, device);
  }
});

test("the valid bit's 60 s limit is lifted by the bytes that Ironic sends: 00h 08h 03h 08h", () => {
  const keep = { onPef: false, onTimeout: true, onWatchdog: false, onReset: false, onPowerUp: false };
  sameBytes(setSystemBootOptions.encode({ parameter: "bootFlagValidClearing", keep }), Uint8Array.of(0x03, 0x08));
  assert.equal(setSystemBootOptions.netFn, 0x00);
  assert.equal(setSystemBootOptions.command, 0x08);
});

test("our requests for a boot device are byte for byte those of ipmitool's captured `bootdev disk options=persistent,efiboot`", () => {
  const theirs = messagesOf(capture("suite-17-boot-device"))
    .filter(({ from, message }) => from === "console" && message.netFn === 0 && message.command === 0x08)
    .map(({ message }) => Buffer.from(message.data).toString("hex"));
  const ours = [
    setSystemBootOptions.encode({ parameter: "setInProgress", value: "in-progress" }),
    setSystemBootOptions.encode({ parameter: "bootInfoAcknowledge", mask: 1, data: 1 }),
    setSystemBootOptions.encode({ parameter: "bootFlags", flags: bootFlags("disk", { persistent: true, efi: true }) }),
    setSystemBootOptions.encode({ parameter: "setInProgress", value: "commit" }),
    setSystemBootOptions.encode({ parameter: "setInProgress", value: "complete" }),
  ].map((bytes) => Buffer.from(bytes).toString("hex"));
  for (const request of ours.slice(0, 3))
    assert.ok(theirs.includes(request), `ipmitool sends ${request}: ${theirs.join(" ")}`);
  assert.ok(
    theirs.every((request) => ours.includes(request)),
    theirs.join(" "),
  );
});

test("the captured `power on`, `close session` and `privilege` requests are ours", () => {
  const messages = messagesOf(capture("suite-3-power")).filter(({ from }) => from === "console");
  const data = (netFn: number, command: number): Uint8Array => {
    const found = messages.find(({ message }) => message.netFn === netFn && message.command === command);
    assert.ok(found);
    return found.message.data;
  };
  sameBytes(data(0, 2), chassisControl.encode({ action: "power-up" }));
  sameBytes(data(6, 0x3b), setSessionPrivilegeLevel.encode({ privilege: "ADMINISTRATOR" }));
  const { packet } = messages[0] ?? assert.fail();
  sameBytes(data(6, 0x3c), closeSession.encode({ managedSessionId: packet.sessionId }));
});

test("the light blinks for a time, for ever, or not — IPMI 2.0 table 28-6", () => {
  sameBytes(chassisIdentify.encode({ seconds: 15 }), Uint8Array.of(15));
  sameBytes(chassisIdentify.encode({ seconds: 0 }), Uint8Array.of(0));
  sameBytes(chassisIdentify.encode("indefinite"), Uint8Array.of(0, 1));
});

test("cipher suite records decode: standard, of a manufacturer, and cut — IPMI 2.0 table 22-18", () => {
  const bytes = Buffer.from("c00301 4181 c01103 4481 c1801291 00 01 41".replaceAll(" ", ""), "hex");
  assert.deepEqual(decodeCipherSuiteRecords(bytes), [
    { id: 3, oem: undefined, algorithms: [0x01, 0x41, 0x81] },
    { id: 17, oem: undefined, algorithms: [0x03, 0x44, 0x81] },
    { id: 0x80, oem: 0x9112, algorithms: [0x01, 0x41] },
  ]);
  assert.throws(() => decodeCipherSuiteRecords(Uint8Array.of(0xc0)), MalformedFault);
  assert.throws(() => decodeCipherSuiteRecords(Uint8Array.of(0x03)), MalformedFault);
  assert.deepEqual(decodeCipherSuiteRecords(new Uint8Array(0)), []);
});

test("completion codes and RMCP+ statuses have one row each, and every byte has a fault", () => {
  for (const rows of [completionCodes, rakpStatuses])
    assert.equal(new Set(rows.map(({ code }) => code)).size, rows.length);
  for (let code = 1; code < 256; code += 1) {
    assert.equal(completionFault(code, "x").code, `ipmi.completion.${code.toString(16).padStart(2, "0")}`);
    assert.equal(rakpFault(code, "x").code, `ipmi.rakp.${code.toString(16).padStart(2, "0")}`);
  }
  assert.equal(completionFault(0x81, "Set", setSessionPrivilegeLevel.completions).kind, "refused");
  assert.match(completionFault(0x81, "Set", setSessionPrivilegeLevel.completions).message, /ipmi_priv_level/);
});
