import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { millis } from "../../../src/core/units.ts";
import type { Node } from "../../../src/domain/node.ts";
import type { Machine, StepContext, Task } from "../../../src/driver/interfaces.ts";
import { instanceImage } from "../../../src/driver/instance-image.ts";
import { iscsiDeploy } from "../../../src/driver/iscsi-deploy.ts";
import { ipxeBoot } from "../../../src/driver/ipxe-boot.ts";
import { externalStorage } from "../../../src/driver/storage.ts";
import type { WriteOptions, Written } from "../../../src/image/shared-streams.ts";
import type { Checkpoint, IscsiTarget, StreamContent } from "../../../src/image/stream.ts";
import { aNode, aTarget } from "../../conformance/store-contract.ts";
import { conductor } from "../conductor/rig.ts";

const bootTarget = aTarget(1, { bootIndex: 0 });

const SHA = "a".repeat(64);
const written: Written = {
  ok: true,
  bytes: 10,
  skipped: 5,
  resumed: 0,
  resumeRefused: "",
  seconds: 1,
  digest: SHA,
  joined: false,
};

/** One node with an agent, the deploy interface under test, and a record of what it did to the outside. */
async function bench(results: readonly (Written | Fault)[], disk = "/dev/sda") {
  const rig = conductor();
  await rig.call("node.create", {
    driver: "fake-hardware",
    name: "n1",
    instance_info: {
      image_source: "/srv/debian.qcow2",
      image_os_hash_algo: "sha256",
      image_os_hash_value: SHA,
      configdrive: '{"meta_data":{}}',
    },
  });
  const node: Node = {
    ...rig.node("n1"),
    agent: {
      token: "t".repeat(32),
      callbackUrl: "https://10.0.0.9:9999",
      verifyCa: null,
      version: "1",
      lastHeartbeat: "2026-01-01T00:00:00.000Z",
    },
  };
  const commands: { name: string; params: JsonObject }[] = [];
  const streams: { content: StreamContent; target: IscsiTarget; options: WriteOptions }[] = [];
  const kept: JsonObject[] = [];
  const left = [...results];
  let held = 0;
  const deploy = iscsiDeploy({
    connect: () => ({
      run: async (name, params) => {
        commands.push({ name, params });
        return name === "iscsi.start_iscsi_target" ? { portal_port: 3260, lun: 1, device: disk } : {};
      },
    }),
    callbackTimeout: millis(1000),
    cleanCallbackTimeout: millis(1000),
    cleanPriorities: {},
    policy: "discard",
    verify: "none",
    initiatorIqn: "iqn.2026-01.org.ironrack:appliance",
    streamDownloads: true,
    fetchImage: async () => {
      held += 1;
      return {
        path: "/cache/debian",
        format: "qcow2",
        checksum: { algorithm: "sha256", value: SHA },
        [Symbol.dispose]: () => void (held -= 1),
      };
    },
    buildConfigDrive: async () => "H4sI",
    write: async (content, target, options) => {
      streams.push({ content, target, options });
      options.onCheckpoint?.({ stream: streams.length });
      const result = left.shift();
      if (result === undefined || result instanceof Fault) throw result ?? new Error("no result is left");
      return result;
    },
  });
  const clock = new FakeClock();
  const did: string[] = [];
  const machine: Machine = {
    bootRamdisk: async () => void did.push("bootRamdisk"),
    agentIsAlive: () => false,
    prepareInstanceBoot: async () => void did.push("prepareInstanceBoot"),
    setBootTarget: async (target) => void did.push(`boot ${target}`),
    power: async (target) => void did.push(target),
    report: () => {},
    keep: (state) => void kept.push(state),
    storeInventory: async () => {},
    learn: async () => {},
    ensurePorts: async () => {},
  };
  const run = async (name: string, earlier: JsonObject | null = null) => {
    const step = deploy.steps.find((one) => one.step === name);
    assert.ok(step !== undefined, name);
    const context: StepContext = {
      node,
      ports: [],
      volumes: [],
      args: {},
      machine,
      clock,
      random: new SeededRandom(1),
      inspection: null,
      attempt: 1,
      kept: earlier,
      signal: new AbortController().signal,
      log: silentLog,
    };
    return await step.run(context);
  };
  return { run, commands, streams, kept, did, clock, deploy, held: () => held };
}

test("the image goes to where the agent is, with a secret of its own, and the target is taken down afterwards", async () => {
  const one = await bench([written]);
  assert.deepEqual(await one.run("write_image"), { kind: "done" });
  assert.deepEqual(
    one.commands.map((command) => command.name),
    ["iscsi.start_iscsi_target", "iscsi.stop_iscsi_target"],
  );
  const target = one.streams[0]?.target;
  assert.equal(target?.address, "10.0.0.9");
  assert.deepEqual(target?.chap, one.commands[0]?.params["chap"]);
  assert.deepEqual(one.streams[0]?.content.source, {
    path: "/cache/debian",
    download: undefined,
    format: "qcow2",
    checksum: { algorithm: "sha256", value: SHA },
  });
  assert.equal(one.held(), 0);
});

test("a connection that died is tried again with a new secret", async () => {
  const one = await bench([new Fault("unreachable", "iscsi.closed", "the target closed the connection"), written]);
  const running = one.run("write_image");
  await one.clock.advance(5_000);
  await running;
  const [first, second] = one.streams.map(({ target }) => target.chap?.password);
  assert.ok(first !== undefined && second !== undefined && first !== second);
});

test("the next try goes on from the last checkpoint, and the daemon that comes after this one from what was kept", async () => {
  const one = await bench([
    new Fault("unreachable", "iscsi.closed", "the target closed the connection"),
    { ...written, bytes: 4, resumed: 6 },
  ]);
  const earlier: Checkpoint = { stream: 0 };
  const running = one.run("write_image", { device: "/dev/sda", checkpoint: earlier });
  await one.clock.advance(5_000);
  await running;
  assert.deepEqual(
    one.streams.map(({ target }) => [target.checkpoints, target.resume]),
    [
      [true, earlier],
      [true, { stream: 1 }],
    ],
  );
  assert.deepEqual(one.kept, [
    { device: "/dev/sda", checkpoint: { stream: 1 } },
    { device: "/dev/sda", checkpoint: { stream: 2 } },
  ]);
});

test("what was kept of another disk, or in another form, is not gone on from", async () => {
  for (const earlier of [{ device: "/dev/sdb", checkpoint: {} }, { device: "/dev/sda" }, { checkpoint: {} }, {}]) {
    const one = await bench([written]);
    await one.run("write_image", earlier);
    assert.equal(one.streams[0]?.target.resume, undefined);
  }
});

test("a refusal is not tried again, and the image is let go", async () => {
  const one = await bench([new Fault("refused", "iscsi.sense", "write protected")]);
  await assert.rejects(one.run("write_image"), (error) => isFault(error) && error.code === "iscsi.sense");
  assert.equal(one.streams.length, 1);
  assert.equal(one.held(), 0);
});

test("booting the ramdisk waits for its agent", async () => {
  const one = await bench([]);
  assert.deepEqual(await one.run("deploy"), { kind: "wait", for: "heartbeat", timeout: 1000 });
  assert.deepEqual(one.did, ["bootRamdisk"]);
});

test("the steps come in the order of Ironic's direct deploy, the image first of all; a volume is only booted from", async () => {
  const { deploy } = await bench([]);
  const order = (task: Task): readonly string[] =>
    deploy.steps
      .filter((step) => step.kinds.includes("deploy") && (step.when?.(task) ?? true))
      .toSorted((a, b) => b.priority - a.priority)
      .map((step) => step.step);
  const onVolume = { node: aNode(1, { interfaces: { storage: "external" } }), ports: [], volumes: [bootTarget] };
  assert.deepEqual(order(onVolume), ["start_from_volume"]);
  assert.deepEqual(order({ ...onVolume, node: aNode(1) }), [
    "fetch_image",
    "deploy",
    "write_image",
    "write_configdrive",
    "prepare_instance_boot",
    "tear_down_agent",
    "boot_instance",
  ]);
});

test("an instance on a volume starts over the network and stays there; an image as well has no place", async () => {
  const { run, did, deploy } = await bench([]);
  assert.deepEqual(await run("start_from_volume"), { kind: "done" });
  assert.deepEqual(did, ["power off", "prepareInstanceBoot", "power on"]);
  const task = (instanceInfo: JsonObject, deployInterface: string, volumes = [bootTarget]): Task => ({
    node: aNode(1, { instanceInfo, interfaces: { storage: "external", deploy: deployInterface } }),
    ports: [],
    volumes,
  });
  deploy.validate(task({}, "iscsi"), "deploy");
  externalStorage.validate(task({}, "iscsi"));
  assert.deepEqual(ipxeBoot.instance(task({}, "iscsi")), { target: "volume", device: "pxe" });
  externalStorage.validate(task({ image_source: "/a" }, "iscsi", []));
  assert.deepEqual(ipxeBoot.instance(task({ image_source: "/a" }, "iscsi", [])), { target: "disk", device: "disk" });
  for (const [wrong, field] of [
    [task({ image_source: "/a" }, "iscsi"), "instance_info.image_source"],
    [task({ configdrive: "x" }, "iscsi"), "instance_info.configdrive"],
    [task({}, "ramdisk"), "deploy_interface"],
    [task({}, "iscsi", [{ ...bootTarget, volumeType: "rbd" }]), "volume_target.volume_type"],
  ] as const) {
    assert.throws(
      () => externalStorage.validate(wrong),
      (error) => error instanceof Fault && error.detail["field"] === field,
    );
  }
});

test("a compressed raw image is taken by its format, or by its name when nobody says", () => {
  assert.equal(instanceImage({ image_source: "/a", image_disk_format: "zstd" }).format, "zstd");
  assert.equal(instanceImage({ image_source: "/a.raw.xz" }).format, "xz");
  assert.equal(instanceImage({ image_source: "/a" }).format, "raw");
});

for (const [title, info, field] of [
  ["no image", {}, "instance_info.image_source"],
  [
    "a format that cannot be written",
    { image_source: "/a", image_disk_format: "parallels" },
    "instance_info.image_disk_format",
  ],
  [
    "a digest of the wrong length",
    { image_source: "/a", image_os_hash_algo: "sha256", image_os_hash_value: "abc" },
    "instance_info.image_os_hash_value",
  ],
  [
    "an unknown digest",
    { image_source: "/a", image_os_hash_algo: "crc32", image_os_hash_value: "abc" },
    "instance_info.image_os_hash_algo",
  ],
] as const) {
  test(`${title} is refused with the field's name before anything is done`, () => {
    assert.throws(
      () => instanceImage(info),
      (error) => isFault(error) && error.kind === "invalid" && error.detail["field"] === field,
    );
  });
}

test("image_checksum alone is understood by its length", () => {
  assert.deepEqual(instanceImage({ image_source: "/a.raw", image_checksum: "B".repeat(32) }).checksum, {
    algorithm: "md5",
    value: "b".repeat(32),
  });
});
