import type { Fault } from "../core/fault.ts";
import { type NativeFault, type NativeStream, nativeAddon, nativeFault } from "../core/native-addon.ts";
import type {
  Checkpoint,
  IscsiTarget,
  StreamProgress,
  StreamRequest,
  StreamResult,
  TargetProgress,
  TargetResult,
  TargetSuccess,
} from "./stream.ts";

type NativeTargetResult = TargetSuccess | { readonly ok: false; readonly fault: NativeFault };

/** What the addon tells: of each target also what is new since the last time. */
interface NativeProgress extends StreamProgress {
  readonly targets: readonly (TargetProgress & {
    readonly checkpoint?: Checkpoint;
    readonly end?: NativeTargetResult;
  })[];
}

interface NativeResult extends Omit<StreamResult, "targets"> {
  readonly targets: readonly NativeTargetResult[];
}

/** Who wants to hear about one target. */
export interface TargetWatch {
  readonly onProgress?: (progress: TargetProgress, virtualSize: number) => void;
  readonly onCheckpoint?: (checkpoint: Checkpoint) => void;
  /** Once; a fault of the image is each target's fault. */
  readonly onEnd?: (result: TargetResult) => void;
}

/** A stream that runs in the addon: one image, onto targets that may join and leave while it does. */
export class StreamJob {
  /** When all targets have ended. @throws Fault of the image, or cancelled */
  readonly end: Promise<StreamResult>;
  readonly #stream: NativeStream;
  /** By place; undefined: has ended. */
  readonly #watches: (TargetWatch | undefined)[];
  readonly #onProgress: ((progress: StreamProgress) => void) | undefined;
  #cancelled = false;

  /** `watches` in the order of the targets. */
  constructor(
    request: StreamRequest,
    watches: readonly TargetWatch[],
    onProgress?: (progress: StreamProgress) => void,
  ) {
    this.#watches = [...watches];
    this.#onProgress = onProgress;
    const { promise, resolve, reject } = withResolvers<StreamResult>();
    this.end = promise;
    this.#stream = nativeAddon().startStream(
      request,
      (news) => this.#hear(news as NativeProgress),
      (fault, result) => {
        if (fault === null) resolve(this.#finish(result as NativeResult));
        else reject(this.#break(nativeFault(fault)));
      },
    );
  }

  /** One more target, which gets everything; its place, or undefined when the job is full or about to end: take another job then. */
  add(target: IscsiTarget, watch: TargetWatch): number | undefined {
    const place = this.#stream.add(target);
    if (place !== undefined) this.#watches[place] = watch;
    return place;
  }

  /** That target ends as cancelled; the others go on. */
  drop(place: number): void {
    this.#stream.drop(place);
  }

  cancel(): void {
    this.#cancelled = true;
    this.#stream.cancel();
  }

  #hear(news: NativeProgress): void {
    // After a cancel the caller wants to hear nothing but the end.
    if (this.#cancelled) return;
    this.#onProgress?.(news);
    for (const [place, target] of news.targets.entries()) {
      const watch = this.#watches[place];
      if (target.checkpoint !== undefined) watch?.onCheckpoint?.(target.checkpoint);
      watch?.onProgress?.(target, news.virtualSize);
      if (target.end !== undefined) this.#tell(place, resultOf(target.end));
    }
  }

  #finish(result: NativeResult): StreamResult {
    const targets = result.targets.map(resultOf);
    for (const [place, each] of targets.entries()) this.#tell(place, each);
    return { ...result, targets };
  }

  #break(fault: Fault): Fault {
    for (const place of this.#watches.keys()) this.#tell(place, { ok: false, fault });
    return fault;
  }

  #tell(place: number, result: TargetResult): void {
    const watch = this.#watches[place];
    this.#watches[place] = undefined;
    watch?.onEnd?.(result);
  }
}

function resultOf(result: NativeTargetResult): TargetResult {
  return result.ok ? result : { ok: false, fault: nativeFault(result.fault) };
}

/** Promise.withResolvers, which Node 20 lacks. */
function withResolvers<T>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: Fault) => void;
} {
  let settle: { resolve: (value: T) => void; reject: (reason: Fault) => void } | undefined;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  return { promise, resolve: (value) => settle?.resolve(value), reject: (reason) => settle?.reject(reason) };
}
