import type { Clock } from "../core/clock.ts";
import { assertNever, isFault, MalformedFault } from "../core/fault.ts";
import type { Millis } from "../core/units.ts";
import type { DatagramEndpoint, DatagramSocket, ReceivedDatagram } from "../net/datagram.ts";
import { type TftpErrorName, tftpErrors } from "../protocol/tftp/error-code.ts";
import { dataHeader, decodeTftp, encodeTftp } from "../protocol/tftp/packet.ts";
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

/** The loop around the exchange: hands it what arrives and does what it says, until it is over. @throws Fault storage */
export async function runTransfer(begin: Transfer, run: RunningTransfer): Promise<TransferResult> {
  const loop = new TransferLoop(begin, run);
  const onAbort = (): void => loop.stop();
  run.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await loop.run();
  } finally {
    run.signal.removeEventListener("abort", onAbort);
  }
}

interface End {
  readonly resolve: (result: TransferResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Opcode and block number. */
const DATA_HEADER = 4;
/** How much of the file is read at once; a window that is larger is read whole. */
const CHUNK = 256 * 1024;

/**
 * Synchronous from the packet that arrives to the packets that it causes; only the file is waited for, a chunk at a time.
 */
class TransferLoop {
  readonly #run: RunningTransfer;
  readonly #ended: Promise<TransferResult>;
  #end: End | undefined;
  #transfer: Transfer;
  #chunk: { readonly offset: number; readonly bytes: Uint8Array } = { offset: 0, bytes: new Uint8Array(0) };
  #reading = false;
  #deadline = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(transfer: Transfer, run: RunningTransfer) {
    this.#transfer = transfer;
    this.#run = run;
    this.#ended = new Promise((resolve, reject) => {
      this.#end = { resolve, reject };
    });
  }

  run(): Promise<TransferResult> {
    this.#run.socket.listen((datagram) => this.#arrived(datagram));
    this.#input({ kind: "start" });
    return this.#ended;
  }

  stop(): void {
    this.#sendError("notDefined", "the server stops");
    this.#finish({ kind: "lost", reason: "the server stops" });
  }

  #arrived({ bytes, from }: ReceivedDatagram): void {
    const { peer, socket } = this.#run;
    if (from.port !== peer.port || from.address !== peer.address) {
      // RFC 1350 §4: a stranger gets an error, and the transfer goes on.
      socket.post(
        encodeTftp({ kind: "error", code: tftpErrors.unknownTransferId, message: "unknown transfer id" }),
        from,
      );
      return;
    }
    try {
      this.#input({ kind: "packet", packet: decodeTftp(bytes) });
    } catch (error) {
      if (error instanceof MalformedFault) this.#run.onMalformed(error);
      else this.#fail(error);
    }
  }

  #input(input: TransferInput): void {
    if (this.#end === undefined) return;
    const step = advance(this.#transfer, input);
    this.#transfer = step.transfer;
    for (const output of step.outputs) this.#carryOut(output);
  }

  #carryOut(output: TransferOutput): void {
    switch (output.kind) {
      case "oack":
        this.#run.socket.post(encodeTftp({ kind: "oack", options: output.options }), this.#run.peer);
        return;
      case "data":
        this.#sendBlocks(output.first, output.count);
        return;
      case "error":
        this.#sendError(output.error, output.message);
        return;
      case "arm":
        this.#arm((output.after_s * 1000) as Millis);
        return;
      case "done":
        this.#finish(output.result);
        return;
      default:
        assertNever(output);
    }
  }

  #sendBlocks(first: number, count: number): void {
    const start = blockRange(this.#transfer, first).offset;
    const last = blockRange(this.#transfer, first + count - 1);
    const { offset, bytes } = this.#chunk;
    if (start < offset || last.offset + last.length > offset + bytes.length) {
      this.#read(start, last.offset + last.length - start);
      return;
    }
    for (let block = first; block < first + count; block += 1) {
      const range = blockRange(this.#transfer, block);
      const at = range.offset - offset;
      // One piece: to give dgram two costs more than to copy a block.
      const packet = new Uint8Array(DATA_HEADER + range.length);
      packet.set(dataHeader(block));
      packet.set(bytes.subarray(at, at + range.length), DATA_HEADER);
      this.#run.socket.post(packet, this.#run.peer);
    }
  }

  /** Gets the chunk that begins at `offset`, then sends the window as it is due by then. */
  #read(offset: number, least: number): void {
    if (this.#reading) return;
    this.#reading = true;
    const length = Math.min(Math.max(least, CHUNK), this.#transfer.size - offset);
    this.#run.file.read(offset, length).then(
      (bytes) => {
        this.#reading = false;
        this.#chunk = { offset, bytes };
        const first = this.#transfer.acknowledged + 1;
        if (this.#end !== undefined && first <= this.#transfer.sent) {
          this.#sendBlocks(
            first,
            Math.min(this.#transfer.sent, this.#transfer.acknowledged + this.#transfer.terms.windowsize) - first + 1,
          );
        }
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #sendError(error: TftpErrorName, message: string): void {
    this.#run.socket.post(encodeTftp({ kind: "error", code: tftpErrors[error], message }), this.#run.peer);
  }

  /** The timer is left to run and looks at the deadline when it fires: moving it with each packet would cost more. */
  #arm(after: Millis): void {
    this.#deadline = this.#run.clock.now() + after;
    if (this.#cancelTimer === undefined) this.#startTimer(after);
  }

  #startTimer(after: Millis): void {
    this.#cancelTimer = this.#run.clock.after(after, () => {
      this.#cancelTimer = undefined;
      const left = this.#deadline - this.#run.clock.now();
      if (this.#end === undefined) return;
      if (left > 0) this.#startTimer(left as Millis);
      else this.#input({ kind: "timeout" });
    });
  }

  #fail(error: unknown): void {
    this.#sendError("notDefined", isFault(error) ? "the file cannot be read" : "internal error");
    const end = this.#close();
    end?.reject(error);
  }

  #finish(result: TransferResult): void {
    this.#close()?.resolve(result);
  }

  #close(): End | undefined {
    const end = this.#end;
    this.#end = undefined;
    this.#cancelTimer?.();
    return end;
  }
}
