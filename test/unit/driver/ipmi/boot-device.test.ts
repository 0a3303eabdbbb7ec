import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../../src/core/clock.ts";
import { Fault, isFault } from "../../../../src/core/fault.ts";
import { silentLog } from "../../../../src/core/log.ts";
import type { BootDevice, BootMode } from "../../../../src/domain/boot-device.ts";
import type { BootDeviceSetting } from "../../../../src/driver/interfaces.ts";
import { IpmiManagement } from "../../../../src/driver/ipmi/management.ts";
import { bootFlags } from "../../../../src/protocol/ipmi/command/boot-options.ts";
import { bootDeviceQuirks } from "../../../../src/driver/ipmi/quirks.ts";
import { taskWith } from "./node-of.ts";
import { refusal, ScriptedBmc } from "./scripted-bmc.ts";

const info = { ipmi_address: "10.0.0.9" };

class Rig {
  readonly clock = new FakeClock();
  readonly bmc = new ScriptedBmc(this.clock);
  readonly management = new IpmiManagement({ bmcs: this.bmc });
  readonly controller = new AbortController();

  async set(setting: BootDeviceSetting, bootMode: BootMode | null, driverInfo = info): Promise<void> {
    await this.#run(this.management.setBootDevice(taskWith(driverInfo), setting, bootMode, this.#options));
  }

  async get(): Promise<BootDeviceSetting | null> {
    return await this.#run(this.management.getBootDevice(taskWith(info), this.#options));
  }

  get #options(): { signal: AbortSignal; log: typeof silentLog } {
    return { signal: this.controller.signal, log: silentLog };
  }

  async #run<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    await this.clock.advance(1000);
    return await work;
  }
}

test("each supported device is set with persistence and UEFI flag, and read back", async () => {
  const rig = new Rig();
  for (const device of rig.management.supportedBootDevices) {
    for (const persistent of [true, false]) {
      for (const bootMode of ["bios", "uefi", null] as const) {
        await rig.set({ device, persistent }, bootMode);
        assert.deepEqual(await rig.get(), { device, persistent });
        assert.equal(rig.bmc.flags.efi, bootMode === "uefi");
        assert.ok(rig.bmc.flags.valid);
      }
    }
  }
  assert.deepEqual(rig.management.supportedBootDevices, ["pxe", "disk", "cdrom", "bios", "safe"]);
});

test("the 60 s limit is lifted first, and the options are in progress only meanwhile", async () => {
  const rig = new Rig();
  await rig.set({ device: "pxe", persistent: false }, "uefi");
  assert.deepEqual(
    rig.bmc.options.map((option) => (option.parameter === "setInProgress" ? option.value : option.parameter)),
    ["bootFlagValidClearing", "in-progress", "bootInfoAcknowledge", "bootFlags", "commit", "complete"],
  );
});

test("ipmi_disable_boot_timeout=false leaves the limit alone", async () => {
  const rig = new Rig();
  await rig.set({ device: "pxe", persistent: false }, null, {
    ...info,
    ipmi_disable_boot_timeout: false,
  } as typeof info);
  assert.ok(!rig.bmc.options.some((option) => option.parameter === "bootFlagValidClearing"));
});

test("a BMC that lacks all options but the flags is served", async () => {
  const rig = new Rig();
  for (const code of [0x80, 0x81, 0xc1, 0xc9, 0xcc, 0xff]) {
    rig.bmc.options.length = 0;
    rig.bmc.onOption = (option) => (option.parameter === "bootFlags" ? undefined : refusal(code));
    await rig.set({ device: "disk", persistent: true }, null);
    assert.deepEqual(
      rig.bmc.options.map((option) => option.parameter),
      ["bootFlags"],
    );
  }
});

test("a BMC that refuses the flags is a fault, and the options are not left in progress", async () => {
  const rig = new Rig();
  rig.bmc.onOption = (option) => (option.parameter === "bootFlags" ? refusal(0xcc) : undefined);
  await assert.rejects(
    rig.set({ device: "disk", persistent: true }, null),
    (error) => isFault(error) && error.code === "ipmi.completion.cc",
  );
  assert.deepEqual(rig.bmc.options.at(-1), { parameter: "setInProgress", value: "complete" });
});

test("want of privilege is not taken for a missing option", async () => {
  const rig = new Rig();
  rig.bmc.onOption = () => refusal(0xd4);
  await assert.rejects(
    rig.set({ device: "disk", persistent: true }, null),
    (error) => isFault(error) && error.code === "ipmi.completion.d4",
  );
  assert.deepEqual(rig.bmc.options, []);
});

test("silence of the BMC is passed on", async () => {
  const rig = new Rig();
  rig.bmc.onOption = () => new Fault("timeout", "ipmi.no-answer", "the BMC did not answer");
  await assert.rejects(
    rig.set({ device: "disk", persistent: true }, null),
    (error) => isFault(error) && error.kind === "timeout",
  );
});

test("a device that IPMI cannot name is unsupported", async () => {
  for (const device of ["wanboot", "floppy"] as BootDevice[]) {
    const rig = new Rig();
    await assert.rejects(
      rig.set({ device, persistent: false }, null),
      (error) => isFault(error) && error.kind === "unsupported",
    );
    assert.deepEqual(rig.bmc.options, []);
  }
});

test("flags that are not valid are no override", async () => {
  const rig = new Rig();
  rig.bmc.flags = { ...bootFlags("pxe", { persistent: false, efi: false }), valid: false };
  assert.equal(await rig.get(), null);
  rig.bmc.flags = bootFlags("none", { persistent: false, efi: false });
  assert.equal(await rig.get(), null);
});

for (const quirk of bootDeviceQuirks) {
  test(`quirk: ${quirk.behaviour}`, async () => {
    const rig = new Rig();
    const { device, bootMode, manufacturerIds } = quirk.appliesTo;
    for (const manufacturerId of manufacturerIds) {
      rig.bmc.manufacturerId = manufacturerId;
      await rig.set({ device, persistent: true }, bootMode);
      assert.equal(rig.bmc.flags.device, quirk.selector);
      assert.deepEqual(await rig.get(), { device, persistent: true });
      await rig.set({ device: "pxe", persistent: true }, bootMode);
      assert.equal(rig.bmc.flags.device, "pxe");
    }
    rig.bmc.manufacturerId = 674;
    await rig.set({ device, persistent: true }, bootMode);
    assert.equal(rig.bmc.flags.device, "disk");
  });
}
