import { throwIfAborted } from "../core/clock.ts";
import { nativeFault, type NativeJob, type NativeJobNews } from "../core/native-addon.ts";

export interface JobOptions<Progress> {
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Runs a job of the addon, which has a thread of its own, to its end. After a cancel the caller hears nothing but the end.
 * @throws Fault of the job, cancelled
 */
export async function runJob<Progress, Outcome>(
  start: (onProgress: NativeJobNews["onProgress"], onEnd: NativeJobNews["onEnd"]) => NativeJob,
  { signal, onProgress }: JobOptions<Progress>,
): Promise<Outcome> {
  throwIfAborted(signal);
  return await new Promise<Outcome>((resolve, reject) => {
    const abort = (): void => job.cancel();
    const job = start(
      (news) => {
        if (!signal.aborted) onProgress?.(news as Progress);
      },
      (fault, outcome) => {
        signal.removeEventListener("abort", abort);
        if (fault !== null) reject(nativeFault(fault));
        else resolve(outcome as Outcome);
      },
    );
    signal.addEventListener("abort", abort, { once: true });
  });
}
