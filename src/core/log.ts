import { destination } from "pino";
import { presentInstant } from "./clock.ts";
import type { LogEvent } from "./log-events.ts";
import type { Json } from "./json.ts";
import { jsonMembers } from "./json-text.ts";

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

/** What takes whole lines; an urgent one must not wait. */
export interface LogStream {
  write(line: string, urgent: boolean): void;
}

const LEVELS: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 };

/**
 * A log that writes to `stream`, or to stdout before the process turns to its next event; with `journal`, each line gets the
 * <N> prefix of sd-daemon(3). The lines are made here and not by pino, whose line cost a fifth of a DHCP answer.
 */
export function openLog(options: {
  readonly level: LogLevel;
  readonly journal: boolean;
  readonly stream?: LogStream;
}): Log {
  const stream = options.stream ?? turnStream(destination({ dest: 1, sync: true }));
  return new LineLog({ stream, journal: options.journal, least: LEVELS[options.level], always: "" });
}

interface LineLogParts {
  readonly stream: LogStream;
  readonly journal: boolean;
  readonly least: number;
  /** Of every line: `,"key":value…`, or nothing. */
  readonly always: string;
}

class LineLog implements Log {
  readonly #parts: LineLogParts;

  constructor(parts: LineLogParts) {
    this.#parts = parts;
  }

  debug(event: LogEvent, fields?: LogFields): void {
    this.#line("debug", event, fields);
  }

  info(event: LogEvent, fields?: LogFields): void {
    this.#line("info", event, fields);
  }

  warn(event: LogEvent, fields?: LogFields): void {
    this.#line("warn", event, fields);
  }

  error(event: LogEvent, fields?: LogFields, error?: unknown): void {
    const stack = error instanceof Error ? { stack: error.stack ?? String(error) } : {};
    this.#line("error", event, { ...fields, ...stack });
  }

  with(fields: LogFields): Log {
    return new LineLog({ ...this.#parts, always: this.#parts.always + jsonMembers(fields) });
  }

  #line(level: LogLevel, event: LogEvent, fields: LogFields | undefined): void {
    const { stream, journal, least, always } = this.#parts;
    if (LEVELS[level] < least) return;
    const head = `{"level":"${level}","time":"${presentInstant()}"${always},"event":"${event}"`;
    const line = `${head}${fields === undefined ? "" : jsonMembers(fields)}}\n`;
    stream.write(journal ? SYSLOG[level] + line : line, level === "error");
  }
}

const SYSLOG: Readonly<Record<LogLevel, string>> = { debug: "<7>", info: "<6>", warn: "<4>", error: "<3>" };

/**
 * Lines of one turn of the event loop go out in one write; an error's line at once, with all before it. The end of the
 * process, also by an error that nobody caught, writes what is left.
 */
function turnStream(base: { write(text: string): void }): LogStream {
  let lines = "";
  const flush = (): void => {
    const text = lines;
    lines = "";
    if (text !== "") base.write(text);
  };
  process.on("exit", flush);
  return {
    write: (line, urgent) => {
      if (lines === "") setImmediate(flush);
      lines += line;
      if (urgent) flush();
    },
  };
}

/** A log that keeps nothing; for tests that do not look. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {}, with: () => silentLog };
