import assert from "node:assert/strict";
import { test } from "node:test";
import { type Hardware, qemuArguments } from "../../rack/qemu-arguments.ts";

const hardware: Hardware = {
  name: "m0",
  firmware: "bios",
  uuid: "77777777-0000-4000-8000-000000000001",
  memoryMb: 512,
  cpus: 1,
  mac: "52:54:00:77:00:11",
  tap: "tap0",
  disks: [{ path: "/tmp/a,b/disk", serial: "m0-disk0", bus: "virtio" }],
  variables: "/tmp/vars",
  consoleLog: "/tmp/console",
  consolePort: 6100,
  qmpSocket: "/tmp/qmp",
};

function device(args: readonly string[], id: string): string {
  return args.find((arg) => arg.split(",").includes(`id=${id}`)) ?? "";
}

test("a BIOS machine boots iPXE from its card's ROM and has no flash", () => {
  const args = qemuArguments(hardware, { nic: 1, disk: 2 });
  assert.match(device(args, "nic0"), /bootindex=1$/);
  assert.ok(!args.some((arg) => arg.includes("pflash")));
});

test("a UEFI machine gets an empty ROM, so that OVMF's own PXE runs, and flash with variables of its own", () => {
  const args = qemuArguments({ ...hardware, firmware: "uefi" }, { nic: 1, disk: 2 });
  assert.match(device(args, "nic0"), /,romfile=$/);
  assert.ok(args.includes("if=pflash,format=raw,unit=1,file=/tmp/vars"));
});

test("a comma in a path is doubled, as QEMU's option lists want it", () => {
  const args = qemuArguments(hardware, { nic: 1, disk: 2 });
  assert.ok(args.some((arg) => arg.includes("file=/tmp/a,,b/disk")));
});

test("only the first disk has a place in the boot order; every disk has its serial number", () => {
  const disks = [
    { path: "/d0", serial: "S0", bus: "scsi" },
    { path: "/d1", serial: "S1", bus: "sata" },
    { path: "/d2", serial: "S2", bus: "nvme" },
  ] as const;
  const args = qemuArguments({ ...hardware, disks }, { nic: 2, disk: 1 });
  assert.equal(device(args, "disk0"), "scsi-hd,bus=scsi0.0,id=disk0,drive=drive0,serial=S0,bootindex=1");
  assert.equal(device(args, "disk1"), "ide-hd,bus=ide.1,id=disk1,drive=drive1,serial=S1");
  assert.equal(device(args, "disk2"), "nvme,id=disk2,drive=drive2,serial=S2");
  assert.ok(args.includes("virtio-scsi-pci,id=scsi0"));
});

test("KVM is never used: iPXE's ROM stops under nested virtualization", () => {
  const args = qemuArguments(hardware, { nic: 1, disk: 2 });
  assert.equal(args[args.indexOf("-accel") + 1], "tcg,thread=multi");
});
