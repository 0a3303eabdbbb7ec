import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { IpmiBmc } from "../../src/client/ipmi-bmc.ts";
import { IpmiBmcs } from "../../src/client/ipmi-bmcs.ts";
import type { IpmiParts } from "../../src/client/ipmi-exchange.ts";
import type { IpmiTarget } from "../../src/client/ipmi-session.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { isFault } from "../../src/core/fault.ts";
import { silentLog } from "../../src/core/log.ts";
import { SystemRandom } from "../../src/core/random.ts";
import { Secret } from "../../src/core/secret.ts";
import { millis, seconds } from "../../src/core/units.ts";
import { IpmiPower } from "../../src/driver/ipmi/power.ts";
import { bootFlags, setSystemBootOptions } from "../../src/protocol/ipmi/command/boot-options.ts";
import { chassisControl } from "../../src/protocol/ipmi/command/chassis-control.ts";
import { getChassisStatus } from "../../src/protocol/ipmi/command/get-chassis-status.ts";
import { getDeviceId } from "../../src/protocol/ipmi/command/get-device-id.ts";
import { getSelInfo } from "../../src/protocol/ipmi/command/get-sel-info.ts";
import { ipmiTarget } from "../ipmi-target.ts";
import { taskWith } from "../unit/driver/ipmi/node-of.ts";
import { IpmiResponder } from "./ipmi-responder.ts";
import { IpmiSim } from "./ipmi-sim.ts";
import { LossyUdpProxy } from "./lossy-udp-proxy.ts";

const run = promisify(execFile);
const clock = new SystemClock();
const parts: IpmiParts = { clock, random: new SystemRandom() };
const impatient: IpmiParts = { ...parts, retries: { attempts: 5, first: millis(150), growth: 1.5 } };
const wait = { signal: new AbortController().signal, log: silentLog };
const seed = Number(process.env["FUZZ_SEED"] ?? new SystemRandom().below(2 ** 31));

function infoOf(bmc: { readonly port: number }): Record<string, string | number> {
  return { ipmi_address: "127.0.0.1", ipmi_port: bmc.port, ipmi_username: "admin", ipmi_password: "secret" };
}

/** What ipmitool says, with or without success. */
async function ipmitool(bmc: { readonly port: number }, suite: number, ...words: string[]): Promise<string> {
  const login = [
    "-I",
    "lanplus",
    "-H",
    "127.0.0.1",
    "-p",
    String(bmc.port),
    "-U",
    "admin",
    "-P",
    "secret",
    "-C",
    String(suite),
  ];
  const { stdout } = await run("ipmitool", [...login, ...words]);
  return stdout;
}

function codeIs(code: string, kind: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isFault(error), String(error));
    assert.equal(error.code, code);
    assert.equal(error.kind, kind);
    return true;
  };
}

test("ipmi_sim and ipmitool: we read what ipmitool reads", async () => {
  await using sim = await IpmiSim.start();
  await using bmc = new IpmiBmc(ipmiTarget(sim), parts);
  const id = await bmc.request(getDeviceId, undefined, wait);
  const said = await ipmitool(sim, 3, "mc", "info");
  const line = (key: string): string | undefined => new RegExp(`^${key} +: (.*)$`, "m").exec(said)?.[1]?.trim();
  assert.equal(id.firmware, line("Firmware Revision"));
  assert.equal(id.ipmiVersion, line("IPMI Version"));
  assert.equal(String(id.manufacturerId), line("Manufacturer ID"));
  assert.equal(`${id.productId} (0x${id.productId.toString(16).padStart(4, "0")})`, line("Product ID"));
  assert.equal(id.deviceRevision, Number(line("Device Revision")));
  for (const on of [true, false]) {
    sim.setPower(on);
    assert.equal((await bmc.request(getChassisStatus, undefined, wait)).powerOn, on);
    assert.match(await ipmitool(sim, 3, "power", "status"), on ? /is on/ : /is off/);
  }
  const sel = await bmc.request(getSelInfo, undefined, wait);
  assert.match(await ipmitool(sim, 3, "sel", "info"), new RegExp(`Entries +: ${sel.entries}\\b`));
});

test("ipmi_sim and ipmitool: each sees what the other did", async () => {
  await using sim = await IpmiSim.start();
  await using bmc = new IpmiBmc(ipmiTarget(sim), parts);
  await bmc.request(chassisControl, { action: "power-up" }, wait);
  assert.match(await ipmitool(sim, 3, "power", "status"), /is on/);
  await ipmitool(sim, 3, "power", "off");
  assert.equal((await bmc.request(getChassisStatus, undefined, wait)).powerOn, false);
  const flags = bootFlags("pxe", { persistent: false, efi: true });
  await bmc.request(setSystemBootOptions, { parameter: "bootFlags", flags }, wait);
  assert.match(await ipmitool(sim, 3, "chassis", "bootparam", "get", "5"), /Force PXE/);
});

for (const suite of [3, 17]) {
  test(`suite ${suite}: flags that we set are what ipmitool prints, and the other way round`, async () => {
    await using responder = await IpmiResponder.start({
      users: [{ name: "admin", password: "secret", privilege: 4 }],
      suites: [suite],
    });
    await using bmc = new IpmiBmc(ipmiTarget(responder, { cipherSuites: [suite] }), parts);
    const flags = bootFlags("disk", { persistent: true, efi: true });
    await bmc.request(setSystemBootOptions, { parameter: "bootFlags", flags }, wait);
    const said = await ipmitool(responder, suite, "chassis", "bootparam", "get", "5");
    for (const words of [/Boot Flag Valid/, /all future boots/, /EFI boot/, /default Hard-Drive/])
      assert.match(said, words);
    const ours = Buffer.from(responder.bootFlags);
    responder.bootFlags = Buffer.alloc(5);
    await ipmitool(responder, suite, "chassis", "bootdev", "disk", "options=persistent,efiboot");
    assert.deepEqual(responder.bootFlags, ours);
    await ipmitool(responder, suite, "raw", "0", "8", "3", "8");
    const theirs = responder.validClearing;
    responder.validClearing = 0;
    const keep = { onPef: false, onTimeout: true, onWatchdog: false, onReset: false, onPowerUp: false };
    await bmc.request(setSystemBootOptions, { parameter: "bootFlagValidClearing", keep }, wait);
    assert.equal(responder.validClearing, theirs);
  });
}

test("ipmitool, left to itself, learns from the responder of the tests what it offers and takes suite 17", async () => {
  await using responder = await IpmiResponder.start({
    users: [{ name: "admin", password: "secret", privilege: 4 }],
    suites: [3, 17],
  });
  const login = ["-I", "lanplus", "-H", "127.0.0.1", "-p", String(responder.port), "-U", "admin", "-P", "secret"];
  const { stderr, stdout } = await run("ipmitool", [...login, "-v", "power", "status"]);
  assert.match(stdout, /is off/);
  assert.match(stdout + stderr, /Using best available cipher suite 17/);
});

for (const suite of [3, 8, 17]) {
  test(`suite ${suite}: FreeIPMI and we change and read the same power over the responder of the tests`, async () => {
    await using responder = await IpmiResponder.start({
      users: [{ name: "admin", password: "secret", privilege: 4 }],
      suites: [suite],
    });
    const login = [
      "-D",
      "LAN_2_0",
      "-I",
      String(suite),
      "-h",
      `127.0.0.1:${responder.port}`,
      "-u",
      "admin",
      "-p",
      "secret",
      "-l",
      "ADMIN",
    ];
    await using bmc = new IpmiBmc(ipmiTarget(responder, { cipherSuites: [suite] }), parts);
    await run("/usr/sbin/ipmipower", [...login, "--on"]);
    assert.equal((await bmc.request(getChassisStatus, undefined, wait)).powerOn, true);
    await bmc.request(chassisControl, { action: "power-down" }, wait);
    assert.match((await run("/usr/sbin/ipmipower", [...login, "--stat"])).stdout, /: off/);
  });
}

test("ipmi_sim: wrong user, wrong password, missing suite and want of privilege are told apart at once", async () => {
  await using sim = await IpmiSim.start();
  // Who asks again does so after a minute.
  await using bmcs = new IpmiBmcs({ ...parts, retries: { attempts: 2, first: seconds(60), growth: 1 } });
  const ask = async (change: Partial<IpmiTarget>): Promise<unknown> =>
    await bmcs.request(ipmiTarget(sim, change), getDeviceId, undefined, wait);
  const begun = clock.now();
  await assert.rejects(ask({ username: "nobody" }), codeIs("ipmi.rakp.0d", "refused"));
  await assert.rejects(ask({ password: new Secret("wrong") }), codeIs("ipmi.rakp.0f", "refused"));
  await assert.rejects(ask({ cipherSuites: [17] }), codeIs("ipmi.rakp.04", "refused"));
  const viewer = ipmiTarget(sim, { username: "viewer", password: new Secret("viewer"), privilege: "USER" });
  await bmcs.request(viewer, getChassisStatus, undefined, wait);
  await assert.rejects(
    bmcs.request(viewer, chassisControl, { action: "power-up" }, wait),
    codeIs("ipmi.completion.d4", "refused"),
  );
  assert.equal(sim.powerOn, false);
  assert.ok(clock.now() - begun < seconds(60), "no refusal is waited for");
});

test("ipmi_sim: a closed port is unreachable, a silent one a timeout", async () => {
  await using sim = await IpmiSim.start();
  await using bmc = new IpmiBmc(ipmiTarget(sim), impatient);
  await bmc.request(getDeviceId, undefined, wait);
  await sim.kill();
  await assert.rejects(bmc.request(getDeviceId, undefined, wait), codeIs("ipmi.unreachable", "unreachable"));
  await using silent = await IpmiResponder.start({ users: [], suites: [] });
  await using proxy = await LossyUdpProxy.start(silent.port, { seed, lose: 100, duplicate: 0, jitterMs: 0 });
  await using second = new IpmiBmc(ipmiTarget(proxy), impatient);
  await assert.rejects(second.request(getDeviceId, undefined, wait), codeIs("ipmi.timeout", "timeout"));
});

test("ipmi_sim: sessions are given back: sixty logins where ten slots are", async () => {
  await using sim = await IpmiSim.start();
  await using bmc = new IpmiBmc(ipmiTarget(sim, { cipherSuites: [3] }), impatient);
  for (let login = 0; login < 60; login += 1) {
    await bmc.request(getDeviceId, undefined, wait);
    await bmc.close();
  }
  assert.equal(bmc.counters.timeouts, 0);
});

test("ipmi_sim: after the BMC was killed and started again, reading goes on in a new session", async () => {
  await using sim = await IpmiSim.start();
  await using bmc = new IpmiBmc(ipmiTarget(sim), impatient);
  await bmc.request(getDeviceId, undefined, wait);
  await sim.restart();
  assert.equal((await bmc.request(getChassisStatus, undefined, wait)).powerOn, false);
});

test("ipmi_sim: killed in the middle of a power change and started again, it was told once and the machine is on", async () => {
  await using sim = await IpmiSim.start({ powerDelay: 2 });
  await using bmcs = new IpmiBmcs(parts);
  const power = new IpmiPower({ bmcs, clock });
  const change = power.setPowerState(taskWith(infoOf(sim)), "power on", wait);
  while (sim.chassisCalls.length === 0) await clock.sleep(millis(10));
  await clock.sleep(millis(100));
  await sim.kill();
  await clock.sleep(seconds(3));
  await sim.restart();
  assert.equal(await change, "power on");
  assert.deepEqual(sim.chassisCalls, ["set power 1"]);
});

/** On and off, three times, over a bad path; what the machine was told must be exactly that. */
async function switchOverBadPath(bmc: { readonly port: number }, isOn: () => boolean): Promise<void> {
  await using bmcs = new IpmiBmcs(impatient);
  const power = new IpmiPower({ bmcs, clock });
  const task = taskWith(infoOf(bmc));
  for (let round = 0; round < 3; round += 1) {
    assert.equal(await power.setPowerState(task, "power on", wait), "power on");
    assert.equal(isOn(), true);
    assert.equal(await power.setPowerState(task, "power off", wait), "power off");
    assert.equal(isOn(), false);
  }
}

test(`ipmi_sim behind a path that loses, delays and repeats: every state is reached, nothing is done twice (FUZZ_SEED=${seed})`, async () => {
  await using sim = await IpmiSim.start();
  // ipmi_sim 2.0.33 carries a datagram out again when the network repeats it, though its session number was seen: only its
  // answers are repeated here.
  await using proxy = await LossyUdpProxy.start(sim.port, {
    seed,
    lose: 15,
    duplicate: 15,
    duplicateRequests: 0,
    jitterMs: 40,
  });
  await switchOverBadPath(proxy, () => sim.powerOn);
  assert.deepEqual(
    sim.chassisCalls,
    Array.from({ length: 6 }, (_, index) => `set power ${index % 2 === 0 ? 1 : 0}`),
  );
  assert.ok(proxy.counters.lost > 0 && proxy.counters.repeated > 0, JSON.stringify(proxy.counters));
});

test(`a BMC behind a path that loses, delays and repeats both ways: every state is reached, nothing is done twice (FUZZ_SEED=${seed})`, async () => {
  await using responder = await IpmiResponder.start({
    users: [{ name: "admin", password: "secret", privilege: 4 }],
    suites: [17],
  });
  await using proxy = await LossyUdpProxy.start(responder.port, { seed, lose: 15, duplicate: 15, jitterMs: 40 });
  await switchOverBadPath(proxy, () => responder.powerOn);
  assert.deepEqual(
    responder.received.filter(({ netFn, command }) => netFn === 0 && command === 2).map(({ data }) => data[0]),
    [1, 0, 1, 0, 1, 0],
  );
});

test(`two hundred readings over a path that loses every tenth packet are all right (FUZZ_SEED=${seed})`, async () => {
  await using responder = await IpmiResponder.start({
    users: [{ name: "admin", password: "secret", privilege: 4 }],
    suites: [17],
  });
  await using proxy = await LossyUdpProxy.start(responder.port, { seed, lose: 10, duplicate: 20, jitterMs: 8 });
  await using bmc = new IpmiBmc(ipmiTarget(proxy), {
    ...parts,
    retries: { attempts: 6, first: millis(60), growth: 1.4 },
  });
  for (let reading = 0; reading < 200; reading += 1) {
    responder.powerOn = reading % 3 === 0;
    assert.equal((await bmc.request(getChassisStatus, undefined, wait)).powerOn, responder.powerOn);
  }
  assert.ok(bmc.counters.timeouts > 0 && bmc.counters.ignored > 0, JSON.stringify(bmc.counters));
});

test("eight ipmi_sims at the same time, fifty requests each, in one session each", async () => {
  const sims = await Promise.all(Array.from({ length: 8 }, () => IpmiSim.start()));
  await using bmcs = new IpmiBmcs(parts);
  try {
    await Promise.all(
      sims.map(async (sim, index) => {
        sim.setPower(index % 2 === 0);
        const readings = Array.from({ length: 50 }, () =>
          bmcs.request(ipmiTarget(sim, { cipherSuites: [3] }), getChassisStatus, undefined, wait),
        );
        for (const status of await Promise.all(readings)) assert.equal(status.powerOn, index % 2 === 0);
      }),
    );
  } finally {
    await Promise.all(sims.map(async (sim) => await sim[Symbol.asyncDispose]()));
  }
});
