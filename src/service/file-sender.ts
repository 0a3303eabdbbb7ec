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

/** Sends parts of files over connected TCP sockets by sendfile, in threads of the addon. */
export class FileSender implements AsyncDisposable {
  /** Each is a thread. */
  readonly #senders: readonly NativeSender<FileRequest, SenderOutcome>[] = Array.from(
    { length: Math.min(MOST_THREADS, availableParallelism()) },
    () => new NativeSender((onOutcome) => nativeAddon().openFileSender(onOutcome)),
  );

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
    const idlest = this.#senders.reduce((least, one) => (one.waiting < least.waiting ? one : least));
    await idlest.send({ socket, file: file.fd, offset, length, patience_ms: patience }, until);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#senders.map((sender) => sender[Symbol.asyncDispose]()));
  }
}
