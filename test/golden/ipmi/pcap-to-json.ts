import { readFileSync, writeFileSync } from "node:fs";

/*
 * Turns a capture of `tcpdump -i lo -w` into the golden file's JSON: node pcap-to-json.js capture.pcap out.json port '{"title":…}'
 * Little-endian pcap with Ethernet frames, IPv4 without options, UDP: what tcpdump writes for the loopback device.
 */
const [, , source = "", target = "", port = "", about = "{}"] = process.argv;
const capture = readFileSync(source);
if (capture.readUInt32LE(0) !== 0xa1b2c3d4 || capture.readUInt32LE(20) !== 1)
  throw new Error(`${source} is not a little-endian Ethernet pcap`);
const packets: { from: "console" | "bmc"; hex: string }[] = [];
for (let at = 24; at < capture.length; ) {
  const length = capture.readUInt32LE(at + 8);
  const frame = capture.subarray(at + 16, at + 16 + length);
  at += 16 + length;
  const udp = frame.subarray(14 + 20);
  const toBmc = udp.readUInt16BE(2) === Number(port);
  packets.push({ from: toBmc ? "console" : "bmc", hex: udp.subarray(8, udp.readUInt16BE(4)).toString("hex") });
}
writeFileSync(target, `${JSON.stringify({ ...(JSON.parse(about) as object), packets }, undefined, 1)}\n`);
console.log(`${target}: ${packets.length} packets`);
