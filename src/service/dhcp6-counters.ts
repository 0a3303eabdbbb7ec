/** What the DHCPv6 server has done since it started. */
export interface Dhcp6Counters {
  readonly received: number;
  readonly malformed: number;
  readonly advertises: number;
  readonly replies: number;
  readonly returned: number;
  readonly silent: number;
  readonly failed: number;
  readonly dropped: number;
  readonly offersHeld: number;
}

/** Those that the parts of the server count up themselves. */
export type Dhcp6Counts = { -readonly [Name in Exclude<keyof Dhcp6Counters, "dropped" | "offersHeld">]: number };

export function noDhcp6Counts(): Dhcp6Counts {
  return { received: 0, malformed: 0, advertises: 0, replies: 0, returned: 0, silent: 0, failed: 0 };
}
