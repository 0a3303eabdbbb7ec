import { Ajv } from "ajv";
import type { Static, TObject, TSchema } from "typebox";
import { Fault, invalid, toFault } from "../core/fault.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { CommandAnswer } from "../domain/command-record.ts";
import type { CommitOptions, Store, Transaction } from "../domain/store.ts";

/** Who may call: the site and the local socket are operators, the ramdisk's agents are `agent`. */
export type Role = "operator" | "agent";

export interface CommandContext {
  readonly signal: AbortSignal;
  readonly log: Log;
  /**
   * Commits a change and, in the same batch, the answer of a command that has an id: after a crash the command is either not
   * begun or answered. A handler that changes something calls it once and returns what it returned.
   */
  commit<T extends Json>(work: (tx: Transaction) => T, options?: CommitOptions): Promise<T>;
}

/** One operation: every front door offers it under its name, with these schemas. JSON is Ironic's snake_case. */
export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly role: Role;
  /** Changes something: at the site's door it is journalled, and its id makes it safe to repeat. */
  readonly changes: boolean;
  readonly params: TObject;
  readonly result: TSchema;
  readonly handle: (params: JsonObject, context: CommandContext) => Promise<Json>;
}

/** Ties the handler's types to the schemas; the catalogue then holds all commands in one array. */
export function command<P extends TObject, R extends TSchema>(definition: {
  readonly name: string;
  readonly summary: string;
  readonly role?: Role;
  readonly changes: boolean;
  readonly params: P;
  readonly result: R;
  readonly handle: (params: Static<P>, context: CommandContext) => Promise<Static<R>>;
}): Command {
  return {
    ...definition,
    role: definition.role ?? "operator",
    // The schema was checked before the handler runs, so the parameters have its type.
    handle: async (params, context) => (await definition.handle(params as Static<P>, context)) as Json,
  };
}

export interface CommandRequest {
  /** With an id the answer is stored and a repetition gets it again. */
  readonly id?: string;
  readonly method: string;
  readonly params: unknown;
  readonly role: Role;
}

/** Validates, routes and answers; the only way in. */
export class Catalogue {
  readonly #commands: ReadonlyMap<string, Command>;
  /** Compiles a command's schema when that is first called, and keeps it: all of them together would take half a second of every start. */
  readonly #schemas = new Ajv({
    allErrors: false,
    strict: false,
    useDefaults: true,
    coerceTypes: false,
    removeAdditional: false,
  });
  readonly #store: Store;
  readonly #log: Log;

  constructor(parts: { readonly commands: readonly Command[]; readonly store: Store; readonly log: Log }) {
    this.#commands = new Map(parts.commands.map((one) => [one.name, one]));
    this.#store = parts.store;
    this.#log = parts.log;
  }

  get commands(): readonly Command[] {
    return [...this.#commands.values()];
  }

  get(method: string): Command | undefined {
    return this.#commands.get(method);
  }

  /** The command and its checked parameters. @throws Fault not-found, invalid (names the field), refused */
  check(request: CommandRequest): { readonly command: Command; readonly params: JsonObject } {
    const command = this.#commands.get(request.method);
    if (command === undefined) {
      throw new Fault(
        "not-found",
        "command.unknown",
        `there is no command "${request.method}"; "command.list" lists them`,
      );
    }
    if (request.role !== command.role && request.role !== "operator") {
      throw new Fault("refused", "command.role", `"${request.method}" is not open to ${request.role}s`);
    }
    const params = structuredClone(request.params ?? {});
    if (!this.#schemas.validate(command.params, params)) {
      const error = this.#schemas.errors?.[0];
      throw invalid(fieldOf(error), `${describe(error)}`);
    }
    return { command, params: params as JsonObject };
  }

  /** Carries the request out and answers; never throws. A repeated id gets the stored answer. */
  async execute(
    request: CommandRequest,
    options: { readonly signal: AbortSignal; readonly log?: Log },
  ): Promise<CommandAnswer> {
    const log = (options.log ?? this.#log).with({
      command: request.method,
      ...(request.id === undefined ? {} : { id: request.id }),
    });
    const stored = request.id === undefined ? undefined : this.#store.commands.get(request.id);
    if (stored?.answer !== undefined && stored.answer !== null) return stored.answer;
    let answer: CommandAnswer;
    let recorded = false;
    try {
      const { command, params } = this.check(request);
      const result = await command.handle(params, {
        signal: options.signal,
        log,
        commit: async (work, commitOptions) => {
          const value = await this.#store.commit((tx) => {
            const out = work(tx);
            if (request.id !== undefined && tx.commands.get(request.id) !== undefined) {
              tx.commands.answer(request.id, { ok: true, result: out });
            }
            return out;
          }, commitOptions);
          recorded = true;
          return value;
        },
      });
      answer = { ok: true, result };
      if (command.changes) log.info("command.done");
    } catch (error) {
      const fault = toFault(error);
      if (fault.kind === "internal")
        log.error("daemon.bug", { code: fault.code, reason: fault.message }, fault.cause ?? fault);
      else
        log[fault.kind === "cancelled" ? "debug" : "warn"]("command.failed", {
          code: fault.code,
          reason: fault.message,
        });
      answer = { ok: false, kind: fault.kind, code: fault.code, message: fault.message, detail: { ...fault.detail } };
      recorded = false;
    }
    if (request.id !== undefined && !recorded && stored !== undefined) {
      const id = request.id;
      await this.#store.commit((tx) => tx.commands.answer(id, answer));
    }
    return answer;
  }
}

interface SchemaError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Record<string, unknown>;
  readonly message?: string;
}

function fieldOf(error: SchemaError | undefined): string {
  if (error === undefined) return "params";
  const path = error.instancePath.slice(1).replaceAll("/", ".");
  const extra = error.params["missingProperty"] ?? error.params["additionalProperty"];
  if (typeof extra === "string") return path === "" ? extra : `${path}.${extra}`;
  return path === "" ? "params" : path;
}

function describe(error: SchemaError | undefined): string {
  switch (error?.keyword) {
    case undefined:
      return "is not valid";
    case "required":
      return "is missing";
    case "additionalProperties":
      return "is not a known field";
    case "enum":
      return `must be one of ${JSON.stringify(error.params["allowedValues"])}`;
    case "const":
      return `must be ${JSON.stringify(error.params["allowedValue"])}`;
    default:
      return error?.message ?? "is not valid";
  }
}
