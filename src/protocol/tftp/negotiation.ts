import type { TftpOptions } from "./packet.ts";

/** What a transfer runs with. */
export interface TransferTerms {
  /** Bytes of a full block. */
  readonly blksize: number;
  /** Blocks sent before an ACK is due. */
  readonly windowsize: number;
  /** Seconds until a packet is sent again; null: ours to choose. */
  readonly timeout: number | null;
}

export interface TermLimits {
  /** So that a block fits the wire: 1468 on Ethernet. */
  readonly blksize: number;
  readonly windowsize: number;
}

export const defaultTerms: TransferTerms = { blksize: 512, windowsize: 1, timeout: null };

interface OptionRow {
  readonly least: number;
  readonly most: number;
  readonly source: string;
  /** What we answer, or null to leave the option out, which refuses it. */
  readonly accept: (
    value: number,
    context: { readonly limits: TermLimits; readonly size: number | null },
  ) => number | null;
  readonly apply: (terms: TransferTerms, value: number) => TransferTerms;
}

/** The options we know. A client's value outside of least to most is as if it had not asked. */
export const tftpOptions = {
  blksize: {
    least: 8,
    most: 65464,
    source: "RFC 2348",
    accept: (value, { limits }) => Math.min(value, limits.blksize),
    apply: (terms, value) => ({ ...terms, blksize: value }),
  },
  timeout: {
    least: 1,
    most: 255,
    source: "RFC 2349",
    accept: (value) => value, // must be answered as asked or not at all
    apply: (terms, value) => ({ ...terms, timeout: value }),
  },
  tsize: {
    least: 0,
    most: Number.MAX_SAFE_INTEGER,
    source: "RFC 2349",
    accept: (_value, { size }) => size,
    apply: (terms) => terms,
  },
  windowsize: {
    least: 1,
    most: 65535,
    source: "RFC 7440",
    accept: (value, { limits }) => Math.min(value, limits.windowsize),
    apply: (terms, value) => ({ ...terms, windowsize: value }),
  },
} as const satisfies Readonly<Record<string, OptionRow>>;

export type TftpOptionName = keyof typeof tftpOptions;

function isKnown(name: string): name is TftpOptionName {
  return Object.hasOwn(tftpOptions, name);
}

export interface Negotiated {
  readonly terms: TransferTerms;
  /** For the OACK, in the client's order; empty: no OACK. Never an option that was not asked for: EDK2 aborts on one. */
  readonly answer: TftpOptions;
}

/** @source RFC 2347 */
export function negotiate(
  asked: TftpOptions,
  context: { readonly limits: TermLimits; readonly size: number | null },
): Negotiated {
  let terms = defaultTerms;
  const answer = new Map<string, string>();
  for (const [name, text] of asked) {
    if (!isKnown(name) || !/^\d{1,15}$/.test(text)) continue;
    const row: OptionRow = tftpOptions[name];
    const value = Number(text);
    if (value < row.least || value > row.most) continue;
    const accepted = row.accept(value, context);
    if (accepted === null) continue;
    terms = row.apply(terms, accepted);
    answer.set(name, String(accepted));
  }
  return { terms, answer };
}
