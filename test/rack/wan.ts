import type { Enclosure } from "./enclosure.ts";
import { WAN } from "./network.ts";

/** The cable between the rack and the site. Cut, packets vanish in both directions and nobody is told. */
export class Wan {
  readonly #enclosure: Enclosure;

  constructor(enclosure: Enclosure) {
    this.#enclosure = enclosure;
  }

  async cut(): Promise<void> {
    await this.#set("down");
  }

  async restore(): Promise<void> {
    await this.#set("up");
  }

  async #set(state: "down" | "up"): Promise<void> {
    await this.#enclosure.run("site", ["ip", "link", "set", WAN.siteInterface, state]);
  }
}
