import { Fault } from "../core/fault.ts";
import type { JsonObject } from "../core/json.ts";
import type { NativeDownload } from "../core/native-addon.ts";
import type { StreamedFormat } from "../domain/image-format.ts";
import { StreamJob } from "./stream-job.ts";

export interface ImageSource {
  readonly path: string;
  /** Instead of the file's present content: what arrives, as it arrives. The checksum is then the download's to check. */
  readonly download?: NativeDownload | undefined;
  /** What the caller takes the image for; content of another format is refused, never guessed at. */
  readonly format: StreamedFormat;
  /** Of the file as it is stored; lower-case hexadecimal. A file that does not match is never reported as written. */
  readonly checksum?: { readonly algorithm: "md5" | "sha256" | "sha512"; readonly value: string };
}

export interface IscsiTarget {
  /** Numeric, IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
  readonly iqn: string;
  readonly lun: number;
  readonly initiatorIqn: string;
  /** With `target`, the target must prove in turn who it is (mutual CHAP). */
  readonly chap?: {
    readonly username: string;
    readonly password: string;
    readonly target?: { readonly username: string; readonly password: string };
  };
  /** CRC32C over PDU headers, data, or both; none by default. */
  readonly digests?: "none" | "header" | "data" | "both";
  /** Hand out checkpoints: the disk is asked to synchronize its cache now and then. */
  readonly checkpoints?: boolean;
  /** The newest checkpoint of an earlier stream. Where it holds no longer, the disk is written from the beginning. */
  readonly resume?: Checkpoint;
}

/**
 * What is safe on a disk, also when its machine loses power; opaque, to be stored by the caller and given back as `resume`. It
 * holds only for the same image file (size, time of change, checksum), hole policy and disk, which is told by its size, name
 * and serial number and by samples that are read back.
 */
export type Checkpoint = JsonObject;

/**
 * What happens to the parts of the disk where the image has a hole: left alone, because the caller knows that the disk
 * reads as zeroes; unmapped where the disk promises zeroes for that, else zeroed; or zeroed.
 */
export type HolePolicy = "disk-is-blank" | "discard" | "write-zeroes";

/** What goes onto disks, and how. */
export interface StreamContent {
  readonly source: ImageSource;
  readonly policy: HolePolicy;
  /** "read-back" reads all data extents again, after they are on the disk, and compares their checksums. */
  readonly verify: "none" | "read-back";
}

export interface StreamRequest extends StreamContent {
  /** 1 to 64. */
  readonly targets: readonly IscsiTarget[];
}

export interface TargetProgress {
  /** Bytes of data acknowledged. */
  readonly written: number;
  /** Bytes of holes left out, unmapped or zeroed. */
  readonly skipped: number;
  /** Bytes that were there already, by the checkpoint. */
  readonly resumed: number;
  /** Bytes read back and found right. */
  readonly verified: number;
  /** A word for people: connecting, probing, checking, ready, writing, synchronizing, verifying, leaving, finished, reconnecting, failed. */
  readonly stage: string;
}

export interface StreamProgress {
  /** How far into the virtual disk the image has been read. */
  readonly sourceBytes: number;
  /** 0 while only decoding can tell: of gzip, bzip2, and zstd that was written through a pipe. */
  readonly virtualSize: number;
  readonly targets: readonly TargetProgress[];
}

/** `bytes`, `skipped` and `resumed` together are the image's virtual size. */
export interface TargetSuccess {
  readonly ok: true;
  readonly bytes: number;
  readonly skipped: number;
  readonly resumed: number;
  /** Why `resume` was not followed: "image", "disk" (another one), "content" (written since), "malformed"; else empty. */
  readonly resumeRefused: string;
  readonly seconds: number;
  /** "crc32c:xxxxxxxx" over all data extents in order when they were read back, else empty. */
  readonly digest: string;
}

export type TargetResult = TargetSuccess | { readonly ok: false; readonly fault: Fault };

export interface StreamResult {
  readonly virtualSize: number;
  /** The checksum that was asked for and found. */
  readonly checksum: { readonly algorithm: string; readonly value: string } | null;
  /** In the order of the request. */
  readonly targets: readonly TargetResult[];
}

export interface StreamOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: StreamProgress) => void;
  /** A newer checkpoint of the target at `place`; about one a second at most. */
  readonly onCheckpoint?: (place: number, checkpoint: Checkpoint) => void;
}

/**
 * Writes the image onto all targets and has them synchronize their caches. Image bytes go from file to socket in the
 * addon; `onProgress` is called about four times a second. Ends when every target is written or has failed; a failed
 * target stands in its result and does not disturb the others. Repeating a stream is harmless.
 *
 * A cancelled stream leaves no socket open; what it wrote until then stays on the disks.
 *
 * @throws Fault of the image or the call: not-found, invalid (checksum, format, arguments), unsupported (what the image
 * needs), malformed (corrupt or truncated), storage (read error), conflict (the file changed), cancelled
 */
export async function streamImage(request: StreamRequest, options: StreamOptions): Promise<StreamResult> {
  const { signal, onProgress, onCheckpoint } = options;
  if (signal.aborted) throw new Fault("cancelled", "stream.cancelled", "the stream was cancelled");
  const job = new StreamJob(
    request,
    request.targets.map((_, place) => ({ onCheckpoint: (checkpoint) => onCheckpoint?.(place, checkpoint) })),
    onProgress,
  );
  const abort = (): void => job.cancel();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await job.end;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
