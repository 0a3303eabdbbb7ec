import assert from "node:assert/strict";
import { test } from "node:test";
import { bmcAddress, layoutCommands, machineMac, tapName } from "../../rack/network.ts";

test("every machine has its own MAC, tap and BMC address", () => {
  const indexes = Array.from({ length: 40 }, (_, index) => index);
  for (const name of [machineMac, tapName, bmcAddress]) assert.equal(new Set(indexes.map(name)).size, 40);
  assert.equal(machineMac(0), "52:54:00:77:00:11");
  assert.equal(bmcAddress(0), "10.77.1.11");
});

test("the layout puts each tap on the provisioning bridge and each BMC's address on the BMC network", () => {
  const commands = layoutCommands(2);
  for (const tap of ["tap0", "tap1"]) assert.ok(commands.includes(`ip link set ${tap} master prov0 up`));
  for (const address of ["10.77.1.11", "10.77.1.12"])
    assert.ok(commands.includes(`ip addr add ${address}/24 dev bmc0`));
});
