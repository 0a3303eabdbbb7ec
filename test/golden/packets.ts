import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

// build/test/golden → the sources' test/golden
const directory = resolve(import.meta.dirname, "../../../test/golden");

/** The recorded packets of a protocol, by the names of their files. */
export function goldenPackets(protocol: "dhcp4" | "dhcp6" | "tftp"): ReadonlyMap<string, Uint8Array> {
  const names = readdirSync(join(directory, protocol)).filter((name) => name.endsWith(".hex"));
  return new Map(names.map((name) => [name, packetOf(readFileSync(join(directory, protocol, name), "utf8"))]));
}

/** Lines of hex; those with `#` tell where the packet is from. */
function packetOf(text: string): Uint8Array {
  const lines = text.split("\n").filter((line) => !line.startsWith("#"));
  return Uint8Array.from(Buffer.from(lines.join("").replaceAll(" ", ""), "hex"));
}
