import type { JsonObject } from "../../src/core/json.ts";
import {
  applyEvent,
  clockText,
  newNodeProgress,
  type NodeProgress,
  progressLine,
  streamText,
} from "./node-progress.ts";
import type { Firmware } from "./qemu-arguments.ts";

/** Where the view goes: a terminal is redrawn, anything else gets a line for every change. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const REDRAW_EVERY_MS = 250;
/** Of an image, on a screen that is not redrawn. */
const REPORT_EVERY_PERCENT = 20;

/** The live view: a line per node. */
export class ProgressView implements Disposable {
  readonly #screen: Screen;
  readonly #now: () => number;
  readonly #nodes = new Map<string, NodeProgress>();
  readonly #reported = new Map<string, number>();
  readonly #timer: NodeJS.Timeout | undefined;
  #drawn = 0;

  /** `now` is the demonstration's clock in seconds. */
  constructor(
    screen: Screen,
    now: () => number,
    nodes: readonly { readonly name: string; readonly firmware: Firmware }[],
  ) {
    this.#screen = screen;
    this.#now = now;
    for (const { name, firmware } of nodes) this.#nodes.set(name, newNodeProgress(name, firmware));
    if (screen.isTTY === true) this.#timer = setInterval(() => this.#redraw(), REDRAW_EVERY_MS);
  }

  event(event: JsonObject): void {
    const name = event["name"];
    const before = typeof name === "string" ? this.#nodes.get(name) : undefined;
    if (before === undefined) return;
    const after = applyEvent(before, event);
    this.#nodes.set(before.name, after);
    if (after.state !== before.state) this.#plain(after, `is ${after.state}`);
    if (after.step !== before.step && after.step !== "") this.#plain(after, `step ${after.step}`);
    if (after.stream !== undefined) this.#reportStream(after);
    else this.#reported.delete(after.name);
  }

  stage(name: string, stage: string, ended?: "done" | "failed"): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    const after: NodeProgress = { ...node, stage, since: this.#now(), stream: undefined, step: "", ended };
    this.#nodes.set(name, after);
    this.#plain(after, ended === undefined ? `begins ${stage}` : stage);
  }

  /** A line that stays, above the live ones. */
  note(text: string): void {
    this.#erase();
    this.#screen.write(`${clockText(this.#now()).padStart(6)}  ${text}\n`);
    this.#redraw();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#redraw();
    this.#drawn = 0;
  }

  #plain(node: NodeProgress, text: string): void {
    if (this.#screen.isTTY !== true) this.note(`${node.name}: ${text}`);
  }

  #reportStream(node: NodeProgress): void {
    const { stream, name } = node;
    if (stream === undefined || stream.total === 0) return;
    const percent = Math.floor((stream.bytes / stream.total) * 100);
    const due = (this.#reported.get(name) ?? -REPORT_EVERY_PERCENT) + REPORT_EVERY_PERCENT;
    if (percent < due) return;
    this.#reported.set(name, percent - (percent % REPORT_EVERY_PERCENT));
    this.#plain(node, streamText(stream));
  }

  #erase(): void {
    if (this.#drawn > 0) this.#screen.write(`\u001b[${this.#drawn}A\u001b[J`);
    this.#drawn = 0;
  }

  #redraw(): void {
    if (this.#screen.isTTY !== true) return;
    this.#erase();
    const width = (this.#screen.columns ?? 80) - 1;
    const lines = [...this.#nodes.values()].map((node) => progressLine(node, this.#now(), width));
    this.#screen.write(lines.map((line) => `${line}\n`).join(""));
    this.#drawn = lines.length;
  }
}
