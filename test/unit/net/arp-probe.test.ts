import assert from "node:assert/strict";
import { test } from "node:test";
import { neighbourKey, parseNeighbours } from "../../../src/net/arp-probe.ts";

const TABLE = `IP address       HW type     Flags       HW address            Mask     Device
10.0.0.5         0x1         0x2         52:54:00:00:00:05     *        eth1
10.0.0.5         0x1         0x2         52:54:00:00:00:55     *        eth0
10.0.0.6         0x1         0x0         00:00:00:00:00:00     *        eth1
10.0.0.7         0x1         0x6         52:54:00:00:00:07     *        eth1
`;

test("knows who answered ARP on which interface, and not who was only asked", () => {
  const table = parseNeighbours(TABLE);
  const holder = (address: string): string | undefined => table.get(neighbourKey(address, "eth1"));
  assert.equal(holder("10.0.0.5"), "52:54:00:00:00:05");
  assert.equal(holder("10.0.0.6"), undefined);
  assert.equal(holder("10.0.0.7"), "52:54:00:00:00:07");
  assert.equal(holder("10.0.0.8"), undefined);
  assert.equal(table.size, 3);
});
