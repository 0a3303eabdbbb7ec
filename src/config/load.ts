import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Fault } from "../core/fault.ts";
import { type Config, configName } from "./config.ts";
import { type Field, FieldError, FieldErrors } from "./field.ts";
import { relations } from "./relations.ts";
import { SecretFile, UnreachableSecretError } from "./secret-file.ts";
import { nearest } from "./suggestion.ts";
import { configTable } from "./table.ts";
import { parseToml, type Place, TomlError, type TomlEntry } from "./toml.ts";

/** Something wrong in the configuration; `key` is `section.key`, or empty when the whole file is concerned. */
export interface ConfigProblem {
  readonly at: Place;
  readonly key: string;
  readonly message: string;
}

export interface ConfigOptions {
  /** $CREDENTIALS_DIRECTORY of systemd, where secrets named without a path are. */
  readonly credentialsDirectory?: string | undefined;
  /** optional (the default): a secret that this process cannot get at is null; only the daemon needs them. */
  readonly secrets?: "needed" | "optional";
}

/** The configuration is wrong; the message has one line for each problem. */
export class ConfigFault extends Fault {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    super("invalid", "config.invalid", problems.map(problemLine).join("\n"));
    this.problems = problems;
  }
}

/** `appliance.conf:LINE:COL: section.key: message` */
export function problemLine({ at, key, message }: ConfigProblem): string {
  return `${at.file}:${at.line}:${at.column}: ${key === "" ? "" : `${key}: `}${message}`;
}

/**
 * Reads appliance.conf and then, in the order of their names, the files `conf.d/*.conf` beside it; a later file replaces
 * single keys, also of tables within a section, and adds to arrays of tables. @throws ConfigFault with every problem at once
 */
export function loadConfig(path: string, options: ConfigOptions = {}): Config {
  const { config, problems } = checkConfig(path, options);
  if (config === undefined) throw new ConfigFault(problems);
  return config;
}

/** As loadConfig, for those who want to show the problems: exactly when there is one, there is no config. */
export function checkConfig(
  path: string,
  options: ConfigOptions = {},
): { readonly config: Config | undefined; readonly problems: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const merged = new Map<string, Map<string, TomlEntry>>();
  for (const file of [path, ...includedFiles(path)]) {
    for (const [name, entry] of readFile(file, problems)) mergeSection(merged, name, entry, problems);
  }
  const config = readSections(basename(path), merged, options, problems);
  // What a file that could not be read would have given is not called missing.
  const unread = problems.filter((problem) => problem.key === "");
  if (unread.length > 0) return { config: undefined, problems: unread };
  if (problems.length === 0) problems.push(...relations(config as unknown as Config, placeIn(basename(path), merged)));
  problems.sort((a, b) => a.at.file.localeCompare(b.at.file) || a.at.line - b.at.line || a.at.column - b.at.column);
  return { config: problems.length === 0 ? (deepFreeze(config) as unknown as Config) : undefined, problems };
}

function includedFiles(path: string): readonly string[] {
  const directory = join(dirname(path), "conf.d");
  try {
    const names = readdirSync(directory).filter((name) => name.endsWith(".conf"));
    return names.sort().map((name) => join(directory, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new Fault("storage", "config.unreadable", `${directory} cannot be read`, { cause: error });
  }
}

function readFile(path: string, problems: ConfigProblem[]): Map<string, TomlEntry> {
  const file = basename(path);
  try {
    return parseToml(file, readFileSync(path, "utf8"));
  } catch (error) {
    if (error instanceof TomlError) problems.push({ at: error.at, key: "", message: error.message });
    else if (error instanceof Error && "code" in error) {
      problems.push({
        at: { file, line: 1, column: 1 },
        key: "",
        message: `${path} cannot be read: ${String(error.code)}`,
      });
    } else throw error;
    return new Map();
  }
}

function mergeSection(
  merged: Map<string, Map<string, TomlEntry>>,
  name: string,
  entry: TomlEntry,
  problems: ConfigProblem[],
): void {
  const sections = Object.keys(configTable);
  if (!sections.includes(name)) {
    const what =
      entry.value.kind === "table" ? `unknown section [${name}]` : `unknown key "${name}" outside of a section`;
    problems.push({ at: entry.at, key: name, message: `${what}${nearest(name, sections)}` });
    return;
  }
  if (entry.value.kind !== "table") {
    problems.push({ at: entry.at, key: name, message: `is a section: write [${name}]` });
    return;
  }
  const section = merged.get(name) ?? new Map<string, TomlEntry>();
  merged.set(name, section);
  for (const [key, found] of entry.value.entries) {
    const present = section.get(key)?.value;
    if (
      present?.kind === "array" &&
      found.value.kind === "array" &&
      found.value.values.some((value) => value.kind === "table")
    ) {
      present.values.push(...found.value.values);
    } else if (present?.kind === "table" && found.value.kind === "table") {
      for (const [name, inner] of found.value.entries) present.entries.set(name, inner);
    } else section.set(key, found);
  }
}

function readSections(
  file: string,
  merged: Map<string, Map<string, TomlEntry>>,
  options: ConfigOptions,
  problems: ConfigProblem[],
): Record<string, Record<string, unknown>> {
  const config: Record<string, Record<string, unknown>> = {};
  for (const [name, { fields }] of Object.entries(configTable)) {
    const entries = merged.get(name) ?? new Map<string, TomlEntry>();
    for (const [key, entry] of entries) {
      if (Object.hasOwn(fields, key)) continue;
      problems.push({
        at: entry.at,
        key: `${name}.${key}`,
        message: `unknown key${nearest(key, Object.keys(fields))}`,
      });
    }
    const section: Record<string, unknown> = {};
    for (const [key, field] of Object.entries<Field<unknown>>(fields)) {
      const value = readField(file, `${name}.${key}`, field, entries.get(key), options, problems);
      section[configName(key, field.secret)] = value;
    }
    config[name] = section;
  }
  return config;
}

function readField(
  file: string,
  key: string,
  field: Field<unknown>,
  entry: TomlEntry | undefined,
  options: ConfigOptions,
  problems: ConfigProblem[],
): unknown {
  if (entry === undefined) {
    if (field.written === null)
      problems.push({ at: { file, line: 1, column: 1 }, key, message: `is missing: ${field.sentence}` });
    return field.fallback;
  }
  try {
    const value = field.parse(entry.value);
    return value instanceof SecretFile ? value.read(options.credentialsDirectory) : value;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if (error instanceof UnreachableSecretError && options.secrets !== "needed") return null;
    for (const one of error instanceof FieldErrors ? error.errors : [error]) {
      if (!(one instanceof FieldError)) problems.push({ at: entry.value.at, key, message: one.message });
      else problems.push({ at: one.at, key: one.within === null ? key : `${key}.${one.within}`, message: one.message });
    }
    return undefined;
  }
}

function placeIn(file: string, merged: ReadonlyMap<string, ReadonlyMap<string, TomlEntry>>): (key: string) => Place {
  return (key) => {
    const [section = "", name = ""] = key.split(".");
    return merged.get(section)?.get(name)?.value.at ?? { file, line: 1, column: 1 };
  };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
