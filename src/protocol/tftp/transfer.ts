import { assertNever } from "../../core/fault.ts";
import { type TftpErrorName, tftpErrors } from "./error-code.ts";
import type { TransferTerms } from "./negotiation.ts";
import type { TftpOptions, TftpPacket } from "./packet.ts";

/** A file on its way to one client. Blocks are counted from 1 without end; the wire sees them modulo 65536. */
export interface Transfer {
  readonly phase: "negotiating" | "sending" | "over";
  readonly terms: TransferTerms;
  readonly answer: TftpOptions;
  readonly size: number;
  /** The number of blocks, the last of which is short, perhaps empty. */
  readonly blocks: number;
  /** All blocks up to this one are acknowledged. */
  readonly acknowledged: number;
  /** All blocks up to this one were sent at least once. */
  readonly sent: number;
  /** The window that follows `acknowledged` was sent again because of an ACK, which is done once. */
  readonly wentBack: boolean;
  /** Timeouts in a row without progress, and the seconds they took. */
  readonly silent: number;
  readonly silent_s: number;
}

export type TransferInput =
  | { readonly kind: "start" }
  | { readonly kind: "packet"; readonly packet: TftpPacket }
  | { readonly kind: "timeout" };

export type TransferOutput =
  | { readonly kind: "oack"; readonly options: TftpOptions }
  /** The blocks `first` to `first + count - 1`. */
  | { readonly kind: "data"; readonly first: number; readonly count: number }
  | { readonly kind: "error"; readonly error: TftpErrorName; readonly message: string }
  /** Instead of what was armed before. */
  | { readonly kind: "arm"; readonly after_s: number }
  | { readonly kind: "done"; readonly result: TransferResult };

export type TransferResult =
  | { readonly kind: "complete" }
  /** The client asked for the size only, or refused the terms; EDK2 and others begin so. */
  | { readonly kind: "declined"; readonly code: number; readonly message: string }
  | { readonly kind: "aborted"; readonly code: number; readonly message: string }
  | { readonly kind: "lost"; readonly reason: string };

export interface Advance {
  readonly transfer: Transfer;
  readonly outputs: readonly TransferOutput[];
}

/** A client counts as lost after so many timeouts in a row, and not before so many seconds. */
const LEAST_TIMEOUTS = 6;
const LEAST_SILENCE = 30;
const FIRST_TIMEOUT = 1;
const LONGEST_TIMEOUT = 8;

export function beginTransfer(request: {
  readonly terms: TransferTerms;
  readonly answer: TftpOptions;
  readonly size: number;
}): Transfer {
  return {
    ...request,
    phase: request.answer.size > 0 ? "negotiating" : "sending",
    blocks: Math.floor(request.size / request.terms.blksize) + 1,
    acknowledged: 0,
    sent: 0,
    wentBack: false,
    silent: 0,
    silent_s: 0,
  };
}

/** Where in the file a block stands. */
export function blockRange(transfer: Transfer, block: number): { readonly offset: number; readonly length: number } {
  const offset = (block - 1) * transfer.terms.blksize;
  return { offset, length: Math.min(transfer.terms.blksize, transfer.size - offset) };
}

/**
 * What the sender does next. Pure. One machine for every window size; with a window of 1 it is RFC 1350's.
 * @source RFC 1350 §2, §6; RFC 2347; RFC 7440 §4
 */
export function advance(transfer: Transfer, input: TransferInput): Advance {
  if (transfer.phase === "over") return { transfer, outputs: [] };
  switch (input.kind) {
    case "start":
      return transfer.phase === "negotiating" ? offerTerms(transfer) : sendWindow(transfer);
    case "packet":
      return receive(transfer, input.packet);
    case "timeout":
      return timeout(transfer);
    default:
      return assertNever(input);
  }
}

function offerTerms(transfer: Transfer): Advance {
  return { transfer, outputs: [{ kind: "oack", options: transfer.answer }, arm(transfer)] };
}

/** The blocks that follow what is acknowledged, as many as a window holds. */
function sendWindow(transfer: Transfer): Advance {
  const first = transfer.acknowledged + 1;
  const last = Math.min(transfer.acknowledged + transfer.terms.windowsize, transfer.blocks);
  const next = { ...transfer, sent: Math.max(transfer.sent, last) };
  return { transfer: next, outputs: [{ kind: "data", first, count: last - first + 1 }, arm(next)] };
}

/** The client's own timeout as it asked; ours doubles. */
function arm(transfer: Transfer): TransferOutput {
  return { kind: "arm", after_s: patience(transfer) };
}

function patience({ terms, silent }: Transfer): number {
  return terms.timeout ?? Math.min(FIRST_TIMEOUT * 2 ** silent, LONGEST_TIMEOUT);
}

function over(transfer: Transfer, result: TransferResult, before: readonly TransferOutput[] = []): Advance {
  return { transfer: { ...transfer, phase: "over" }, outputs: [...before, { kind: "done", result }] };
}

function receive(transfer: Transfer, packet: TftpPacket): Advance {
  switch (packet.kind) {
    case "ack":
      return acknowledge(transfer, packet.block);
    case "error": {
      const { code, message } = packet;
      const declined = transfer.phase === "negotiating" || code === tftpErrors.optionRefused;
      return over(transfer, { kind: declined ? "declined" : "aborted", code, message });
    }
    case "rrq":
      // Sent again because our first answer is late or lost; the timeout repeats it.
      return { transfer, outputs: [] };
    case "wrq":
    case "data":
    case "oack": {
      const message = `a ${packet.kind.toUpperCase()} does not belong into a read`;
      const error: TransferOutput = { kind: "error", error: "illegalOperation", message };
      return over(transfer, { kind: "aborted", code: tftpErrors.illegalOperation, message }, [error]);
    }
    default:
      return assertNever(packet);
  }
}

function acknowledge(transfer: Transfer, wire: number): Advance {
  if (transfer.phase === "negotiating") {
    if (wire !== 0) return { transfer, outputs: [] };
    return sendWindow({ ...transfer, phase: "sending", silent: 0, silent_s: 0 });
  }
  const block = blockOf(transfer, wire);
  if (block === undefined) return { transfer, outputs: [] };
  if (block === transfer.blocks) return over({ ...transfer, acknowledged: block }, { kind: "complete" });
  if (block > transfer.acknowledged) {
    // Short of the window's end: the client missed the next one, and the window begins after what it has (RFC 7440 §4).
    const wentBack = block < transfer.sent;
    return sendWindow({ ...transfer, acknowledged: block, silent: 0, silent_s: 0, wentBack });
  }
  // An ACK once more. To answer it with data would double every packet from here on (the Sorcerer's Apprentice, RFC 1123
  // §4.2.3.1). In a window it may also mean that the window's first block was lost: once per window that is believed.
  if (transfer.terms.windowsize === 1 || transfer.wentBack) return { transfer, outputs: [] };
  return sendWindow({ ...transfer, wentBack: true });
}

/** The block that a number on the wire means: one of those under way, or the last one acknowledged. */
function blockOf(transfer: Transfer, wire: number): number | undefined {
  const ahead = (wire - (transfer.acknowledged % 65536) + 65536) % 65536;
  const block = transfer.acknowledged + ahead;
  return block <= transfer.sent ? block : undefined;
}

function timeout(transfer: Transfer): Advance {
  const silent_s = transfer.silent_s + patience(transfer);
  const later = { ...transfer, silent: transfer.silent + 1, silent_s };
  if (later.silent >= LEAST_TIMEOUTS && silent_s >= LEAST_SILENCE) {
    // Who has the last block may leave without telling (RFC 1350 §6).
    if (transfer.sent === transfer.blocks && transfer.acknowledged + transfer.terms.windowsize >= transfer.blocks) {
      return over(later, { kind: "lost", reason: "the last ACK did not come" });
    }
    const message = "no answer";
    return over(later, { kind: "lost", reason: message }, [{ kind: "error", error: "notDefined", message }]);
  }
  return later.phase === "negotiating" ? offerTerms(later) : sendWindow({ ...later, wentBack: false });
}
