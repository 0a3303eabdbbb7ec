import { destination, pino, stdTimeFunctions, type DestinationStream } from "pino";
import type { LogEvent } from "./log-events.ts";
import type { Json } from "./json.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Fields of one line. Values, never prose; never a secret. */
export interface LogFields {
  readonly node?: string | undefined;
  readonly port?: string | undefined;
  readonly mac?: string | undefined;
  readonly xid?: string | undefined;
  readonly peer?: string | undefined;
  readonly driver?: string | undefined;
  readonly interface?: string | undefined;
  readonly step?: string | undefined;
  readonly state?: string | undefined;
  readonly operation?: string | undefined;
  readonly attempt?: number | undefined;
  readonly elapsed_ms?: number | undefined;
  readonly code?: string | number | undefined;
  readonly reason?: string | undefined;
  readonly [field: string]: Json | undefined;
}

/** One JSON line per fact. */
export interface Log {
  debug(event: LogEvent, fields?: LogFields): void;
  info(event: LogEvent, fields?: LogFields): void;
  warn(event: LogEvent, fields?: LogFields): void;
  error(event: LogEvent, fields?: LogFields, error?: unknown): void;
  /** The same log with fields that stand in every line. */
  with(fields: LogFields): Log;
}

/** A log that writes to `stream`, or to stdout before the process turns to its next event; with `journal`, each line gets the <N> prefix of sd-daemon(3). */
export function openLog(options: {
  readonly level: LogLevel;
  readonly journal: boolean;
  readonly stream?: DestinationStream;
}): Log {
  const base = options.stream ?? turnStream(destination({ dest: 1, sync: true }));
  const stream = options.journal ? journalStream(base) : base;
  return wrap(
    pino(
      {
        level: options.level,
        base: null,
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      stream,
    ),
  );
}

/**
 * Lines of one turn of the event loop go out in one write; an error's line at once, with all before it. The end of the
 * process, also by an error that nobody caught, writes what is left.
 */
function turnStream(base: DestinationStream): DestinationStream {
  let lines = "";
  const flush = (): void => {
    const text = lines;
    lines = "";
    if (text !== "") base.write(text);
  };
  process.on("exit", flush);
  return {
    write: (line) => {
      if (lines === "") setImmediate(flush);
      lines += line;
      if (ERROR_LINE.test(line)) flush();
    },
  };
}

const ERROR_LINE = /^(<3>)?\{"level":"error"/;

const SYSLOG: Readonly<Record<string, string>> = { debug: "<7>", info: "<6>", warn: "<4>", error: "<3>" };

function journalStream(base: DestinationStream): DestinationStream {
  return {
    write: (line) => {
      const level = /^\{"level":"(\w+)"/.exec(line)?.[1] ?? "info";
      base.write(`${SYSLOG[level] ?? "<6>"}${line}`);
    },
  };
}

function wrap(logger: import("pino").Logger): Log {
  return {
    debug: (event, fields) => logger.debug({ event, ...fields }),
    info: (event, fields) => logger.info({ event, ...fields }),
    warn: (event, fields) => logger.warn({ event, ...fields }),
    error: (event, fields, error) =>
      logger.error({ event, ...fields, ...(error instanceof Error ? { stack: error.stack ?? String(error) } : {}) }),
    with: (fields) => wrap(logger.child(fields)),
  };
}

/** A log that keeps nothing; for tests that do not look. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silentLog };
