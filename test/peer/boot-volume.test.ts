import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Qmp } from "../rack/qmp.ts";
import { openStorage } from "../rack/storage.ts";
import { BootLab, SERVER } from "./boot-lab.ts";
import { consoleSays, machine, TAP } from "./boot-machine.ts";

const MAC = "52:54:00:79:00:7b";
const IQN = "iqn.2026-01.org.example:volume";
const INITIATOR = "iqn.2026-01.org.example:machine";
const CHAP = { username: "machine-7b", password: "Correct-horse.7" };
/** What the target must know in its turn. */
const REVERSE = { username: "storage", password: "Battery-staple.7" };

/** Reads its second sector through the BIOS and writes it to the serial line. */
const BOOT_SECTOR = Buffer.from(
  [
    "31c0 8ed8 8ec0", // xor ax,ax; mov ds,ax; mov es,ax
    "b80102 bb007e b90200 b600 cd13", // one sector to 0:7e00 from cylinder 0, head 0, sector 2 of the drive in dl
    "be007e", // mov si,7e00
    "ac 84c0 7406", // lodsb; test al,al; jz +6
    "baf803 ee ebf5", // out 3f8,al; back to lodsb
    "f4 ebfd", // hlt, for ever
  ]
    .join("")
    .replaceAll(" ", ""),
  "hex",
);

function bootableDisk(path: string): void {
  const disk = Buffer.alloc(1024);
  BOOT_SECTOR.copy(disk);
  disk.writeUInt16LE(0xaa55, 510);
  disk.write("the instance runs from its volume\r\n", 512);
  writeFileSync(path, disk);
  truncateSync(path, 64 * 2 ** 20); // on less than a cylinder iPXE finds no sector
}

test("a BIOS machine boots its iSCSI volume with mutual CHAP under its connector's name, and is the only one to learn the secret", async () => {
  await using lab = await BootLab.open(
    {
      nodes: [
        {
          mac: MAC,
          bootTarget: "volume",
          initiator: INITIATOR,
          volume: {
            target_portal: `${SERVER}:3260`,
            target_iqn: IQN,
            target_lun: 1,
            auth_method: "CHAP",
            auth_username: CHAP.username,
            auth_password: CHAP.password,
            auth_reverse_username: REVERSE.username,
            auth_reverse_password: REVERSE.password,
          },
        },
      ],
    },
    ["ip -n site addr add 10.79.0.9/24 dev eth0", ...TAP],
  );
  const disk = join(lab.directory, "volume");
  bootableDisk(disk);
  await using _storage = await openStorage({
    portal: `${SERVER}:3260`,
    volumes: [{ iqn: IQN, initiator: INITIATOR, file: disk }],
    login: CHAP,
    reverse: REVERSE,
    spawn: (argv) => lab.enclosure.spawn("rack", argv),
    run: async (argv) => await lab.enclosure.run("rack", argv),
  });
  const socket = join(lab.directory, "qmp");
  const nic = `virtio-net-pci,netdev=net0,mac=${MAC},bootindex=1`;
  await using qemu = machine(lab, nic, ["-qmp", `unix:${socket},server=on,wait=off`]);
  await consoleSays(lab, /the instance runs from its volume/, 90);

  using qmp = await Qmp.connect(
    socket,
    () => qemu.isRunning,
    () => {},
  );
  const memory = join(lab.directory, "memory");
  await qmp.execute("pmemsave", { val: 0x80000, size: 0x80000, filename: memory });
  const bytes = readFileSync(memory);
  const table = bytes.subarray(bytes.indexOf("iBFT"));
  const ibft = table.subarray(0, table.readUInt32LE(4)).toString("latin1");
  for (const word of [INITIATOR, IQN, ...Object.values(CHAP), ...Object.values(REVERSE)])
    assert.ok(ibft.includes(word), `${word} in the iBFT`);

  const script = `http://${SERVER}:8080/boot/${MAC.replaceAll(":", "-")}.ipxe`;
  const stranger = await lab.client(["curl", "-s", "-w", "%{http_code}", script]);
  assert.match(stranger.stdout, /403$/);
  for (const text of [stranger.stdout, JSON.stringify(lab.lines())])
    assert.ok(!text.includes(CHAP.password) && !text.includes(REVERSE.password));
});
