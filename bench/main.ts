/** `npm run bench -- NAME [WORD…] --json`: peers and ironrack in one run; root, namespaces of its own. */
import type { Json } from "../src/core/json.ts";
import { benchDhcp } from "./dhcp.ts";
import { benchHttp } from "./http.ts";
import { benchIscsi } from "./iscsi.ts";
import { benchStorm } from "./storm.ts";
import { benchTftp } from "./tftp.ts";

const benches: readonly { readonly name: string; readonly run: (only: readonly string[]) => Promise<Json> }[] = [
  { name: "dhcp", run: benchDhcp },
  { name: "tftp", run: benchTftp },
  { name: "http", run: benchHttp },
  { name: "storm", run: benchStorm },
  { name: "iscsi", run: benchIscsi },
];

const words = process.argv.slice(2).filter((word) => word !== "--json");
const bench = benches.find(({ name }) => name === words[0]);
if (bench === undefined) {
  process.stderr.write(`usage: npm run bench -- ${benches.map(({ name }) => name).join("|")} [WORD...] [--json]\n`);
  process.exitCode = 2;
} else {
  process.stdout.write(
    `${JSON.stringify({ bench: bench.name, results: await bench.run(words.slice(1)) }, null, process.argv.includes("--json") ? 0 : 2)}\n`,
  );
}
