import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../../../src/core/fault.ts";
import { millis } from "../../../src/core/units.ts";
import type { Node } from "../../../src/domain/node.ts";
import { ipxeBoot } from "../../../src/driver/ipxe-boot.ts";
import { ramdiskDeploy } from "../../../src/driver/ramdisk-deploy.ts";
import { aNode, aPort } from "../../conformance/store-contract.ts";

const deploy = ramdiskDeploy({
  connect: () => ({ run: () => Promise.reject(new Error("no agent is needed")) }),
  callbackTimeout: millis(1000),
  priorities: {},
  isServed: (path) => path.startsWith("/srv/"),
});

function task(instanceInfo: Node["instanceInfo"]) {
  return { node: aNode(1, { instanceInfo, interfaces: { deploy: "ramdisk" } }), ports: [], volumes: [] };
}

test("an instance that runs from memory needs an ISO or a kernel that machines can get", () => {
  for (const good of [
    { boot_iso: "https://x/a.iso" },
    { boot_iso: "/srv/a.iso" },
    { kernel: "http://x/k" },
    { kernel: "http://x/k", ramdisk: "http://x/i" },
  ])
    deploy.validate(task(good), "deploy");
  for (const [wrong, field] of [
    [{}, "instance_info.boot_iso"],
    [{ boot_iso: "/etc/shadow" }, "instance_info.boot_iso"],
    [{ boot_iso: "http://x/a.iso || exit" }, "instance_info.boot_iso"],
    [{ kernel: "file:///k" }, "instance_info.kernel"],
    [{ kernel: "http://x/k", ramdisk: "i" }, "instance_info.ramdisk"],
  ] as const) {
    assert.throws(
      () => deploy.validate(task(wrong), "deploy"),
      (error) => isFault(error) && error.detail["field"] === field,
    );
  }
  deploy.validate(task({}), "clean");
});

test("an ISO for the ramdisk, which could be told nothing over the network, is refused unless there is a kernel too", () => {
  const booted = (driverInfo: Node["driverInfo"]) => {
    const node = aNode(1, { driverInfo });
    return { node, ports: [aPort(1, node.uuid)], volumes: [] };
  };
  assert.throws(
    () => ipxeBoot.validate(booted({ deploy_iso: "http://x/ipa.iso" })),
    (error) => isFault(error) && error.detail["field"] === "driver_info.deploy_iso",
  );
  ipxeBoot.validate(booted({ deploy_iso: "http://x/ipa.iso", deploy_kernel: "http://x/k" }));
});

test("a node with the deploy interface ramdisk boots its instance over the network, any other from its disk", () => {
  assert.deepEqual(ipxeBoot.instance(task({ boot_iso: "http://x/a.iso" })), { target: "network", device: "pxe" });
  const direct = { node: aNode(1, { instanceInfo: { boot_iso: "http://x/a.iso" } }), ports: [], volumes: [] };
  assert.deepEqual(ipxeBoot.instance(direct), { target: "disk", device: "disk" });
});
