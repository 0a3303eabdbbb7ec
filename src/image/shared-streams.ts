import { stat } from "node:fs/promises";
import { throwIfAborted } from "../core/clock.ts";
import { Fault } from "../core/fault.ts";
import type { Checkpoint, IscsiTarget, StreamContent, TargetProgress, TargetResult, TargetSuccess } from "./stream.ts";
import { StreamJob } from "./stream-job.ts";

export interface WriteOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: TargetProgress, virtualSize: number) => void;
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
}

export interface Written extends TargetSuccess {
  /** It joined a stream that ran already. */
  readonly joined: boolean;
}

/**
 * The streams that run in this daemon. Who writes an image that is being written joins that stream: its clusters are decoded
 * once for all, and a machine that comes a minute later gets the missed part afterwards.
 */
export class SharedStreams {
  readonly #running = new Map<string, StreamJob>();

  /**
   * Writes the image onto one target. A cancel or fault here leaves those alone that share the stream; a fault of the image is
   * everybody's.
   * @throws Fault of the target, of the image, or cancelled
   */
  async write(content: StreamContent, target: IscsiTarget, options: WriteOptions): Promise<Written> {
    throwIfAborted(options.signal);
    const key = await identity(content, target);
    throwIfAborted(options.signal);
    return await new Promise<Written>((resolve, reject) => {
      let leave = (): void => {};
      const watch = {
        ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
        ...(options.onCheckpoint === undefined ? {} : { onCheckpoint: options.onCheckpoint }),
        onEnd: (result: TargetResult): void => {
          options.signal.removeEventListener("abort", leave);
          if (result.ok) resolve({ ...result, joined });
          else reject(options.signal.aborted ? cancelled(result.fault) : result.fault);
        },
      };
      const running = this.#running.get(key);
      const place = running?.add(target, watch);
      const joined = place !== undefined;
      const job = joined && running !== undefined ? running : this.#start(key, content, target, watch);
      leave = () => job.drop(place ?? 0);
      options.signal.addEventListener("abort", leave, { once: true });
    });
  }

  #start(
    key: string,
    content: StreamContent,
    target: IscsiTarget,
    watch: ConstructorParameters<typeof StreamJob>[1][number],
  ): StreamJob {
    const job = new StreamJob({ ...content, targets: [target] }, [watch]);
    this.#running.set(key, job);
    const forget = (): void => {
      if (this.#running.get(key) === job) this.#running.delete(key);
    };
    // Its faults went to those who watch its targets.
    job.end.then(forget, forget);
    return job;
  }
}

function cancelled(cause: Fault): Fault {
  return new Fault("cancelled", "stream.cancelled", "the stream was cancelled", { cause });
}

/** What streams must have in common to be one: the very file, how it is written, and whether digests are wanted. */
async function identity(content: StreamContent, target: IscsiTarget): Promise<string> {
  const { source, policy, verify } = content;
  // That a file is not there is the stream's to find and to say; one that arrives changes all the time, and no other has its path.
  const file =
    source.download === undefined ? await stat(source.path, { bigint: true }).catch(() => undefined) : undefined;
  return JSON.stringify([
    source.path,
    file === undefined ? null : [file.dev, file.ino, file.size, file.mtimeNs].map(String),
    source.format,
    source.checksum ?? null,
    policy,
    verify,
    target.digests ?? "none",
  ]);
}
