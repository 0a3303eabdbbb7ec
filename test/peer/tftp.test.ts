import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BootLab, SERVER } from "./boot-lab.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-tftp-"));
after(() => rmSync(root, { recursive: true, force: true }));
const sizes: Readonly<Record<string, number>> = {
  empty: 0,
  one: 1,
  "block-less-one": 511,
  block: 512,
  "block-and-one": 513,
  "two-mtu": 2936,
  medium: 300_001,
  rollover: 70_000 * 512 + 17,
};
for (const [name, size] of Object.entries(sizes)) writeFileSync(join(root, name), randomBytes(size));
writeFileSync(join(root, "text"), "one\ntwo\r\nthree\rfour\n");
mkdirSync(join(root, "grub"));
writeFileSync(join(root, "grub", "grub.cfg"), "set default=0\n");
symlinkSync("/etc/passwd", join(root, "link"));

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A lab whose client side has an address. */
async function openLab(): Promise<BootLab> {
  return await BootLab.open({ tftpRoot: root }, ["ip -n site addr add 10.79.0.9/24 dev eth0"]);
}

function same(lab: BootLab, got: string, name: string): void {
  assert.equal(digest(readFileSync(join(lab.directory, got))), digest(readFileSync(join(root, name))), name);
}

test("tftp-hpa reads files of every critical size", async () => {
  await using lab = await openLab();
  for (const name of Object.keys(sizes).filter((one) => one !== "rollover")) {
    await lab.client(["tftp", "-m", "binary", SERVER, "-c", "get", name, join(lab.directory, name)]);
    same(lab, name, name);
  }
});

test("a file of more than 65535 blocks goes round and arrives whole", async () => {
  await using lab = await openLab();
  await lab.client(["curl", "-sS", "--tftp-no-options", `tftp://${SERVER}/rollover`, "-o", join(lab.directory, "got")]);
  same(lab, "got", "rollover");
});

test("curl with blksize and tsize, and a name with a leading slash", async () => {
  await using lab = await openLab();
  await lab.client([
    "curl",
    "-sS",
    "--tftp-blksize",
    "1400",
    `tftp://${SERVER}//grub/grub.cfg`,
    "-o",
    join(lab.directory, "got"),
  ]);
  same(lab, "got", "grub/grub.cfg");
  await lab.client([
    "curl",
    "-sS",
    "--tftp-blksize",
    "1468",
    `tftp://${SERVER}/medium`,
    "-o",
    join(lab.directory, "got"),
  ]);
  same(lab, "got", "medium");
  const done = await lab.logged((line) => line["event"] === "tftp.done" && line["file"] === "medium");
  assert.equal(done["blksize"], 1468);
});

test("atftp with windowsize, timeout and a block size that is not a power of two", async () => {
  await using lab = await openLab();
  for (const windowsize of ["2", "16", "64"]) {
    const options = [
      "--option",
      "blksize 1428",
      "--option",
      `windowsize ${windowsize}`,
      "--option",
      "timeout 3",
      "--option",
      "tsize 0",
    ];
    await lab.client([
      "atftp",
      ...options,
      "-g",
      "-r",
      "medium",
      "-l",
      join(lab.directory, `got${windowsize}`),
      SERVER,
    ]);
    same(lab, `got${windowsize}`, "medium");
  }
  // The last block's acknowledgement may still be on its way when the client has ended.
  const done = (): readonly unknown[] =>
    lab.lines().flatMap((line) => (line["event"] === "tftp.done" ? [line["windowsize"]] : []));
  await lab.until(() => done().length === 3, "three transfers' ends");
  assert.deepEqual(done(), [2, 16, 64]);
});

test("busybox tftp reads with a block size of its own", async () => {
  await using lab = await openLab();
  await lab.client(["busybox", "tftp", "-g", "-b", "1024", "-r", "medium", "-l", join(lab.directory, "got"), SERVER]);
  same(lab, "got", "medium");
});

test("netascii turns line ends into CR LF on the wire and the client turns them back", async () => {
  await using lab = await openLab();
  await lab.client(["tftp", "-m", "ascii", SERVER, "-c", "get", "text", join(lab.directory, "got")]);
  same(lab, "got", "text");
});

test("no name leads out of the root: not upwards, not by a link, not by an absolute path", async () => {
  await using lab = await openLab();
  for (const name of [
    "../../etc/passwd",
    "grub/../../etc/passwd",
    "link",
    "/etc/passwd",
    "..\\..\\etc\\passwd",
    ".hidden",
    "grub",
  ]) {
    const outcome = await lab.enclosure.spawn("site", [
      "curl",
      "-sS",
      "-m",
      "5",
      "--path-as-is",
      `tftp://${SERVER}/${name}`,
    ]).ended;
    assert.notEqual(outcome.code, 0, name);
    assert.doesNotMatch(outcome.stdout, /root:/, name);
  }
  assert.ok(lab.lines().some((line) => line["event"] === "tftp.refused" && line["code"] === 1));
});

test("writing is refused", async () => {
  await using lab = await openLab();
  const outcome = await lab.enclosure.spawn("site", [
    "tftp",
    "-m",
    "binary",
    SERVER,
    "-c",
    "put",
    join(root, "one"),
    "new",
  ]).ended;
  assert.match(outcome.stdout + outcome.stderr, /only be read|Access violation|Error code 2/i);
});

test("twenty clients of one address read at once, and each gets the whole file", async () => {
  await using lab = await openLab();
  await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      lab.client([
        "curl",
        "-sS",
        "--tftp-blksize",
        "1468",
        `tftp://${SERVER}/medium`,
        "-o",
        join(lab.directory, `got${at}`),
      ]),
    ),
  );
  for (let at = 0; at < 20; at += 1) same(lab, `got${at}`, "medium");
});
