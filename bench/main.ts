/**
 * `npm run bench -- NAME [--only WORD]… [--rounds N] [--json]`: peers and ironrack in one run, one line a case with --json;
 * root, namespaces of its own.
 */
import { parseArgs } from "node:util";
import type { Json } from "../src/core/json.ts";
import { benchDhcp } from "./dhcp.ts";
import { benchHttp } from "./http.ts";
import { benchIscsi } from "./iscsi.ts";
import { benchStorm } from "./storm.ts";
import { benchTftp } from "./tftp.ts";

const benches: readonly {
  readonly name: string;
  readonly run: (only: readonly string[], rounds: number) => Promise<Json>;
}[] = [
  { name: "dhcp", run: benchDhcp },
  { name: "tftp", run: benchTftp },
  { name: "http", run: benchHttp },
  { name: "storm", run: benchStorm },
  { name: "iscsi", run: benchIscsi },
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const [name, ...words] = positionals;
const bench = benches.find((each) => each.name === name);
if (bench === undefined) {
  process.stderr.write(
    `usage: npm run bench -- ${benches.map((each) => each.name).join("|")} [--only WORD]... [--rounds N] [--json]\n`,
  );
  process.exitCode = 2;
} else {
  const results = await bench.run([...values.only, ...words], Number(values.rounds));
  process.stdout.write(`${JSON.stringify({ bench: bench.name, results }, null, values.json ? 0 : 2)}\n`);
}
