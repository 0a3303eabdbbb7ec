import { toFault } from "./fault.ts";

/** What was opened, to be closed in reverse; idempotent. (Node 20 has the symbols but no AsyncDisposableStack.) */
export class Scope implements AsyncDisposable {
  readonly #closers: (() => void | Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  use<T extends AsyncDisposable>(resource: T): T {
    this.#closers.push(async () => await resource[Symbol.asyncDispose]());
    return resource;
  }

  defer(close: () => void | Promise<void>): void {
    this.#closers.push(close);
  }

  /** Closes everything; a failure to close one does not keep the others open, the first failure is thrown at the end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    let first: unknown;
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer();
      } catch (error) {
        first ??= error;
      }
    }
    if (first !== undefined) throw toFault(first);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
