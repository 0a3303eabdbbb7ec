import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { InvalidArgumentError } from "commander";
import { isFault } from "../../../src/core/fault.ts";
import { readConfigDrive } from "../../../src/cli/config-drive.ts";
import { parseEvent, parseEventList } from "../../../src/cli/event-json.ts";
import { durationWords, eventLine, progressWords, sizeWords } from "../../../src/cli/event-words.ts";
import { powerGoal, restGoal, stateGoal } from "../../../src/cli/follow.ts";
import { keyValue } from "../../../src/cli/key-values.ts";
import { fields, table } from "../../../src/cli/table.ts";
import { eventTypes } from "../../../src/mqtt/event-types.ts";
import { provisionStates } from "../../../src/domain/provision-state.ts";

test("every type of event has words of its own, and one that is not known is shown as it is", () => {
  const base = { seq: 1, time: "2026-11-21T10:00:00.123Z", name: "n1" };
  for (const type of Object.keys(eventTypes)) {
    const line = eventLine(parseEvent({ ...base, type, data: { from: "a", to: "b", step: "s", address: "m" } }));
    assert.match(line, /^2026-11-21 10:00:00Z {2}n1 {2}\S/);
    assert.equal(line.includes(type), false, line);
  }
  assert.match(eventLine(parseEvent({ ...base, type: "moon.landed", data: { crew: 3 } })), /moon\.landed \{"crew":3\}/);
});

test("what a machine says cannot move the cursor", () => {
  const line = eventLine(
    parseEvent({
      seq: 1,
      time: "",
      type: "node.failed",
      severity: "ERROR",
      data: { reason: "\u001b[2Jgone\r\nnext\u009b" },
    }),
  );
  assert.doesNotMatch(line, /\p{Cc}/u);
  assert.match(line, /ERROR: failed: .*gone next/);
  assert.doesNotMatch(table(["A"], [["\u001b[31mred"]]).replaceAll("\n", ""), /\p{Cc}/u);
});

test("an event without seq or type is malformed", () => {
  for (const value of [null, 7, {}, { seq: "1", type: "x" }, { seq: 1 }])
    assert.throws(() => parseEvent(value), isFault);
  assert.throws(() => parseEventList({}), isFault);
});

test("amounts are said as people say them", () => {
  assert.deepEqual([0, 999, 1000, 123_456, 1.5e9, 4e12, 7e15].map(sizeWords), [
    "0 B",
    "999 B",
    "1.0 kB",
    "123 kB",
    "1.5 GB",
    "4.0 TB",
    "7000 TB",
  ]);
  assert.deepEqual([0, 59_400, 61_000, 3_700_000, 90_000_000].map(durationWords), [
    "0 s",
    "59 s",
    "1:01 min",
    "1 h 01 min",
    "1 d 1 h",
  ]);
  assert.equal(progressWords(500, 1000, 12.4), "50 % of 1.0 kB, 12 MB/s");
  assert.equal(progressWords(500, null, null), "500 B");
  assert.equal(progressWords("x", 1, 1), undefined);
});

test("a table's columns line up and only the last is cut", () => {
  assert.equal(
    table(
      ["A", "LONGER"],
      [
        ["wide cell", "x"],
        ["y", "and so on"],
      ],
    ),
    "A          LONGER\nwide cell  x\ny          and so on\n",
  );
  assert.equal(table(["A", "B"], [["1234", "5678"]], 8), "A     B\n1234  5…\n");
  assert.equal(
    fields([
      ["a", 1],
      ["empty", null],
      ["list", ["x", "y"]],
      ["map", { k: "v", n: 1 }],
    ]),
    "a     1\nlist  x, y\nmap   k=v\n      n=1\n",
  );
});

test("KEY=VALUE keeps text, reads JSON and files, and never changes a secret", () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-values-"));
  try {
    const file = join(directory, "secret");
    writeFileSync(file, "s3cret\n");
    const text = keyValue({ numbers: false });
    const number = keyValue({ numbers: true });
    assert.deepEqual(text("a=1", undefined), { a: "1" });
    assert.deepEqual(text("a=b=c", { z: 1 }), { z: 1, a: "b=c" });
    assert.deepEqual(number("a=1", undefined), { a: 1 });
    assert.deepEqual(number("a=007", undefined), { a: "007" });
    assert.deepEqual(number("a=true", undefined), { a: true });
    assert.deepEqual(number('a={"b":[1]}', undefined), { a: { b: [1] } });
    assert.deepEqual(number("ipmi_password=1234", undefined), { ipmi_password: "1234" });
    assert.deepEqual(text("ipmi_password={x}", undefined), { ipmi_password: "{x}" });
    assert.deepEqual(text(`ipmi_password=@${file}`, undefined), { ipmi_password: "s3cret" });
    for (const wrong of ["a", "=b", "a={", "a=@/nonexistent"])
      assert.throws(() => text(wrong, undefined), InvalidArgumentError);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a config drive is read from JSON, a file, a directory and an ISO image", async () => {
  const directory = mkdtempSync(join(tmpdir(), "ironrack-drive-"));
  const at = (name: string, content: string | Uint8Array): string => {
    writeFileSync(join(directory, name), content);
    return join(directory, name);
  };
  try {
    const drive = { meta_data: { uuid: "1" } };
    assert.deepEqual(await readConfigDrive(JSON.stringify(drive)), drive);
    assert.deepEqual(await readConfigDrive(at("drive.json", JSON.stringify(drive))), drive);
    const iso = Buffer.alloc(0x9000);
    iso.write("CD001", 0x8001, "latin1");
    const packed = await readConfigDrive(at("drive.iso", iso));
    assert.deepEqual(gunzipSync(Buffer.from(packed as string, "base64")), iso);
    const zipped = gzipSync(iso);
    assert.equal(await readConfigDrive(at("drive.iso.gz", zipped)), zipped.toString("base64"));
    at("meta_data.json", '{"uuid":"1"}');
    at("user_data", "#cloud-config\n");
    assert.deepEqual(await readConfigDrive(directory), { meta_data: { uuid: "1" }, user_data: "#cloud-config\n" });
    for (const wrong of ["/nonexistent", at("x", "text"), at("y", "[1]")])
      await assert.rejects(readConfigDrive(wrong), (error) => isFault(error) && error.kind === "invalid");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a wait for a state is over exactly when nothing is under way any more", () => {
  for (const [state, { kind }] of Object.entries(provisionStates)) {
    const under = kind === "working" || kind === "waiting" || kind === "holding";
    const expected = under ? "under way" : state === "active" ? "reached" : "missed";
    assert.equal(stateGoal("active")({ provision_state: state }), expected, state);
    assert.equal(restGoal({ provision_state: state }), under ? "under way" : "reached", state);
  }
  assert.equal(stateGoal("active")({ provision_state: "a state of the future" }), "under way");
  assert.equal(powerGoal("power on")({ power_state: "power on", target_power_state: null }), "reached");
  assert.equal(powerGoal("power on")({ power_state: "power off", target_power_state: "power on" }), "under way");
  assert.equal(powerGoal("power on")({ power_state: "power off", target_power_state: null }), "missed");
});
