import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { ByteReader } from "../../src/core/byte-reader.ts";
import type { BootLab } from "../peer/boot-lab.ts";

/** Of the recorded client, for the file's provenance. */
export function packageVersion(name: string): string {
  return `${name} ${execFileSync("dpkg-query", ["-W", "-f", "${Version}", name], { encoding: "utf8" })}`;
}

/** Of a client that is unpacked and not installed: what apt-get gives now. */
export function unpackedVersion(name: string): string {
  const told = execFileSync("apt-cache", ["show", "--no-all-versions", name], { encoding: "utf8" });
  return `${name} ${/^Version: (.*)$/m.exec(told)?.[1]}`;
}

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const UDP = 17;

/** A client that is recorded. */
export interface Client {
  readonly name: string;
  /** Package and version. */
  readonly client: () => string;
  readonly how: string;
}

/** The UDP payloads to this port that crossed the lab's wire while `run` did. */
export async function captured(lab: BootLab, port: number, run: () => Promise<void>): Promise<readonly Uint8Array[]> {
  const pcap = join(lab.directory, "dump");
  const tcpdump = ["tcpdump", "-i", "br0", "-U", "--immediate-mode", "-w", pcap, `udp port ${port}`];
  const dump = lab.enclosure.spawn("rack", tcpdump);
  await lab.until(() => existsSync(pcap) && statSync(pcap).size > 0, "tcpdump");
  await run();
  await lab.wait(0.5);
  await dump.stop();
  return udpPayloads(readFileSync(pcap), port);
}

/** `what` is what the packet is, `file` its file's name without the ending. */
export function writeGolden(directory: string, file: string, what: string, from: Client, bytes: Uint8Array): void {
  const head = `# ${from.client()}; ${what}\n# ${from.how}\n`;
  writeFileSync(join(directory, `${file}.hex`), `${head}${hexLines(bytes)}\n`);
}

/** Records all clients, or the one that the command line names, into the directory that it names. */
export async function recordAll<C extends Client>(
  clients: readonly C[],
  directory: string,
  record: (client: C, directory: string) => Promise<Iterable<string>>,
): Promise<void> {
  const into = resolve(process.argv[2] ?? directory);
  const only = process.argv[3];
  for (const client of clients) {
    if (only !== undefined && only !== client.name) continue;
    const kept = await record(client, into);
    process.stdout.write(`${client.name}: ${[...kept].join(", ")}\n`);
  }
}

/** UDP payloads to this port in a pcap file of Ethernet frames. */
function udpPayloads(pcap: Uint8Array, port: number): readonly Uint8Array[] {
  const reader = new ByteReader(pcap);
  reader.skip("header", 24);
  const found: Uint8Array[] = [];
  while (reader.remaining > 0) {
    reader.skip("time", 8);
    const length = reader.u32LE("captured");
    reader.skip("original", 4);
    const frame = reader.sub("frame", length);
    frame.skip("addresses", 12);
    if (!passIpHeader(frame, frame.u16("type"))) continue;
    frame.skip("source", 2);
    if (frame.u16("destination") !== port) continue;
    const size = frame.u16("length") - 8;
    frame.skip("checksum", 2);
    found.push(frame.bytes("payload", size));
  }
  return found;
}

/** Whether UDP follows. */
function passIpHeader(frame: ByteReader, type: number): boolean {
  if (type === IPV4) {
    const header = (frame.u8("version") & 15) * 4;
    frame.skip("ip", 8);
    const isUdp = frame.u8("protocol") === UDP;
    frame.skip("ip", header - 10);
    return isUdp;
  }
  if (type !== IPV6) return false;
  frame.skip("ip", 6);
  const isUdp = frame.u8("next header") === UDP;
  frame.skip("ip", 33);
  return isUdp;
}

function hexLines(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    lines.push(
      Buffer.from(bytes.subarray(at, at + 16))
        .toString("hex")
        .replaceAll(/(..)(?=.)/g, "$1 "),
    );
  }
  return lines.join("\n");
}
