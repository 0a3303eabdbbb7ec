import type { Child, ChildOptions, Outcome } from "./child.ts";
import type { Enclosure } from "./enclosure.ts";

/** The central site's end of the WAN. */
export class Site {
  readonly #enclosure: Enclosure;

  constructor(enclosure: Enclosure) {
    this.#enclosure = enclosure;
  }

  spawn(argv: readonly string[], options?: ChildOptions): Child {
    return this.#enclosure.spawn("site", argv, options);
  }

  /** Runs to the end. @throws Fault refused unless the exit status is 0 */
  async run(argv: readonly string[], options?: ChildOptions): Promise<Outcome> {
    return await this.#enclosure.run("site", argv, options);
  }
}
