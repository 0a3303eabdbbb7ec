import { throwIfAborted } from "../core/clock.ts";

/** Who waits for shared work. */
export interface Waiting {
  readonly signal: AbortSignal;
}

/** One piece of work that several wait for. */
export interface SharedPiece<Waiter extends Waiting, Work> {
  readonly work: Work;
  /** Those who wait for it now. */
  readonly waiters: ReadonlySet<Waiter>;
  /** Goes on when all have left. */
  kept: boolean;
}

interface Piece<Waiter extends Waiting, Work> extends SharedPiece<Waiter, Work> {
  readonly waiters: Set<Waiter>;
  readonly controller: AbortController;
}

/** Work that all who want the same at the same time share, by key. The last one who leaves ends it. */
export class SharedWork<Waiter extends Waiting, Work extends { readonly end: Promise<unknown> }>
  implements AsyncDisposable
{
  readonly #pieces = new Map<string, Piece<Waiter, Work>>();

  /** The piece of that key that runs, or one that is begun now. */
  piece(key: string, begin: (signal: AbortSignal, waiters: ReadonlySet<Waiter>) => Work): SharedPiece<Waiter, Work> {
    const running = this.#pieces.get(key);
    if (running !== undefined) return running;
    const controller = new AbortController();
    const waiters = new Set<Waiter>();
    const piece: Piece<Waiter, Work> = { work: begin(controller.signal, waiters), waiters, kept: false, controller };
    this.#pieces.set(key, piece);
    const forget = (): void => this.#forget(piece);
    piece.work.end.then(forget, forget);
    return piece;
  }

  /** Waits for something of the piece, which the waiter may leave by its signal. @throws Fault cancelled, or what `awaited` throws */
  async wait<T>(shared: SharedPiece<Waiter, Work>, waiter: Waiter, awaited: Promise<T>): Promise<T> {
    const piece = shared as Piece<Waiter, Work>;
    piece.waiters.add(waiter);
    const leave = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => {
        piece.waiters.delete(waiter);
        if (piece.waiters.size === 0 && !piece.kept) {
          this.#forget(piece);
          piece.controller.abort(waiter.signal.reason);
        }
        try {
          throwIfAborted(waiter.signal);
        } catch (fault) {
          reject(fault as Error);
        }
      };
      waiter.signal.addEventListener("abort", onAbort, { once: true });
      const arrived = (): void => {
        waiter.signal.removeEventListener("abort", onAbort);
        piece.waiters.delete(waiter);
      };
      awaited.then(arrived, arrived);
    });
    return await Promise.race([awaited, leave]);
  }

  #forget(piece: Piece<Waiter, Work>): void {
    for (const [key, each] of this.#pieces) if (each === piece) this.#pieces.delete(key);
  }

  /** Ends all work. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pieces = [...this.#pieces.values()];
    for (const { controller } of pieces) controller.abort();
    await Promise.allSettled(pieces.map(({ work }) => work.end));
  }
}
