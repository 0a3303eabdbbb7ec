import type { Firmware } from "./qemu-arguments.ts";

export interface StageReport {
  readonly stage: string;
  readonly seconds: number;
}

/** What became of one node. */
export interface NodeReport {
  readonly node: string;
  readonly firmware: Firmware;
  readonly stages: readonly StageReport[];
  /** Of the image, as the rack reported them; null when it did not come so far. */
  readonly bytes: number | null;
  readonly mbPerSecond: number | null;
  readonly failure: { readonly stage: string; readonly reason: string } | null;
}

export interface DemoReport {
  readonly ok: boolean;
  readonly nodes: readonly NodeReport[];
  readonly seconds: number;
}

/** The last line of `--json`. */
export function reportJson(report: DemoReport): string {
  return JSON.stringify({
    ok: report.ok,
    nodes: report.nodes.map((node) => ({
      node: node.node,
      firmware: node.firmware,
      stages: node.stages,
      bytes: node.bytes,
      mb_s: node.mbPerSecond,
      ...(node.failure === null ? {} : { failed: node.failure }),
    })),
    seconds: report.seconds,
  });
}

/** The closing table: a row per stage of each node. */
export function reportTable(report: DemoReport): string {
  const rows = report.nodes.flatMap((node) => [
    ...node.stages.map(({ stage, seconds }) => [
      node.node,
      node.firmware,
      stage,
      seconds.toFixed(1),
      stage === "deploy" && node.bytes !== null ? String(node.bytes) : "",
      stage === "deploy" && node.mbPerSecond !== null ? node.mbPerSecond.toFixed(0) : "",
    ]),
    ...(node.failure === null ? [] : [[node.node, node.firmware, `${node.failure.stage} FAILED`, "", "", ""]]),
  ]);
  return table(["node", "firmware", "stage", "seconds", "bytes", "MB/s"], rows, 3);
}

/** Columns from `numbers` on are set right. */
function table(head: readonly string[], rows: readonly (readonly string[])[], numbers: number): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column < numbers ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd();
  return [head, widths.map((width) => "-".repeat(width)), ...rows].map(line).join("\n");
}
