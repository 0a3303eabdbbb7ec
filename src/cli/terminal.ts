/** Where the CLI writes. `width` is undefined where the output is no terminal: then nothing is cut and nothing is redrawn. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  readonly outWidth: number | undefined;
  readonly errWidth: number | undefined;
}

export const processTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  get outWidth() {
    return process.stdout.isTTY ? widthOf(process.stdout.columns) : undefined;
  },
  get errWidth() {
    return process.stderr.isTTY ? widthOf(process.stderr.columns) : undefined;
  },
};

/** A serial console says that it has 0 columns. */
function widthOf(columns: number | undefined): number {
  return columns === undefined || columns < 20 ? 80 : columns;
}
