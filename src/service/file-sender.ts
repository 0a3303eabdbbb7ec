import type { FileHandle } from "node:fs/promises";
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

/** Sends parts of files over connected TCP sockets by sendfile, in the addon. */
export class FileSender implements AsyncDisposable {
  readonly #sender = new NativeSender<FileRequest, SenderOutcome>((onOutcome) =>
    nativeAddon().openFileSender(onOutcome),
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
    await this.#sender.send({ socket, file: file.fd, offset, length, patience_ms: patience }, until);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sender[Symbol.asyncDispose]();
  }
}
