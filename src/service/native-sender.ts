import { Fault } from "../core/fault.ts";
import { nativeFault, type NativeFault, type NativeSenderHandle } from "../core/native-addon.ts";

/** What an outcome of every sender has; `fault` instead of a result. */
export interface SenderOutcome {
  readonly id: number;
  readonly fault?: NativeFault;
}

/** A sender of the addon, with a thread of its own, as promises. */
export class NativeSender<Request extends object, Outcome extends SenderOutcome> implements AsyncDisposable {
  readonly #handle: NativeSenderHandle<Request & { readonly id: number }, Outcome>;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  #next = 1;
  #closed = false;

  constructor(
    open: (onOutcome: (outcome: Outcome) => void) => NativeSenderHandle<Request & { readonly id: number }, Outcome>,
  ) {
    this.#handle = open((outcome) => {
      const resolve = this.#waiting.get(outcome.id);
      this.#waiting.delete(outcome.id);
      resolve?.(outcome);
    });
  }

  /** Requests that have not ended yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * The outcome when it is over; descriptors in the request may be closed as soon as the call is made. An aborted signal
   * or a closed sender ends it with an outcome too. @throws Fault as the outcome says; cancelled when closed already
   */
  async send(request: Request, until: { readonly signal?: AbortSignal } = {}): Promise<Outcome> {
    if (this.#closed) throw new Fault("cancelled", "sender.closed", "the service is closing, or its client went away");
    const id = this.#next;
    this.#next = (this.#next % 0xffff_ffff) + 1;
    const outcome = this.#handle.start({ ...request, id }) ?? (await this.#ended(id, until.signal));
    if (outcome.fault !== undefined) throw nativeFault(outcome.fault);
    return outcome;
  }

  async #ended(id: number, signal: AbortSignal | undefined): Promise<Outcome> {
    const abort = (): void => this.#handle.cancel(id);
    const ended = new Promise<Outcome>((resolve) => this.#waiting.set(id, resolve));
    if (signal?.aborted === true) abort();
    signal?.addEventListener("abort", abort, { once: true });
    const outcome = await ended;
    signal?.removeEventListener("abort", abort);
    return outcome;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }
}
