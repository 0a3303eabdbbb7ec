import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Deadline } from "../../src/core/clock.ts";
import { type JsonObject, stringProperty } from "../../src/core/json.ts";
import { millis, seconds } from "../../src/core/units.ts";
import { type DemoImage, digestOf } from "../rack/demo-files.ts";
import { type Lab, openLab } from "../rack/lab.ts";
import { SITE_ACCOUNT } from "../rack/virtual-rack.ts";
import { clock, Lead, PATIENCE } from "./lead.ts";

/*
 * Bad things that must end well, on a real rack: BIOS and UEFI machines, real BMCs, a real broker. One rack for all tests, which
 * build on one another in the order of this file; cleaning is off, because it is the demonstration's (life.test.ts).
 */

const SILENT_AFTER_S = 10;

const directory = mkdtempSync(join(tmpdir(), "ironrack-e2e-"));
let lab: Lab;
let bios: Lead;
let uefi: Lead;
let failed = false;

/** Logs are kept where a test failed. */
function rule(title: string, body: () => Promise<void>): void {
  void test(title, async () => {
    try {
      await body();
    } catch (error) {
      failed = true;
      throw error;
    }
  });
}

before(async () => {
  lab = await openLab({
    directory,
    machines: [
      { name: "bios-1", firmware: "bios" },
      { name: "uefi-1", firmware: "uefi" },
    ],
    overrides: { conductor: { automated_clean: "false", inspect_callback_timeout: String(SILENT_AFTER_S) } },
  });
  const [first, second] = lab.rack.machines;
  assert.ok(first !== undefined && second !== undefined);
  bios = new Lead(lab, first);
  uefi = new Lead(lab, second);
  await lab.daemon.start();
});

after(async () => {
  await lab[Symbol.asyncDispose]();
  if (!failed) rmSync(directory, { recursive: true, force: true });
});

rule("a wrong BMC password leaves the node in enroll with a reason that names it", async () => {
  const wrong = new Lead(lab, { machine: bios.subject.machine, bmc: bios.subject.bmc }, "wrong-password");
  await wrong.enroll({ password: "not-the-password", mac: "52:54:00:ff:00:01" });
  await assert.rejects(lab.cli.run(["node", "manage", "wrong-password", "--wait", "--timeout", "120"]));
  assert.equal(await wrong.state(), "enroll");
  assert.match(await wrong.lastError(), /password/i);
  assert.doesNotMatch(lab.daemon.log(), /not-the-password/);
  await lab.cli.run(["node", "delete", "wrong-password"]);
});

rule(
  "a machine that never boots the ramdisk fails at the deadline, is powered off, and says where to look",
  async () => {
    const mute = new Lead(lab, uefi.subject, "mute");
    await mute.enroll({ mac: "52:54:00:ff:00:02" }); // a NIC that the machine does not have: it gets no boot file
    await lab.cli.run(["node", "manage", "mute", "--wait", "--timeout", "120"]);
    await mute.begin("inspect");
    using deadline = clock.deadline(PATIENCE);
    await mute.reaches("inspect failed", deadline);
    assert.match(await mute.lastError(), /no inspection data in time/);
    while ((await mute.node())["power_state"] !== "power off") await clock.sleep(millis(500), deadline.signal);
    await lab.cli.run(["node", "manage", "mute"]);
    await lab.cli.run(["node", "delete", "mute"]);
  },
);

rule(
  "an image whose checksum is wrong fails the node with a reason that says so, before the machine is touched",
  async () => {
    for (const lead of [bios, uefi]) {
      await lead.enroll({ set: ["--boot-mode", lead.subject.machine.firmware] });
      await lab.cli.run(["node", "manage", lead.name, "--wait", "--timeout", "120"]);
      await lab.cli.run(["node", "provide", lead.name, "--wait", "--timeout", "60"]);
    }
    await bios.begin("deploy", bios.deployOptions({ ...lab.image, sha256: "0".repeat(64) }));
    using deadline = clock.deadline(PATIENCE);
    await bios.reaches("deploy failed", deadline);
    assert.match(await bios.lastError(), /fetch_image.*sha256/is);
    assert.equal((await bios.node())["power_state"], "power off");
  },
);

rule("what is no command is answered where it can be, counted, and disturbs nothing", async () => {
  const topic = "ironrack/v1/lab/demo/command";
  const publish = [
    "mosquitto_pub",
    "-V",
    "5",
    "-h",
    "10.77.2.2",
    "-u",
    SITE_ACCOUNT.username,
    "-P",
    SITE_ACCOUNT.password,
    "-t",
    topic,
    "-q",
    "1",
  ];
  for (const payload of [
    "{",
    "[]",
    '{"jsonrpc":"2.0"}',
    '{"jsonrpc":"2.0","id":"x","method":"node.create","params":{"colour":1}}',
    "\u0001\u0002",
  ]) {
    await lab.rack.site.run([...publish, "-m", payload]);
  }
  assert.equal(await uefi.state(), "available");
  assert.ok(lab.daemon.isRunning);
});

rule(
  "deploy, also of a converted image, survives kill -9 while firmware looks for the daemon and while it waits for a heartbeat, kill -9 while the image streams, and a broker that goes away",
  async () => {
    using deadline = clock.deadline(PATIENCE);
    const leads = [bios, uefi];
    await bios.begin("deploy", bios.deployOptions());
    await bios.reaches("wait call-back", deadline);
    await lab.daemon.kill9();
    // It has nothing more to try, and must be booted again.
    await bios.subject.machine.waitForConsole(/No bootable device/, deadline);
    await lab.daemon.start();
    assert.equal(await bios.state(), "wait call-back");

    await uefi.begin("deploy", uefi.deployOptions(await asVmdk(lab.image)));
    await uefi.reaches("wait call-back", deadline);
    await lab.daemon.kill9();
    await lab.daemon.start();
    for (const lead of leads) assert.equal(await lead.state(), "wait call-back");

    const whole = new Set(leads);
    while (whole.size > 0) {
      const lead = await firstThatStreams(whole, deadline);
      const first = whole.size === leads.length;
      await lab.daemon.kill9();
      whole.delete(lead);
      // The site's broker is away too when the daemon comes back: the rack goes on by itself.
      if (first) await lab.rack.broker.kill9();
      await lab.daemon.start();
      if (first) {
        await clock.sleep(seconds(5), deadline.signal);
        await lab.rack.broker.start();
      }
    }
    for (const lead of leads) {
      await lead.reaches("active", deadline);
      const uuid = stringProperty(await lead.node(), "uuid") ?? "";
      const written = logLines("image.stream", uuid).findLast((line) => "resumed" in line);
      assert.ok(
        Number(written?.["resumed"]) > 0,
        `${lead.name} was written from the beginning: ${JSON.stringify(written)}`,
      );
      await lead.boots(deadline);
    }
    const again = lab.daemon.logLines().filter((line) => /nothing was heard/.test(String(line["reason"])));
    assert.deepEqual(
      again.map((line) => line["node"]),
      [(await bios.node())["uuid"]],
    );
  },
);

rule("the site has every event, in order, whatever was killed in between", async () => {
  const seen: JsonObject[] = [];
  for (let last = 0; ; ) {
    const page = (await lab.cli.run(["event", "list", "--after", String(last), "--limit", "1000"])) as unknown as {
      events: JsonObject[];
    };
    if (page.events.length === 0) break;
    seen.push(...page.events);
    last = Number(page.events.at(-1)?.["seq"]);
  }
  assert.deepEqual(
    seen.map((event) => event["seq"]),
    seen.map((_, index) => index + 1),
  );
  for (const lead of [bios, uefi]) {
    const mine = seen.filter((event) => event["name"] === lead.name);
    assert.ok(
      mine.some((event) => event["type"] === "node.recovered"),
      `${lead.name} was never recovered`,
    );
    assert.equal(mine.findLast((event) => event["type"] === "node.state")?.["data"] !== undefined, true);
  }
});

/** The same disk as a vmdk image, which the daemon has to convert. */
async function asVmdk(image: DemoImage): Promise<DemoImage> {
  const path = join(lab.rack.directory, "debian.vmdk");
  await lab.rack.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", image.path, path]);
  return { path, sha256: await digestOf(path) };
}

/** Until the image is being written to the machine, and some of it is safe there. */
async function firstThatStreams(leads: ReadonlySet<Lead>, deadline: Deadline): Promise<Lead> {
  for (;;) {
    for (const lead of leads) {
      const node = await lead.node().catch((): JsonObject => ({}));
      const uuid = stringProperty(node, "uuid");
      if (uuid !== undefined && logLines("image.checkpoint", uuid).length > 0) return lead;
      if (stringProperty(node, "provision_state") === "active")
        throw new Error(`${lead.name} was written before it could be interrupted`);
      assert.notEqual(node["provision_state"], "deploy failed", String(node["last_error"]));
    }
    await clock.sleep(millis(150), deadline.signal);
  }
}

/** The log lines of one event about one node, of all daemons that ran. */
function logLines(event: string, node: string): readonly JsonObject[] {
  return lab.daemon.logLines().filter((line) => line["event"] === event && line["node"] === node);
}
