import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Fault } from "../../../src/core/fault.ts";
import type { Json } from "../../../src/core/json.ts";
import { buildConfigDrive, checkConfigDrive, configDriveFiles } from "../../../src/image/config-drive.ts";
import { encodeIso9660, type IsoFile } from "../../../src/image/iso9660.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-configdrive-"));
after(() => {
  execFileSync("chmod", ["-R", "u+w", root]);
  rmSync(root, { recursive: true });
});
let made = 0;

const drive = {
  meta_data: {
    uuid: "11111111-2222-4333-8444-555555555555",
    hostname: "node-1",
    public_keys: { me: "ssh-ed25519 AAAA me" },
  },
  user_data: "#!/bin/sh\necho größer\n",
  network_data: { links: [{ id: "a", ethernet_mac_address: "52:54:00:00:00:01" }], networks: [] },
  vendor_data: { x: 1 },
};

function write(image: Uint8Array): string {
  made += 1;
  const path = join(root, `${made}.iso`);
  writeFileSync(path, image);
  return path;
}

function unpack(text: string): string {
  return write(gunzipSync(Buffer.from(text, "base64")));
}

/** What xorriso takes out of an image through its Rock Ridge or its Joliet names. */
function extract(path: string, names: "rockridge" | "joliet"): string {
  const directory = join(root, `${made}-${names}`);
  mkdirSync(directory);
  const reading = ["-read_fs", names === "joliet" ? "norock" : "nojoliet"];
  execFileSync(
    "xorriso",
    ["-abort_on", "WARNING", "-osirrox", "on", ...reading, "-indev", path, "-extract", "/", directory],
    { stdio: "pipe" },
  );
  return directory;
}

function isoinfo(path: string, ...options: string[]): string {
  return execFileSync("isoinfo", [...options, "-i", path], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

test("the parts become an ISO 9660 image labelled config-2, whose files independent readers find", async () => {
  const path = unpack(await buildConfigDrive(drive));
  const blkid = execFileSync("blkid", ["-p", "-o", "export", path], { encoding: "utf8" });
  assert.match(blkid, /^LABEL=config-2$/m);
  assert.match(blkid, /^TYPE=iso9660$/m);
  for (const directory of [extract(path, "rockridge"), extract(path, "joliet")]) {
    assert.deepEqual(readdirSync(directory).sort(), ["ec2", "openstack"]);
    for (const version of ["latest", "2012-08-10"]) {
      const read = (name: string): string => readFileSync(join(directory, "openstack", version, name), "utf8");
      assert.deepEqual(JSON.parse(read("meta_data.json")), drive.meta_data);
      assert.deepEqual(JSON.parse(read("network_data.json")), drive.network_data);
      assert.deepEqual(JSON.parse(read("vendor_data.json")), drive.vendor_data);
      assert.equal(read("user_data"), drive.user_data);
    }
    const ec2 = JSON.parse(readFileSync(join(directory, "ec2/latest/meta-data.json"), "utf8")) as Record<string, Json>;
    assert.deepEqual(ec2, {
      "instance-id": drive.meta_data.uuid,
      hostname: "node-1",
      "local-hostname": "node-1",
      "public-keys": { "0": { _name: "0=me", "openssh-key": "ssh-ed25519 AAAA me" } },
    });
    assert.equal(readFileSync(join(directory, "ec2/latest/user-data"), "utf8"), drive.user_data);
  }
});

test("isoinfo reads the ISO, the Rock Ridge and the Joliet names", async () => {
  const path = unpack(await buildConfigDrive(drive));
  assert.match(
    isoinfo(path, "-d"),
    /Volume id: config-2\n[^]*Joliet with UCS level 3 found\n[^]*Rock Ridge signatures version 1 found/,
  );
  const rock = isoinfo(path, "-R", "-f").trim().split("\n").sort();
  assert.deepEqual(isoinfo(path, "-J", "-f").trim().split("\n").sort(), rock);
  assert.ok(rock.includes("/openstack/latest/meta_data.json"));
  assert.ok(isoinfo(path, "-f").split("\n").includes("/OPENSTAC/LATEST/META_DAT.JSO;1"));
  assert.equal(isoinfo(path, "-R", "-x", "/openstack/latest/user_data"), drive.user_data);
  assert.equal(isoinfo(path, "-J", "-x", "/openstack/latest/user_data"), drive.user_data);
});

test("the same parts give the same bytes, and equal files share their sectors", async () => {
  assert.equal(await buildConfigDrive(drive), await buildConfigDrive(structuredClone(drive)));
  const large = "x".repeat(1_000_000);
  const image = gunzipSync(Buffer.from(await buildConfigDrive({ user_data: large }), "base64"));
  assert.ok(image.length < 1_100_000); // three files, one content
});

test("JSON text, also in its parts, and objects as user data are taken as Ironic takes them", async () => {
  const text = JSON.stringify({ meta_data: JSON.stringify({ a: 1 }), user_data: { cloud: ["x"] } });
  const directory = extract(unpack(await buildConfigDrive(text, { uuid: "u", name: "n" })), "rockridge");
  const read = (name: string): unknown => JSON.parse(readFileSync(join(directory, "openstack/latest", name), "utf8"));
  assert.deepEqual(read("meta_data.json"), { uuid: "u", name: "n", a: 1 });
  assert.deepEqual(read("user_data"), { cloud: ["x"] });
  assert.deepEqual(readdirSync(join(directory, "openstack/latest")).sort(), ["meta_data.json", "user_data"]);
});

test("what is in the agent's form already passes through, line breaks removed", async () => {
  const made64 = await buildConfigDrive(drive);
  assert.equal(await buildConfigDrive(`${made64.replaceAll(/(.{76})/g, "$1\n")}\n`), made64);
});

test("what would be taken passes the check beforehand, a URL unseen", async () => {
  checkConfigDrive(JSON.stringify(drive));
  checkConfigDrive(await buildConfigDrive(drive));
  checkConfigDrive("https://site.example.org/drive");
});

test("a URL is fetched", async () => {
  const made64 = await buildConfigDrive(drive);
  const server = createServer((request, response) => {
    if (request.url === "/drive?token=hush") response.end(made64);
    else response.writeHead(404).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    assert.equal(await buildConfigDrive(`${url}/drive?token=hush`), made64);
    await assert.rejects(
      buildConfigDrive(`${url}/none?token=hush`),
      (error: Fault) => error.kind === "invalid" && !error.message.includes("hush"),
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
  await assert.rejects(
    buildConfigDrive(`${url}/drive`),
    (error: Fault) => error.kind === "unreachable" && error.detail["field"] === "configdrive",
  );
});

const gz = (content: Uint8Array): string => gzipSync(content).toString("base64");
const bad: readonly (readonly [string, Json, string])[] = [
  ["a number", 5, "configdrive"],
  ["nothing", "", "configdrive"],
  ["a list", [], "configdrive"],
  ["JSON that ends early", '{"meta_data": ', "configdrive"],
  ["an unknown part", { metadata: {} }, "configdrive.metadata"],
  ["meta data that is no object", { meta_data: [1] }, "configdrive.meta_data"],
  ["meta data that is no JSON", { meta_data: "x" }, "configdrive.meta_data"],
  ["user data that is a number", { user_data: 7 }, "configdrive.user_data"],
  ["text that is not base64", "not base64!", "configdrive"],
  ["base64 that is not gzip", Buffer.from("plain text").toString("base64"), "configdrive"],
  ["gzip that is cut", gz(Buffer.alloc(100_000, 1)).slice(0, 40), "configdrive"],
  ["gzip of something else", gz(Buffer.alloc(100_000)), "configdrive"],
  ["a small file that unpacks to more than 64 MiB", gz(Buffer.alloc(65 * 1024 * 1024)), "configdrive"],
];
for (const [title, value, field] of bad) {
  test(`refused, naming ${field}: ${title}`, async () => {
    if (typeof value === "string")
      assert.throws(
        () => checkConfigDrive(value),
        (error: Fault) => error.detail["field"] === field,
      );
    await assert.rejects(
      buildConfigDrive(value),
      (error: Fault) => error.kind === "invalid" && error.detail["field"] === field,
    );
  });
}

test("an image with many directories, long and colliding names is read back as it was written", () => {
  const files: IsoFile[] = [];
  for (let directory = 0; directory < 40; directory += 1) {
    for (let file = 0; file < 30; file += 1) {
      const name = `a-rather-long-name-that-collides.${"x".repeat(file % 7)}${file}.json`;
      files.push({
        path: `dir-with-a-long-name-${directory}/sub.${directory % 3}/${name}`,
        content: Buffer.alloc(file * 311, directory * 31 + file),
      });
    }
  }
  files.push({ path: "empty", content: new Uint8Array() }, { path: "README", content: Buffer.from("r") });
  const path = write(encodeIso9660({ label: "config-2", files, date: new Date("2026-03-04T05:06:07Z") }));
  const listed = isoinfo(path, "-f").trim().split("\n");
  assert.equal(new Set(listed).size, listed.length);
  assert.ok(
    listed.every((name) => name.split("/").every((part) => /^[A-Z0-9_]{0,8}(\.[A-Z0-9_]{0,3};1)?$/.test(part))),
  );
  for (const names of ["rockridge", "joliet"] as const) {
    const directory = extract(path, names);
    for (const file of files)
      assert.ok(readFileSync(join(directory, file.path)).equals(Buffer.from(file.content)), file.path);
    assert.equal(
      readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length,
      files.length,
    );
  }
});

test("paths that an ISO cannot hold, and two files of one name, are refused", () => {
  const date = new Date(0);
  for (const path of ["", "a//b", "../a", "a b", "é", "x".repeat(65)]) {
    assert.throws(
      () => encodeIso9660({ label: "l", date, files: [{ path, content: new Uint8Array() }] }),
      (error: Fault) => error.kind === "invalid",
      path,
    );
  }
  assert.throws(
    () =>
      encodeIso9660({
        label: "l",
        date,
        files: [
          { path: "a", content: new Uint8Array() },
          { path: "a", content: new Uint8Array() },
        ],
      }),
    /twice/,
  );
});

test("without a part there is no file for it, but always meta data", () => {
  assert.deepEqual(
    configDriveFiles({}).map((file) => file.path),
    ["openstack/2012-08-10/meta_data.json", "openstack/latest/meta_data.json", "ec2/latest/meta-data.json"],
  );
});
