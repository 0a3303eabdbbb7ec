/** What went wrong, in the one vocabulary that every layer may use; front doors map the kind to a status, a reply or an exit code. */
export type FaultKind =
  | "malformed" // bytes or text that are not of their format
  | "protocol" // well-formed, but not allowed at this point of the exchange
  | "unreachable" // the peer could not be reached, or the connection died
  | "timeout" // a deadline passed
  | "refused" // the peer understood and said no; `code` carries its code
  | "unsupported" // nobody here can do that
  | "invalid" // the caller's input; `detail.field` names the field
  | "not-found"
  | "conflict" // the present state does not allow it
  | "busy" // somebody holds the lock; try again
  | "cancelled"
  | "storage" // our own disk
  | "internal"; // a bug of ours

export type Retry = "never" | "later" | "now";

export type FaultDetail = Readonly<Record<string, string | number | boolean | null>>;

export interface FaultOptions {
  readonly retry?: Retry;
  readonly detail?: FaultDetail;
  readonly cause?: unknown;
}

const DEFAULT_RETRY: Readonly<Record<FaultKind, Retry>> = {
  malformed: "never",
  protocol: "never",
  unreachable: "later",
  timeout: "later",
  refused: "never",
  unsupported: "never",
  invalid: "never",
  "not-found": "never",
  conflict: "never",
  busy: "later",
  cancelled: "never",
  storage: "later",
  internal: "never",
};

/**
 * An expected failure. `code` is a stable dotted word for programs, `message` a sentence for people that says what to do
 * where that is known. Anything thrown that is not a Fault is a bug. Never put a secret into message or detail.
 */
export class Fault extends Error {
  readonly kind: FaultKind;
  readonly code: string;
  readonly retry: Retry;
  readonly detail: FaultDetail;

  constructor(kind: FaultKind, code: string, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Fault";
    this.kind = kind;
    this.code = code;
    this.retry = options.retry ?? DEFAULT_RETRY[kind];
    this.detail = options.detail ?? {};
  }
}

/** Shortage or nonsense in a wire format: which field, where, how many bytes it needed and how many there were. */
export class MalformedFault extends Fault {
  readonly field: string;
  readonly offset: number;
  readonly need: number;
  readonly have: number;

  constructor(field: string, offset: number, need: number, have: number, message?: string) {
    super("malformed", "malformed", message ?? `${field} at byte ${offset}: needs ${need} bytes, ${have} left`, {
      detail: { field, offset, need, have },
    });
    this.field = field;
    this.offset = offset;
    this.need = need;
    this.have = have;
  }
}

/** The caller's input is wrong in `field`. */
export function invalid(field: string, message: string): Fault {
  return new Fault("invalid", "invalid", `${field}: ${message}`, { detail: { field } });
}

export function isFault(error: unknown): error is Fault {
  return error instanceof Fault;
}

/** Any thrown value as a Fault: a Fault stays itself, an abort becomes `cancelled`, everything else is `internal` with the cause kept. */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof Error && error.name === "AbortError") {
    return new Fault("cancelled", "cancelled", "cancelled", { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new Fault("internal", "internal", `internal error: ${message}`, { cause: error });
}

/** Closes a switch over a union: a new member that is not handled is a compile error. */
export function assertNever(value: never): never {
  throw new Fault("internal", "internal.unhandled", `unhandled case ${JSON.stringify(value)}`);
}
