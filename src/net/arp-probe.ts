import { readFile } from "node:fs/promises";
import { type Ipv4Address, type MacAddress, parseMacAddress } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { Millis } from "../core/units.ts";
import type { DatagramServer } from "./datagram.ts";

/** Where the kernel shows what its ARP has learned. @source proc(5) */
const NEIGHBOURS = "/proc/net/arp";
/** Flags of a neighbour whose hardware address is known. @source linux/if_arp.h ATF_COM */
const COMPLETE = 0x2;
/** "Discard": nobody is disturbed by an empty datagram there. */
const DISCARD_PORT = 9;
const LOOKS = 5;

/** So long what was read serves all who look: under a flood there are hundreds of probes at once, and the table is long. */
const FRESH = 10;

/**
 * Who has an address on a link, asked without privileges: an empty datagram makes the kernel ask by ARP, and its table
 * tells who answered. A machine that left a short while ago may still stand in the table.
 */
export class ArpProbe {
  readonly #clock: Clock;
  readonly #wait: Millis;
  #read: { readonly at: Millis; readonly table: Promise<NeighbourTable> } | undefined;

  constructor(options: { readonly clock: Clock; readonly wait: Millis }) {
    this.#clock = options.clock;
    this.#wait = options.wait;
  }

  /** The hardware address of who answered within the time, or null. `socket` is bound to the link's interface. */
  async holder(
    address: Ipv4Address,
    link: { readonly interface: string; readonly socket: DatagramServer },
  ): Promise<MacAddress | null> {
    let reachable = true;
    link.socket.post(new Uint8Array(0), { address, port: DISCARD_PORT }, () => {
      reachable = false; // no route: nobody on this link can have it
    });
    for (let look = 0; look < LOOKS && reachable; look += 1) {
      await this.#clock.sleep((this.#wait / LOOKS) as Millis);
      const found = (await this.#neighbours()).get(neighbourKey(address, link.interface));
      if (found !== undefined) return parseMacAddress(found);
    }
    return null;
  }

  #neighbours(): Promise<NeighbourTable> {
    const now = this.#clock.now();
    if (this.#read === undefined || now - this.#read.at >= FRESH) {
      this.#read = { at: now, table: readFile(NEIGHBOURS, "latin1").then(parseNeighbours) };
    }
    return this.#read.table;
  }
}

/** Hardware addresses by address and interface. */
export type NeighbourTable = ReadonlyMap<string, string>;

export function neighbourKey(address: string, name: string): string {
  return `${address} ${name}`;
}

/** The complete entries of the kernel's table. */
export function parseNeighbours(table: string): NeighbourTable {
  const found = new Map<string, string>();
  for (const line of table.split("\n").slice(1)) {
    const [ip, , flags, hardware, , device] = line.split(/\s+/);
    if (ip === undefined || hardware === undefined || device === undefined) continue;
    if ((Number(flags) & COMPLETE) !== 0) found.set(neighbourKey(ip, device), hardware);
  }
  return found;
}
