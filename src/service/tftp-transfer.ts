import type { Clock } from "../core/clock.ts";
import { assertNever, MalformedFault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import type { DatagramEndpoint, DatagramSocket, ReceivedDatagram } from "../net/datagram.ts";
import { type TftpErrorName, tftpErrors } from "../protocol/tftp/error-code.ts";
import { dataHeader, decodeTftp, encodeTftp, type TftpPacket } from "../protocol/tftp/packet.ts";
import {
  advance,
  blockRange,
  type Transfer,
  type TransferInput,
  type TransferOutput,
  type TransferResult,
} from "../protocol/tftp/transfer.ts";
import type { BootFile } from "./boot-files.ts";

export interface RunningTransfer {
  readonly socket: DatagramSocket;
  readonly peer: DatagramEndpoint;
  readonly file: BootFile;
  readonly clock: Clock;
  /** Ends the transfer with an ERROR to the client. */
  readonly signal: AbortSignal;
  readonly onMalformed: (fault: MalformedFault) => void;
}

/** The loop around the exchange: hands it what arrives and does what it says, until it is over. @throws Fault storage, unreachable */
export async function runTransfer(begin: Transfer, run: RunningTransfer): Promise<TransferResult> {
  const inbox = new Inbox(run);
  try {
    let transfer = begin;
    let input: TransferInput | undefined = { kind: "start" };
    while (input !== undefined) {
      const step = advance(transfer, input);
      transfer = step.transfer;
      for (const output of step.outputs) {
        const result = await carryOut(transfer, output, run, inbox);
        if (result !== undefined) return result;
      }
      input = await inbox.next();
    }
    await sendError(run, "notDefined", "the server stops");
    return { kind: "lost", reason: "the server stops" };
  } catch (error) {
    await sendError(run, "notDefined", "the file cannot be read").catch(() => undefined);
    throw error;
  } finally {
    inbox.close();
  }
}

async function carryOut(
  transfer: Transfer,
  output: TransferOutput,
  run: RunningTransfer,
  inbox: Inbox,
): Promise<TransferResult | undefined> {
  switch (output.kind) {
    case "oack":
      await run.socket.send(encodeTftp({ kind: "oack", options: output.options }), run.peer);
      return undefined;
    case "data":
      await sendBlocks(transfer, output.first, output.count, run);
      return undefined;
    case "error":
      await sendError(run, output.error, output.message);
      return undefined;
    case "arm":
      inbox.arm((output.after_s * 1000) as Millis);
      return undefined;
    case "done":
      return output.result;
    default:
      return assertNever(output);
  }
}

/** One read for the whole window, then its datagrams. */
async function sendBlocks(transfer: Transfer, first: number, count: number, run: RunningTransfer): Promise<void> {
  const start = blockRange(transfer, first).offset;
  const end = blockRange(transfer, first + count - 1);
  const bytes = await run.file.read(start, end.offset + end.length - start);
  const sends: Promise<void>[] = [];
  for (let block = first; block < first + count; block += 1) {
    const { offset, length } = blockRange(transfer, block);
    sends.push(run.socket.send([dataHeader(block), bytes.subarray(offset - start, offset - start + length)], run.peer));
  }
  await Promise.all(sends);
}

function sendError(run: RunningTransfer, error: TftpErrorName, message: string): Promise<void> {
  return run.socket.send(encodeTftp({ kind: "error", code: tftpErrors[error], message }), run.peer);
}

/** Packets of the peer and the timeout, one at a time; strangers are told that they are. */
class Inbox {
  readonly #run: RunningTransfer;
  readonly #batches: AsyncGenerator<readonly ReceivedDatagram[], void, void>;
  readonly #packets: TftpPacket[] = [];
  #batch: Promise<IteratorResult<readonly ReceivedDatagram[], void>> | undefined;
  #timedOut = false;
  #wake: (() => void) | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(run: RunningTransfer) {
    this.#run = run;
    this.#batches = run.socket.receive();
    run.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  readonly #onAbort = (): void => this.#wake?.();

  arm(after: Millis): void {
    this.#cancelTimer?.();
    this.#timedOut = false;
    this.#cancelTimer = this.#run.clock.after(after, () => {
      this.#timedOut = true;
      this.#wake?.();
    });
  }

  /** undefined: the server stops. */
  async next(): Promise<TransferInput | undefined> {
    for (;;) {
      const packet = this.#packets.shift();
      if (packet !== undefined) return { kind: "packet", packet };
      if (this.#run.signal.aborted) return undefined;
      if (this.#timedOut) {
        this.#timedOut = false;
        return { kind: "timeout" };
      }
      if (await this.#wait()) return undefined;
    }
  }

  /** Until something is there; true when the socket is closed. */
  async #wait(): Promise<boolean> {
    this.#batch ??= this.#batches.next();
    const woken = new Promise<undefined>((resolve) => {
      this.#wake = () => resolve(undefined);
    });
    const batch = await Promise.race([this.#batch, woken]);
    this.#wake = undefined;
    if (batch === undefined) return false;
    this.#batch = undefined;
    if (batch.done === true) return true;
    for (const datagram of batch.value) this.#arrived(datagram);
    return false;
  }

  #arrived({ bytes, from }: ReceivedDatagram): void {
    const { peer, socket } = this.#run;
    if (from.port !== peer.port || from.address !== peer.address) {
      // RFC 1350 §4: a stranger gets an error, and the transfer goes on.
      const error = encodeTftp({ kind: "error", code: tftpErrors.unknownTransferId, message: "unknown transfer id" });
      socket.send(error, from).catch(() => undefined);
      return;
    }
    try {
      this.#packets.push(decodeTftp(bytes));
    } catch (error) {
      if (!(error instanceof MalformedFault)) throw error;
      this.#run.onMalformed(error);
    }
  }

  close(): void {
    this.#cancelTimer?.();
    this.#run.signal.removeEventListener("abort", this.#onAbort);
  }
}
