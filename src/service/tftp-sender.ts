import type { Ipv4Address } from "../core/brand.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";
import { nativeAddon } from "../core/native-addon.ts";
import type { DatagramEndpoint } from "../net/datagram.ts";
import type { Negotiated } from "../protocol/tftp/negotiation.ts";
import { encodeTftp } from "../protocol/tftp/packet.ts";
import type { BootFile } from "./boot-file.ts";
import { NativeSender, type SenderOutcome } from "./native-sender.ts";

/** How a transfer ended. */
export interface TransferResult {
  /** declined: the client asked for the size only, or refused the terms; EDK2 and others begin so. */
  readonly kind: "complete" | "declined" | "aborted" | "lost";
  /** Of the client's ERROR. */
  readonly code: number;
  readonly message: string;
}

export interface TransferOutcome extends SenderOutcome {
  readonly result: TransferResult;
  /** Packets on the transfer's port that were not TFTP. */
  readonly malformed: number;
}

interface TransferRequest {
  /** Ours. */
  readonly address: string;
  readonly peerAddress: string;
  readonly peerPort: number;
  readonly blksize: number;
  readonly windowsize: number;
  /** 0: ours to choose. */
  readonly timeout_s: number;
  /** The OACK, empty: none. */
  readonly offer: Uint8Array;
  readonly size: number;
  /** One of the two. */
  readonly file?: number;
  readonly bytes?: Uint8Array;
}

/** Runs transfers in the addon (native/serve/tftp_exchange.hpp is the exchange), each on a port of its own. */
export class TftpSender implements AsyncDisposable {
  readonly #sender = new NativeSender<TransferRequest, TransferOutcome>((onOutcome) =>
    nativeAddon().openTftpSender(onOutcome),
  );

  /** @throws Fault storage when the file cannot be read to its end; cancelled when the sender is closed */
  async send(transfer: {
    readonly address: Ipv4Address | Ipv6Address;
    readonly peer: DatagramEndpoint;
    readonly file: BootFile;
    readonly negotiated: Negotiated;
  }): Promise<TransferOutcome> {
    const { address, peer, file, negotiated } = transfer;
    const { terms, answer } = negotiated;
    const contents = file.handle === null ? { bytes: await file.read(0, file.size) } : { file: file.handle.fd };
    return await this.#sender.send({
      address,
      peerAddress: peer.address,
      peerPort: peer.port,
      blksize: terms.blksize,
      windowsize: terms.windowsize,
      timeout_s: terms.timeout ?? 0,
      offer: answer.size === 0 ? new Uint8Array(0) : encodeTftp({ kind: "oack", options: answer }),
      size: file.size,
      ...contents,
    });
  }

  /** Every client whose transfer runs is told. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#sender[Symbol.asyncDispose]();
  }
}
