import assert from "node:assert/strict";
import { test } from "node:test";
import { bootIndexes, BootOrder } from "../../rack/boot-order.ts";

test("the device that is asked for gets the lower bootindex, and no two share one", () => {
  assert.deepEqual(bootIndexes("pxe"), { nic: 1, disk: 2 });
  assert.deepEqual(bootIndexes("disk"), { nic: 2, disk: 1 });
});

test("a request holds over the firmware's own order until it is taken back", () => {
  const order = new BootOrder("disk");
  assert.equal(order.next, "disk");
  order.request("pxe");
  assert.equal(order.next, "pxe");
  assert.equal(order.override, "pxe");
  order.request(undefined);
  assert.equal(order.next, "disk");
  assert.equal(order.override, undefined);
});
