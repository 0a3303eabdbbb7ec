import type { FileHandle } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { nativeAddon } from "../core/native-addon.ts";
import type { Millis } from "../core/units.ts";
import { NativeSender, type SenderOutcome } from "./native-sender.ts";

interface FileRequest {
  readonly socket: number;
  readonly file: number;
  readonly offset: number;
  readonly length: number;
  readonly patience_ms: number;
}

/** Two send to many clients a third faster than one; a third thread was of no use on two processors. */
const MOST_THREADS = 2;

interface Thread {
  readonly sender: NativeSender<FileRequest, SenderOutcome>;
  sending: number;
}

/** Sends parts of files over connected TCP sockets by sendfile, in threads of the addon. */
export class FileSender implements AsyncDisposable {
  readonly #threads: readonly Thread[] = Array.from({ length: Math.min(MOST_THREADS, availableParallelism()) }, () => ({
    sender: new NativeSender((onOutcome) => nativeAddon().openFileSender(onOutcome)),
    sending: 0,
  }));

  /**
   * Resolves when the last byte is with the kernel. Nobody else may write to the socket until then; reading goes on as
   * always. @throws Fault storage (the file), cancelled (the peer or the signal; a peer that takes nothing for `patience`)
   */
  async send(
    part: {
      readonly socket: number;
      readonly file: FileHandle;
      readonly offset: number;
      readonly length: number;
      readonly patience: Millis;
    },
    until: { readonly signal: AbortSignal },
  ): Promise<void> {
    const { socket, file, offset, length, patience } = part;
    const thread = this.#threads.reduce((least, one) => (one.sending < least.sending ? one : least));
    thread.sending += 1;
    try {
      await thread.sender.send({ socket, file: file.fd, offset, length, patience_ms: patience }, until);
    } finally {
      thread.sending -= 1;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ sender }) => sender[Symbol.asyncDispose]()));
  }
}
