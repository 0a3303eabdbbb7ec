import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { SystemClock } from "../../src/core/clock.ts";
import { millis, seconds } from "../../src/core/units.ts";
import type { Outcome } from "../rack/child.ts";
import { BUILD } from "../rack/daemon.ts";
import { openRack, RACK_ACCOUNT, type RackMachine, type VirtualRack } from "../rack/virtual-rack.ts";
import { boundToUs } from "../bound-to-us.ts";

const clock = new SystemClock();

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = clock.now() + 30_000; !(await condition()); await clock.sleep(millis(50))) {
    assert.ok(clock.now() < deadline, `never: ${what}`);
  }
}

describe("the virtual rack, held against ipmitool and mosquitto's clients", () => {
  let rack: VirtualRack;
  let first: RackMachine;
  before(async () => {
    rack = await openRack({
      machines: [
        { name: "alpha", firmware: "bios", memoryMb: 128, cpus: 1, bmc: { username: "root", password: "calvin" } },
        { name: "beta", firmware: "uefi", memoryMb: 256, cpus: 1 },
      ],
    });
    const [machine] = rack.machines;
    assert.ok(machine !== undefined);
    first = machine;
  });
  after(async () => await rack[Symbol.asyncDispose]());

  /** A BMC that is alive has `patience` to answer, however busy its host is. */
  const ipmitool = async (
    args: readonly string[],
    { password = first.bmc.password, patience = 30 }: { readonly password?: string; readonly patience?: number } = {},
  ): Promise<Outcome> => {
    const { bmc } = first;
    return await rack.spawn([
      "ipmitool",
      "-I",
      "lanplus",
      "-C",
      "3",
      "-R",
      "1",
      "-N",
      String(patience),
      "-H",
      bmc.address,
      "-p",
      String(bmc.port),
      "-U",
      bmc.username,
      "-P",
      password,
      ...args,
    ]).ended;
  };
  const says = async (args: readonly string[]): Promise<string> => {
    const outcome = await ipmitool(args);
    assert.equal(outcome.code, 0, outcome.stderr);
    return outcome.stdout.trim();
  };

  const powerStatus = async (): Promise<string> => await says(["power", "status"]);

  test("a wrong BMC password is refused", async () => {
    assert.notEqual((await ipmitool(["power", "status"], { password: "wrong" })).code, 0);
  });

  test("chassis control starts, resets, cycles and stops QEMU, and its status is the truth", async () => {
    const { machine } = first;
    assert.equal(await powerStatus(), "Chassis Power is off");
    assert.equal(machine.powerIsOn(), false);
    await says(["power", "on"]);
    assert.equal(await powerStatus(), "Chassis Power is on");
    assert.equal(machine.powerIsOn(), true);
    using deadline = clock.deadline(seconds(60));
    await machine.waitForConsole(/SeaBIOS/, deadline);
    const spoken = machine.consoleLength();
    await says(["power", "reset"]);
    await machine.waitForConsole(/SeaBIOS/, deadline, spoken);
    assert.ok(machine.resets > 0);
    await says(["power", "cycle"]);
    await until("on again after a cycle", () => machine.powerIsOn());
    await says(["power", "off"]);
    assert.equal(machine.powerIsOn(), false);
    assert.equal(await powerStatus(), "Chassis Power is off");
  });

  test("a machine that powers itself off is off for its BMC too", async () => {
    const { machine } = first;
    const mark = machine.consoleLength();
    await says(["power", "on"]);
    using deadline = clock.deadline(seconds(60));
    await machine.waitForConsole(/SeaBIOS/, deadline, mark);
    await rack.run(["sh", "-c", "kill -TERM $(pgrep -x qemu-system-x86)"]); // QEMU ends as it does when its guest powers off
    await until("off", () => !machine.powerIsOn());
    assert.equal(await powerStatus(), "Chassis Power is off");
  });

  test("a boot device holds for one start; without one the machine tries its disk first", async () => {
    const { machine } = first;
    assert.equal(machine.bootOrder.next, "disk");
    assert.match(await says(["chassis", "bootdev", "pxe"]), /Set Boot Device to pxe/);
    assert.equal(machine.bootOrder.next, "pxe");
    assert.match(await says(["chassis", "bootparam", "get", "5"]), /Force PXE/);
    using deadline = clock.deadline(seconds(60));
    let mark = machine.consoleLength();
    await says(["power", "on"]);
    await machine.waitForConsole(/SeaBIOS/, deadline, mark);
    await until("the request is used up", () => machine.bootOrder.override === undefined);
    await machine.waitForConsole(/Booting from|net0:/, deadline, mark);
    assert.doesNotMatch(machine.console(mark), /Booting from Hard Disk/);
    mark = machine.consoleLength();
    await says(["power", "reset"]);
    await machine.waitForConsole(/Booting from Hard Disk/, deadline, mark);
    await says(["power", "off"]);
  });

  test("a dead BMC does not take the machine's power", async () => {
    const { machine, bmc } = first;
    await says(["power", "on"]);
    await bmc.stop();
    assert.notEqual((await ipmitool(["power", "status"], { patience: 1 })).code, 0);
    assert.equal(machine.powerIsOn(), true);
    await bmc.start();
    assert.equal(await powerStatus(), "Chassis Power is on");
    await says(["power", "off"]);
  });

  const publish = async (password: string): Promise<Outcome> => {
    const { host, port } = rack.broker;
    return await rack.spawn([
      "timeout",
      "5",
      "mosquitto_pub",
      "-V",
      "5",
      "-h",
      host,
      "-p",
      String(port),
      "-u",
      RACK_ACCOUNT.username,
      "-P",
      password,
      "-t",
      "t",
      "-m",
      "m",
    ]).ended;
  };

  test("the broker takes MQTT 5 with the right password only", async () => {
    assert.equal((await publish(RACK_ACCOUNT.password)).code, 0);
    assert.notEqual((await publish("wrong")).code, 0);
  });

  test("a cut WAN carries nothing, not even a refusal, and carries all again when it is restored", async () => {
    await rack.wan.cut();
    const cut = await publish(RACK_ACCOUNT.password);
    await rack.wan.restore();
    assert.notEqual(cut.code, 0);
    assert.doesNotMatch(cut.stderr, /refused/i);
    await until("the broker is back", async () => (await publish(RACK_ACCOUNT.password)).code === 0);
  });

  test("a stopped broker refuses; started again it serves", async () => {
    await rack.broker.stop();
    assert.match((await publish(RACK_ACCOUNT.password)).stderr, /refused/i);
    await rack.broker.start();
    assert.equal((await publish(RACK_ACCOUNT.password)).code, 0);
  });

  test("the site does not reach the rack's machines network", async () => {
    assert.notEqual((await rack.site.spawn(["ping", "-c", "1", "-W", "1", "10.77.0.1"]).ended).code, 0);
  });
});

/** A program that opens a rack with a running machine, says where it is, and waits. */
const VICTIM = `
  import { openRack } from ${JSON.stringify(join(BUILD, "test/rack/virtual-rack.js"))};
  const rack = await openRack({ machines: [{ name: "victim", firmware: "bios", memoryMb: 64, cpus: 1 }] });
  const machine = rack.machines[0].machine;
  machine.powerOn();
  const sleeper = rack.spawn(["sleep", "1000"]);
  console.log(JSON.stringify({ keeper: rack.pid, sleeper: await sleeper.pid(), directory: rack.directory, disk: machine.diskPath }));
  setTimeout(() => {}, 1e6);
  if (process.argv[1] === "throw") throw new Error("on purpose");
`;

/** Processes that hold a file below `directory` in their command line. */
function users(directory: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(directory);
    } catch {
      return false;
    }
  });
}

for (const end of ["SIGKILL", "SIGINT", "SIGTERM", "throw"] as const) {
  test(`everything a rack starts dies with its process: ${end}`, async () => {
    const child = spawn(...boundToUs(process.execPath, "--input-type=module", "-e", VICTIM, end), {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const gone = once(child, "exit");
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const { sleeper, keeper, directory } = JSON.parse(line) as { sleeper: number; keeper: number; directory: string };
    if (end !== "throw") {
      assert.ok(users(directory).length >= 2, "the machine and its BMC run");
      child.kill(end);
    }
    await gone;
    await until(
      "all processes are gone",
      () => !existsSync(`/proc/${sleeper}`) && !existsSync(`/proc/${keeper}`) && users(directory).length === 0,
    );
    await until("its files are gone", () => !existsSync(directory));
  });
}
