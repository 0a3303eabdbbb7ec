import type { Fault } from "../core/fault.ts";
import { type NativeFault, nativeAddon } from "../core/native-addon.ts";
import { nativeFault, runJob } from "./native-job.ts";

export interface ImageSource {
  readonly path: string;
  /** What the caller takes the image for; content of another format is refused, never guessed at. */
  readonly format: "raw" | "qcow2";
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
}

/**
 * What happens to the parts of the disk where the image has a hole: left alone, because the caller knows that the disk
 * reads as zeroes; unmapped where the disk promises zeroes for that, else zeroed; or zeroed.
 */
export type HolePolicy = "disk-is-blank" | "discard" | "write-zeroes";

export interface StreamRequest {
  readonly source: ImageSource;
  /** 1 to 64. */
  readonly targets: readonly IscsiTarget[];
  readonly policy: HolePolicy;
  /** "read-back" reads all data extents again, after they are on the disk, and compares their checksums. */
  readonly verify: "none" | "read-back";
}

export interface StreamProgress {
  /** How far into the virtual disk the image has been read. */
  readonly sourceBytes: number;
  readonly virtualSize: number;
  readonly targets: readonly {
    /** Bytes of data acknowledged. */
    readonly written: number;
    /** Bytes of holes left out, unmapped or zeroed. */
    readonly skipped: number;
    /** Bytes read back and found right. */
    readonly verified: number;
    /** A word for people: connecting, login, probing, ready, writing, synchronizing, verifying, leaving, finished, reconnecting, failed. */
    readonly stage: string;
  }[];
}

export type TargetResult =
  | {
      readonly ok: true;
      readonly bytes: number;
      readonly skipped: number;
      readonly seconds: number;
      /** "crc32c:xxxxxxxx" over all data extents in order when they were read back, else empty. */
      readonly digest: string;
    }
  | { readonly ok: false; readonly fault: Fault };

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
}

type NativeTargetResult =
  | Exclude<TargetResult, { readonly ok: false }>
  | { readonly ok: false; readonly fault: NativeFault };

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
  const result = await runJob<StreamProgress, unknown>(
    (onProgress, onEnd) => nativeAddon().startStream(request, onProgress, onEnd),
    options,
  );
  return parseResult(result);
}

function parseResult(value: unknown): StreamResult {
  const { virtualSize, checksum, targets } = value as Omit<StreamResult, "targets"> & {
    readonly targets: readonly NativeTargetResult[];
  };
  return {
    virtualSize,
    checksum,
    targets: targets.map((target) => (target.ok ? target : { ok: false, fault: nativeFault(target.fault) })),
  };
}
