import assert from "node:assert/strict";
import { test } from "node:test";
import type { JsonObject } from "../../../src/core/json.ts";
import { iscsiVolume, isIscsiName, volumeBoot, type VolumeBoot } from "../../../src/domain/volume.ts";
import { aConnector, aTarget } from "../../conformance/store-contract.ts";

const PROPERTIES = { target_portal: "10.0.0.9:3261", target_iqn: "iqn.2026-01.org.example:d1", target_lun: 1 };
const CHAP = { auth_method: "CHAP", auth_username: "r1", auth_password: "s3cret-s3cret" };

function of(properties: JsonObject): ReturnType<typeof iscsiVolume> {
  return iscsiVolume({ volumeType: "iscsi", properties });
}

test("a target's properties are a disk: port 3260 and LUN 0 where they say nothing, CHAP where they say all", () => {
  const disk = { host: "10.0.0.9", port: 3261, iqn: "iqn.2026-01.org.example:d1", lun: 1, chap: null };
  assert.deepEqual(of(PROPERTIES), disk);
  assert.deepEqual(of({ ...PROPERTIES, target_portal: "san.example.org", target_lun: "7" }), {
    ...disk,
    host: "san.example.org",
    port: 3260,
    lun: 7,
  });
  const chap = { username: "r1", password: "s3cret-s3cret", reverse: null };
  assert.deepEqual(of({ ...PROPERTIES, ...CHAP }), { ...disk, chap });
  assert.deepEqual(of({ ...PROPERTIES, ...CHAP, auth_reverse_username: "disk", auth_reverse_password: "its-own" }), {
    ...disk,
    chap: { ...chap, reverse: { username: "disk", password: "its-own" } },
  });
});

for (const [title, properties, field] of [
  ["no portal", { target_iqn: PROPERTIES.target_iqn }, "target_portal"],
  ["a portal that is none", { ...PROPERTIES, target_portal: "a b" }, "target_portal"],
  ["a name that is none", { ...PROPERTIES, target_iqn: "disk" }, "target_iqn"],
  ["a LUN that is none", { ...PROPERTIES, target_lun: 20_000 }, "target_lun"],
  ["a LUN that is no number", { ...PROPERTIES, target_lun: "one" }, "target_lun"],
  ["a reverse name alone", { ...PROPERTIES, ...CHAP, auth_reverse_username: "disk" }, "auth_reverse_password"],
  [
    "mutual CHAP without the machine's half",
    { ...PROPERTIES, auth_reverse_username: "disk", auth_reverse_password: "its-own" },
    "auth_username",
  ],
  ["another method", { ...PROPERTIES, ...CHAP, auth_method: "Kerberos" }, "auth_method"],
  ["CHAP without a password", { ...PROPERTIES, auth_method: "CHAP", auth_username: "r1" }, "auth_password"],
  ["a password that iPXE would expand", { ...PROPERTIES, ...CHAP, auth_password: "a${net0/mac}" }, "auth_password"],
  ["a password that would end the command", { ...PROPERTIES, ...CHAP, auth_password: "a || reboot" }, "auth_password"],
  ["a name that would end the line", { ...PROPERTIES, ...CHAP, auth_username: "a\nreboot" }, "auth_username"],
] as const) {
  test(`${title} is told with its field`, () => {
    const found = of(properties);
    assert.equal("field" in found ? found.field : "", `properties.${field}`);
  });
}

test("iSCSI names are of the three forms — RFC 7143 §4.2.7", () => {
  for (const name of ["iqn.2026-01.org.example", "iqn.2026-01.org.example:a.b-c:1", "eui.02004567A425678D"])
    assert.ok(isIscsiName(name), name);
  for (const name of ["", "iqn.26-01.org", "iqn.2026-01.org.example:", "iqn.2026-01.org.example:a b", "eui.12"])
    assert.ok(!isIscsiName(name), name);
});

test("a node boots from boot_index 0 with its further disks behind it, if its storage interface is external", () => {
  const volumes = [
    aTarget(1, { bootIndex: 2 }),
    aTarget(2, { bootIndex: 0 }),
    aTarget(3, { bootIndex: -1 }),
    aTarget(4, { bootIndex: 1 }),
    aConnector(1, { type: "ip", connectorId: "10.0.0.7" }),
    aConnector(2),
  ];
  const boot = (storage: string | undefined, given = volumes): VolumeBoot =>
    volumeBoot({ interfaces: storage === undefined ? {} : { storage } }, given);
  assert.equal(boot(undefined).kind, "none");
  assert.equal(boot("noop").kind, "none");
  assert.equal(boot("external", volumes.slice(2)).kind, "none");
  const found = boot("external");
  assert.ok(found.kind === "iscsi");
  assert.equal(found.initiator, "iqn.2026-01.org.example:node-2");
  assert.deepEqual([found.boot.lun, found.others.map(({ lun }) => lun)], [2, [4, 1]]);
  const unfit = boot("external", [aTarget(1, { bootIndex: 0, volumeType: "fibre_channel" })]);
  assert.equal(unfit.kind === "unfit" ? unfit.field : "", "volume_type");
});
