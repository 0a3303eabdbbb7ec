import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { BootLab, SERVER, SERVER_PORT_HTTP } from "./boot-lab.ts";

const URL = `http://${SERVER}:${SERVER_PORT_HTTP}`;
const MAC = "52:54:00:79:00:01";

async function openLab(): Promise<BootLab> {
  return await BootLab.open({ nodes: [{ mac: MAC, bootTarget: "ramdisk" }] }, [
    "ip -n site addr add 10.79.0.9/24 dev eth0",
  ]);
}

async function curl(lab: BootLab, ...argv: readonly string[]): Promise<string> {
  return (await lab.client(["curl", "-sS", "-m", "20", ...argv])).stdout;
}

test("GET gives the file whole, with length, type and validators", async () => {
  await using lab = await openLab();
  const initrd = join(lab.directory, "initrd");
  const headers = await curl(lab, "-D", "-", "-o", join(lab.directory, "got"), `${URL}/ramdisk/initrd`);
  assert.deepEqual(readFileSync(join(lab.directory, "got")), readFileSync(initrd));
  assert.match(headers, /^HTTP\/1\.1 200 OK/);
  assert.match(headers, new RegExp(`content-length: ${statSync(initrd).size}\r`, "i"));
  assert.match(headers, /content-type: application\/octet-stream/i);
  assert.match(headers, /etag: "[^"]+"/i);
  assert.match(headers, /accept-ranges: bytes/i);
  const loader = await curl(lab, "-I", `${URL}/loader/snponly.efi`);
  assert.match(loader, /content-type: application\/efi/i);
  assert.match(loader, new RegExp(`content-length: ${statSync("/usr/lib/ipxe/snponly.efi").size}\r`, "i"));
});

test("curl goes on where it stopped, and asks for parts", async () => {
  await using lab = await openLab();
  const initrd = readFileSync(join(lab.directory, "initrd"));
  const got = join(lab.directory, "got");
  writeFileSync(got, initrd.subarray(0, 1_000_001));
  await curl(lab, "-C", "-", "-o", got, `${URL}/ramdisk/initrd`);
  assert.deepEqual(readFileSync(got), initrd);
  assert.equal(await curl(lab, "-r", "2-6", `${URL}/ramdisk/kernel`), "kerne");
  assert.equal(await curl(lab, "-r", "-5", `${URL}/ramdisk/kernel`), "words");
  assert.equal(await curl(lab, "-r", "13-", `${URL}/ramdisk/kernel`), "ew words");
  assert.match(
    await curl(lab, "-D", "-", "-o", "/dev/null", "-r", "2-6", `${URL}/ramdisk/kernel`),
    /206 Partial Content[\s\S]*content-range: bytes 2-6\/21\r/i,
  );
  assert.match(
    await curl(lab, "-D", "-", "-o", "/dev/null", "-r", "21-", `${URL}/ramdisk/kernel`),
    /416[\s\S]*content-range: bytes \*\/21\r/i,
  );
});

test("who has the file already is told so — RFC 9110 §13", async () => {
  await using lab = await openLab();
  const etag = /etag: ("[^"]+")/i.exec(await curl(lab, "-I", `${URL}/ramdisk/kernel`))?.[1] ?? "";
  const status = ["-o", "/dev/null", "-w", "%{http_code}"];
  assert.equal(await curl(lab, ...status, "-H", `If-None-Match: ${etag}`, `${URL}/ramdisk/kernel`), "304");
  assert.equal(await curl(lab, ...status, "-z", join(lab.directory, "kernel"), `${URL}/ramdisk/kernel`), "304");
  assert.equal(await curl(lab, ...status, "-H", 'If-Match: "other"', `${URL}/ramdisk/kernel`), "412");
  assert.equal(await curl(lab, ...status, "-H", 'If-Range: "other"', "-r", "2-6", `${URL}/ramdisk/kernel`), "200");
  assert.equal(await curl(lab, ...status, "-H", `If-Range: ${etag}`, "-r", "2-6", `${URL}/ramdisk/kernel`), "206");
  writeFileSync(join(lab.directory, "kernel"), "another kernel now");
  assert.equal(await curl(lab, ...status, "-H", `If-None-Match: ${etag}`, `${URL}/ramdisk/kernel`), "200");
});

test("one connection serves several requests", async () => {
  await using lab = await openLab();
  const connects = await curl(
    lab,
    "-o",
    "/dev/null",
    "-o",
    "/dev/null",
    "-o",
    "/dev/null",
    "-w",
    "%{num_connects} ",
    `${URL}/ramdisk/kernel`,
    `${URL}/ramdisk/initrd`,
    `${URL}/boot.ipxe`,
  );
  assert.equal(connects.trim(), "1 0 0");
});

test("a machine's script follows its node, and the entry script tries every NIC", async () => {
  await using lab = await openLab();
  const script = await curl(lab, `${URL}/boot/52-54-00-79-00-01.ipxe`);
  assert.match(script, /^#!ipxe\n/);
  assert.match(
    script,
    new RegExp(
      `^kernel ${URL}/ramdisk/kernel initrd=initrd ipa-api-url=http://${SERVER}:6385 ipa-debug=0 BOOTIF=01-52-54-00-79-00-01 console=ttyS0,115200n8 \\|\\| goto again$`,
      "m",
    ),
  );
  assert.match(script, new RegExp(`^initrd --name initrd ${URL}/ramdisk/initrd \\|\\| goto again$`, "m"));
  const stranger = await curl(lab, `${URL}/boot/52:54:00:79:00:ff.ipxe`);
  assert.match(stranger, /sanboot --no-describe --drive 0x80/);
  assert.doesNotMatch(stranger, /^kernel/m);
  assert.match(
    await curl(lab, `${URL}/boot.ipxe`),
    new RegExp(`^chain --autofree ${URL}/boot/\\$\\{mac:hexhyp\\}\\.ipxe \\|\\| goto try_net0$`, "m"),
  );
});

test("nothing else is served: methods, paths and traversal are refused", async () => {
  await using lab = await openLab();
  const status = ["-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"];
  for (const [path, expected] of [
    ["/", "404"],
    ["/ramdisk/", "404"],
    ["/loader/", "404"],
    ["/loader/../../../etc/passwd", "404"],
    ["/loader/%2e%2e/%2e%2e/etc/passwd", "404"],
    ["/loader//etc/passwd", "404"],
    ["/%", "400"],
    ["/%00", "400"],
    ["/boot/xx.ipxe", "404"],
    ["/ramdisk/kernel?x=1", "200"],
  ] as const) {
    assert.equal(await curl(lab, ...status, `${URL}${path}`), expected, path);
  }
  assert.equal(await curl(lab, ...status, "-X", "POST", "-d", "x=1", `${URL}/ramdisk/kernel`), "405");
  assert.match(
    await curl(lab, "-D", "-", "-o", "/dev/null", "-X", "DELETE", `${URL}/ramdisk/kernel`),
    /^HTTP\/1\.1 405[\s\S]*allow: GET, HEAD/i,
  );
});
