import { Fault } from "../core/fault.ts";

/** Cuts a byte stream into its lines (LF, an optional CR before it dropped); holds at most one unfinished line of `limit` bytes. */
export class LineSplitter {
  readonly #limit: number;
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `chunk` completes, as UTF-8 text. @throws Fault malformed when a line exceeds the limit */
  push(chunk: Uint8Array): readonly string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      lines.push(this.#line(chunk.subarray(start, end)));
      start = end + 1;
    }
    if (start < chunk.length) this.#hold(chunk.subarray(start));
    return lines;
  }

  #hold(part: Uint8Array): void {
    this.#held += part.length;
    if (this.#held > this.#limit) throw new Fault("malformed", "line.long", `a line exceeds ${this.#limit} bytes`);
    // Buffer.slice would share the memory.
    this.#parts.push(Uint8Array.from(part));
  }

  #line(last: Uint8Array): string {
    this.#hold(last);
    const text = Buffer.concat(this.#parts).toString("utf8");
    this.#parts = [];
    this.#held = 0;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  }
}
