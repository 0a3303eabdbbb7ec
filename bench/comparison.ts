/** One case of a bench: ironrack beside a peer, both measured in the same run. Only the ratios mean something. */
export interface Comparison {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly unit: string;
  /** Ours to the peer's. */
  readonly ratio: number;
  /** Processor time for the same work, ours to the peer's; null where it was not measured. */
  readonly cpu_ratio: number | null;
  readonly goal: string;
  readonly ok: boolean;
}

export interface Figures {
  readonly value: number;
  readonly cpu?: number;
}

export interface Goal {
  /** The ratio at least, for what should be much. */
  readonly least?: number;
  /** The ratio at most, for what should be little. */
  readonly most?: number;
  /** Our own value at most, in its unit. */
  readonly bound?: number;
  readonly cpuMost?: number;
}

/** Takes a line as soon as its case is measured. */
export type Report = (line: Comparison) => void;

export function compare(name: string, unit: string, ours: Figures, peer: Figures, goal: Goal): Comparison {
  const ratio = ours.value / peer.value;
  const cpuRatio = ours.cpu === undefined || peer.cpu === undefined || peer.cpu === 0 ? null : ours.cpu / peer.cpu;
  const holds = [
    goal.least === undefined || ratio >= goal.least,
    goal.most === undefined || ratio <= goal.most,
    goal.bound === undefined || ours.value <= goal.bound,
    goal.cpuMost === undefined || (cpuRatio !== null && cpuRatio <= goal.cpuMost),
  ];
  return {
    name,
    ours: threeDigits(ours.value),
    peer: threeDigits(peer.value),
    unit,
    ratio: threeDigits(ratio),
    cpu_ratio: cpuRatio === null ? null : threeDigits(cpuRatio),
    goal: goalText(goal, unit),
    ok: holds.every(Boolean),
  };
}

/** `≥ 2.5, CPU ≤ 0.3` */
function goalText(goal: Goal, unit: string): string {
  const parts: string[] = [];
  if (goal.least !== undefined) parts.push(`≥ ${goal.least}`);
  if (goal.most !== undefined) parts.push(`≤ ${goal.most}`);
  if (goal.bound !== undefined) parts.push(`≤ ${goal.bound} ${unit}`);
  if (goal.cpuMost !== undefined) parts.push(`CPU ≤ ${goal.cpuMost}`);
  return parts.join(", ");
}

function threeDigits(value: number): number {
  return Number(value.toPrecision(3));
}

/** The table that is shown without --json. */
export function comparisonTable(lines: readonly Comparison[]): string {
  const rows = lines.map((line) => [
    line.name,
    `${line.ours}`,
    `${line.peer}`,
    line.unit,
    `${line.ratio}`,
    `${line.cpu_ratio ?? "-"}`,
    line.goal,
    line.ok ? "ok" : "MISSED",
  ]);
  const all = [["case", "ours", "peer", "unit", "ratio", "CPU ratio", "goal", ""], ...rows];
  const widths = all[0]?.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0))) ?? [];
  return all
    .map(
      (row) =>
        row
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd() + "\n",
    )
    .join("");
}
