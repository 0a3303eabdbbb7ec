import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "../../src/core/json.ts";
import { Broker } from "./broker.ts";
import { FakeRack } from "./fake-rack.ts";
import { eventually } from "./site.ts";
import { boundToUs } from "../bound-to-us.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

function start(args: readonly string[]): {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  readonly ended: Promise<Ended>;
} {
  const child = spawn(...boundToUs(process.execPath, MAIN, ...args), { stdio: ["ignore", "pipe", "pipe"] });
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => (output.out += String(chunk)));
  child.stderr.on("data", (chunk) => (output.err += String(chunk)));
  const ended = new Promise<Ended>((resolve) => child.once("close", (status) => resolve({ status, ...output })));
  return { child, output, ended };
}

type Run = (...args: readonly string[]) => Promise<Ended>;

/** What `--json` printed, of a run that went well. */
async function json(run: Promise<Ended>): Promise<JsonObject> {
  const { status, out, err } = await run;
  assert.equal(status, 0, err);
  assert.equal(err, "");
  return JSON.parse(out) as JsonObject;
}

/** The same life of a node over either door: the verbs exist once. */
async function lifeOfNode(run: Run, directory: string): Promise<void> {
  const created = await json(
    run(
      "node",
      "create",
      "--driver",
      "fake-hardware",
      "--name",
      "n1",
      "--driver-info",
      "a=1",
      "--property",
      "cpus=4",
      "--json",
    ),
  );
  assert.deepEqual(created["properties"], { cpus: 4 });
  assert.deepEqual(created["driver_info"], { a: "1" });
  const port = await json(run("port", "create", "--node", "n1", "--address", "52-54-00-00-00-01", "--json"));
  assert.equal(port["address"], "52:54:00:00:00:01");
  for (const [verb, state] of [
    ["manage", "manageable"],
    ["inspect", "manageable"],
    ["clean", "manageable"],
    ["provide", "available"],
  ] as const) {
    const node = await json(run("node", verb, "n1", "--wait", "--timeout", "60", "--json"));
    assert.equal(node["provision_state"], state);
  }
  const drive = join(directory, "drive.json");
  await writeFile(drive, JSON.stringify({ meta_data: { "local-hostname": "h" } }));
  const image = [
    "--image-source",
    "/srv/debian.qcow2",
    "--image-checksum",
    `sha256:${"Ab".repeat(32)}`,
    "--config-drive",
    drive,
  ];
  const active = await json(run("node", "deploy", "n1", ...image, "--wait", "--json"));
  assert.equal(active["provision_state"], "active");
  const info = active["instance_info"] as JsonObject;
  assert.deepEqual(
    [info["image_source"], info["image_os_hash_algo"], info["image_os_hash_value"], info["image_disk_format"]],
    ["/srv/debian.qcow2", "sha256", "ab".repeat(32), "qcow2"],
  );
  assert.equal((await json(run("node", "power", "off", "n1", "--wait", "--json")))["power_state"], "power off");
  assert.equal((await json(run("node", "undeploy", "n1", "--wait", "--json")))["provision_state"], "available");
  const list = (await json(run("node", "list", "--json"))) as { nodes: JsonObject[] };
  assert.deepEqual(
    list.nodes.map((node) => node["name"]),
    ["n1"],
  );
  assert.equal((await json(run("node", "show", "n1", "--json")))["uuid"], created["uuid"]);
  const history = (await json(run("node", "history", "n1", "--json"))) as { history: JsonObject[] };
  assert.equal(history.history[0]?.["type"], "node.created");
}

test("the verbs lead a node through its life over the daemon's socket", { timeout: 120_000 }, async () => {
  await using rack = await FakeRack.open();
  await lifeOfNode(async (...args) => await start(["--socket", rack.socket, ...args]).ended, rack.directory);
});

test("the same verbs lead a node through its life over MQTT", { timeout: 120_000 }, async () => {
  await using broker = await Broker.start();
  await using rack = await FakeRack.open({ broker: broker.url });
  const site = ["site", "--broker", broker.url, "--site", "s", "--rack", "r"];
  await lifeOfNode(async (...args) => await start([...site, ...args]).ended, rack.directory);
});

test("every verb prints something for people, and every exit status says what it was", {
  timeout: 120_000,
}, async () => {
  await using rack = await FakeRack.open();
  const run: Run = async (...args) => await start(["--socket", rack.socket, ...args]).ended;
  const says = async (expected: RegExp, ...args: readonly string[]): Promise<void> => {
    const { status, out, err } = await run(...args);
    assert.equal(status, 0, err);
    assert.match(out, expected);
  };
  await says(/n1 is enrolled, UUID [0-9a-f-]{36}/, "node", "create", "--driver", "fake-hardware", "--name", "n1");
  await says(/NAME .*\nn1 .*enroll/, "node", "list");
  await says(/provision_state +enroll/, "node", "show", "n1");
  await says(/power +good/, "node", "validate", "n1");
  await says(/enrolled with driver fake-hardware/, "node", "history", "n1");
  await says(/is changed/, "node", "set", "n1", "--extra", "owner=me", "--description", "the first");
  await says(/owner=me/, "node", "show", "n1");
  await says(/is changed/, "node", "set", "n1", "--unset", "extra/owner");
  await says(/in maintenance/, "node", "maintenance", "set", "n1", "--reason", "fan");
  await says(/fan/, "node", "list");
  await says(/out of maintenance/, "node", "maintenance", "unset", "n1");
  await says(/boots from pxe once/, "node", "boot-device", "n1", "pxe");
  await says(/port 52:54:00:00:00:01 of n1/, "port", "create", "--node", "n1", "--address", "52:54:00:00:00:01");
  await says(/52:54:00:00:00:01/, "port", "list", "--node", "n1");
  await says(/52:54:00:00:00:01/, "port", "show", "52:54:00:00:00:01");
  await says(/n1 is "verifying"/, "node", "manage", "n1");
  await eventually("it is managed", () => rack.store.nodes.byName("n1")?.provisionState === "manageable");
  await says(/n1 is "power on"/, "node", "power", "on", "n1", "--wait");
  await says(/test-appliance/, "status");
  await says(/nodes +1: 1 manageable/, "status");
  await says(/enroll → verifying/, "event", "list");
  await says(/verifying → manageable/, "events", "--node", "n1");
  await says(/verifying → manageable/, "logs", "n1");
  await says(/ADDRESS/, "lease", "list");
  await says(/node\.set_provision_state +changes/, "command", "list");
  await says(/"name": "n1"/, "command", "call", "node.show", '{"node":"n1"}');
  await says(/is removed/, "port", "delete", "52:54:00:00:00:01");

  const fails = async (status: number, expected: RegExp, ...args: readonly string[]): Promise<void> => {
    const ended = await run(...args);
    assert.equal(ended.status, status, ended.err);
    assert.match(ended.err, expected);
    assert.equal(ended.out, "");
  };
  await fails(2, /unknown command/, "node", "shwo");
  await fails(2, /required option/, "node", "create");
  await fails(2, /KEY=VALUE/, "node", "create", "--driver", "x", "--extra", "nonsense");
  await fails(2, /image-checksum/, "node", "deploy", "n1", "--image-checksum", "abc");
  await fails(2, /not a number of seconds/, "node", "provide", "n1", "--wait", "--timeout", "soon");
  await fails(2, /driver/, "node", "create", "--driver", "no-such");
  await fails(3, /could not be found/, "node", "show", "n2");
  await fails(4, /not possible|cannot|manageable/, "node", "deploy", "n1");
  await fails(2, /^\{"error":\{"kind":"invalid"/, "command", "call", "node.show", "{}", "--json");
  await says(/is removed/, "node", "delete", "n1");
  const away = await start(["--socket", "/nonexistent/socket", "node", "power", "on", "n1"]).ended;
  assert.equal(away.status, 8);
  assert.match(away.err, /systemctl status ironrackd/);
});

test("a wait that meets a failed state ends with status 12 and the node's reason", { timeout: 60_000 }, async () => {
  await using rack = await FakeRack.open();
  const run: Run = async (...args) => await start(["--socket", rack.socket, ...args]).ended;
  await json(run("node", "create", "--driver", "stubborn-hardware", "--name", "n1", "--json"));
  await json(run("node", "manage", "n1", "--wait", "--json"));
  const words = await run("node", "provide", "n1", "--wait");
  assert.equal(words.status, 12);
  assert.match(words.err, /step deploy.erase_devices_metadata begins/);
  assert.match(
    words.err,
    /ironrack: n1 is "clean failed", power o\w+: .*the disk does not take writes.*; see: ironrack node history n1/,
  );
  await json(run("node", "manage", "n1", "--json"));
  const { status, err } = await run("node", "clean", "n1", "--wait", "--json");
  assert.equal(status, 12);
  assert.equal(((JSON.parse(err) as JsonObject)["error"] as JsonObject)["code"], "operation.failed");
});

test("a wait shows its progress on a terminal and may end before the work does; following ends with Ctrl-C and 130", {
  timeout: 60_000,
}, async () => {
  await using rack = await FakeRack.open();
  const run: Run = async (...args) => await start(["--socket", rack.socket, ...args]).ended;
  await json(run("node", "create", "--driver", "stubborn-hardware", "--name", "n1", "--json"));
  await json(run("node", "manage", "n1", "--wait", "--json"));
  const { uuid } = rack.store.nodes.byName("n1") ?? {};
  assert.ok(uuid !== undefined);
  await rack.store.commit((tx) => {
    const node = tx.nodes.get(uuid);
    if (node !== undefined) tx.nodes.put({ ...node, provisionState: "available" });
  });
  // On a terminal, with one line that is redrawn.
  const command = [
    process.execPath,
    MAIN,
    "--socket",
    rack.socket,
    "node",
    "deploy",
    "n1",
    "--image-source",
    "x.raw",
    "--wait",
    "--timeout",
    "4",
  ];
  const terminal = spawn("script", ["-qec", command.join(" "), "/dev/null"], { stdio: ["ignore", "pipe", "inherit"] });
  let drawn = "";
  terminal.stdout.on("data", (chunk) => (drawn += String(chunk)));
  const status = await new Promise((resolve) => terminal.once("close", resolve));
  assert.match(drawn, /not done within 4 s; the operation goes on in the rack/);
  assert.equal(status, 9);
  assert.match(
    drawn.replaceAll("\r\u001b[K", "<new line>"),
    /<new line>n1 {2}deploying {2}deploy.write_image \(1\/1\) {2}\d+ % of 1.0 GB, \d+ MB\/s {2}\d+ s/,
  );
  assert.equal(rack.store.nodes.get(uuid)?.provisionState, "deploying");
  const follow = start(["--socket", rack.socket, "events", "--follow", "--json"]);
  await eventually("progress is printed", () => follow.output.out.split("\n").length > 2);
  for (const line of follow.output.out.trim().split("\n"))
    assert.equal(typeof (JSON.parse(line) as JsonObject)["seq"], "number");
  follow.child.kill("SIGINT");
  assert.equal((await follow.ended).status, 130);
  assert.equal(rack.store.nodes.get(uuid)?.provisionState, "deploying");
});

test("a boot is told step by step, also of a machine that nobody enrolled; following ends with Ctrl-C and 130", {
  timeout: 60_000,
}, async () => {
  await using rack = await FakeRack.open();
  const mac = "52:54:00:12:34:56";
  const run: Run = async (...args) => await start(["--socket", rack.socket, ...args]).ended;
  assert.match((await run("boot", "trace", mac)).out, /^nothing was heard of 52:54:00:12:34:56/);
  const follow = start(["--socket", rack.socket, "boot", "trace", mac, "--follow"]);
  rack.bootTrace.record(mac, null, "dhcp.silent", { mac, type: "discover", reason: "the pool is in use" });
  await eventually("the first step is printed", () => follow.output.out.includes("no answer: the pool is in use"));
  rack.bootTrace.record(mac, null, "tftp.done", { mac, file: "snponly.efi", bytes: 181_248, elapsed_ms: 100 });
  await eventually("the next is printed", () => follow.output.out.includes("tftp snponly.efi: 181 kB in 0.10 s"));
  follow.child.kill("SIGINT");
  assert.equal((await follow.ended).status, 130);
  const traced = await json(run("boot", "trace", mac, "--json"));
  assert.deepEqual(
    (traced["steps"] as JsonObject[]).map((step) => step["event"]),
    ["dhcp.silent", "tftp.done"],
  );
  assert.match((await run("boot", "list")).out, /52:54:00:12:34:56 {2}- +2 {2}.*tftp snponly\.efi/);
  assert.equal((await run("boot", "trace", "nobody")).status, 3);
});
