/**
 * `npm run bench -- NAME [--only WORD]… [--rounds N] [--json]`: peers and ironrack in one run; a line a case with --json, else
 * a table. Details of each measurement go to stderr. Root, namespaces of its own.
 */
import { parseArgs } from "node:util";
import { type Comparison, comparisonTable, type Report } from "./comparison.ts";
import { benchDhcp } from "./dhcp.ts";
import { benchHttp } from "./http.ts";
import { benchIscsi } from "./iscsi.ts";
import { benchStorm } from "./storm.ts";
import { benchTftp } from "./tftp.ts";

const benches: readonly {
  readonly name: string;
  readonly run: (report: Report, only: readonly string[], rounds: number) => Promise<void>;
}[] = [
  { name: "dhcp", run: benchDhcp },
  { name: "tftp", run: benchTftp },
  { name: "http", run: benchHttp },
  { name: "storm", run: benchStorm },
  { name: "iscsi", run: benchIscsi },
];

const NAMES = benches.map((each) => each.name).join("|");
const USAGE = `usage: npm run bench -- ${NAMES} [--only WORD]... [--rounds N] [--json]

  --only WORD   only cases with this word in their names; words after the name choose peers and cases too
  --rounds N    how often each side of a case of iscsi runs; the middle one counts (default 3)
  --json        a line a case: {name, ours, peer, unit, ratio, cpu_ratio, goal, ok}; else a table at the end
`;

function wanted() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        only: { type: "string", multiple: true, default: [] },
        rounds: { type: "string", default: "3" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n`);
    return undefined;
  }
}

const { values, positionals } = wanted() ?? { values: undefined, positionals: [] };
const [name, ...words] = positionals;
const bench = benches.find((each) => each.name === name);
const rounds = Number(values?.rounds);
if (values?.help === true) {
  process.stdout.write(USAGE);
} else if (values === undefined || bench === undefined || !Number.isInteger(rounds) || rounds < 1) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  const lines: Comparison[] = [];
  const report: Report = (line) => {
    lines.push(line);
    if (values.json) process.stdout.write(`${JSON.stringify(line)}\n`);
  };
  await bench.run(report, [...values.only, ...words], rounds);
  if (!values.json) process.stdout.write(comparisonTable(lines));
}
