/** Runs work at once, except that work waits for everything earlier that shares one of its keys. */
export class Turnstile {
  readonly #tails = new Map<string, Promise<void>>();
  #running = 0;
  #idle: (() => void)[] = [];

  /** How much was let in and has not ended. */
  get running(): number {
    return this.#running;
  }

  /** `work` must not reject. */
  enter(keys: ReadonlySet<string>, work: () => Promise<void>): void {
    this.#running += 1;
    const before = [...keys].map((key) => this.#tails.get(key) ?? Promise.resolve());
    const done = Promise.all(before)
      .then(work)
      .finally(() => {
        for (const key of keys) if (this.#tails.get(key) === done) this.#tails.delete(key);
        this.#running -= 1;
        if (this.#running > 0) return;
        for (const wake of this.#idle.splice(0)) wake();
      });
    for (const key of keys) this.#tails.set(key, done);
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }
}
