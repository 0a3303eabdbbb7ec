/** What the DHCP server has done since it started. */
export interface DhcpCounters {
  readonly received: number;
  readonly malformed: number;
  readonly offers: number;
  readonly acks: number;
  readonly naks: number;
  readonly bootp: number;
  readonly returned: number;
  readonly silent: number;
  readonly failed: number;
  readonly dropped: number;
  /** Addresses that a machine was found to use without a lease. */
  readonly conflicts: number;
  readonly offersHeld: number;
}

/** Those that the parts of the server count up themselves. */
export type DhcpCounts = { -readonly [Name in Exclude<keyof DhcpCounters, "dropped" | "offersHeld">]: number };

export function noDhcpCounts(): DhcpCounts {
  return {
    received: 0,
    malformed: 0,
    offers: 0,
    acks: 0,
    naks: 0,
    bootp: 0,
    returned: 0,
    silent: 0,
    failed: 0,
    conflicts: 0,
  };
}
