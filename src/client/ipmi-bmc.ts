import { throwIfAborted } from "../core/clock.ts";
import { isFault, type Fault } from "../core/fault.ts";
import { millis, type Millis } from "../core/units.ts";
import type { IpmiCommand } from "../protocol/ipmi/command.ts";
import { getDeviceId } from "../protocol/ipmi/command/get-device-id.ts";
import { NO_ANSWER } from "../protocol/ipmi/request-exchange.ts";
import type { IpmiCounters, IpmiParts } from "./ipmi-exchange.ts";
import { IpmiSession, type IpmiTarget, type IpmiWait } from "./ipmi-session.ts";

/** BMCs have four sessions or so, for everybody, and forget an idle one after 60 s: ours ends sooner and politely. */
const IDLE: Millis = millis(20_000);
/** An action is sent only in a session that has answered within this time; else a read goes first. */
const FRESH: Millis = millis(3_000);

/** What a program does at one BMC, one request after the other, over one session that is kept and re-opened. */
export class IpmiBmc implements AsyncDisposable {
  readonly target: IpmiTarget;
  readonly counters: IpmiCounters = { sent: 0, received: 0, ignored: 0, malformed: 0, timeouts: 0 };
  readonly #parts: IpmiParts;
  #session: IpmiSession | undefined;
  #tail: Promise<void> = Promise.resolve();
  #cancelIdle: (() => void) | undefined;
  /** The suite that the BMC accepted last: it is proposed first when the session is opened again. */
  #suite: number | undefined;
  #malformedTold = false;

  constructor(target: IpmiTarget, parts: IpmiParts) {
    this.target = target;
    this.#parts = parts;
  }

  /**
   * One request. A read or a write (which leaves the same state however often it is sent) goes on in a new session when
   * the BMC has lost the old one. An action is sent once: `ipmi.unconfirmed` means that its effect must be read back.
   */
  request<Request, Response>(
    command: IpmiCommand<Request, Response>,
    request: Request,
    wait: IpmiWait,
  ): Promise<Response> {
    return this.#queued(wait, () => this.#request(command, request, wait));
  }

  async #request<Request, Response>(
    command: IpmiCommand<Request, Response>,
    request: Request,
    wait: IpmiWait,
  ): Promise<Response> {
    const kept = this.#session;
    if (kept === undefined) return await this.#once(await this.#open(wait), command, request, wait);
    if (command.effect === "action") {
      const quiet = this.#parts.clock.now() - kept.answeredAt;
      if (quiet > FRESH) await this.#request(getDeviceId, undefined, wait);
      return await this.#once(this.#session ?? (await this.#open(wait)), command, request, wait);
    }
    try {
      return await this.#once(kept, command, request, wait);
    } catch (error) {
      if (!isFault(error) || error.code !== NO_ANSWER) throw error;
      this.#tell(wait, error);
      return await this.#once(await this.#open(wait), command, request, wait);
    }
  }

  /** A session that brought no answer is not used again. After a cancelled request it goes on: a late answer is known by its number. */
  async #once<Request, Response>(
    session: IpmiSession,
    command: IpmiCommand<Request, Response>,
    request: Request,
    wait: IpmiWait,
  ): Promise<Response> {
    try {
      return await session.request(command, request, wait);
    } catch (error) {
      const answered = isFault(error) && error.code.startsWith("ipmi.completion.");
      if (!answered && !wait.signal.aborted) {
        this.#session = undefined;
        await session.abandon();
      }
      throw error;
    } finally {
      if (this.counters.malformed > 0 && !this.#malformedTold) {
        this.#malformedTold = true;
        wait.log.warn("bmc.malformed", {
          peer: `${this.target.host}:${this.target.port}`,
          count: this.counters.malformed,
        });
      }
    }
  }

  async #open(wait: IpmiWait): Promise<IpmiSession> {
    const preferred = this.#suite;
    const suites =
      preferred === undefined
        ? this.target.cipherSuites
        : [preferred, ...this.target.cipherSuites.filter((suite) => suite !== preferred)];
    const session = await IpmiSession.open({ ...this.target, cipherSuites: suites }, this.#parts, this.counters, wait);
    this.#suite = session.cipherSuite;
    this.#session = session;
    return session;
  }

  #tell(wait: IpmiWait, fault: Fault): void {
    wait.log.info("bmc.retry", {
      peer: `${this.target.host}:${this.target.port}`,
      code: fault.code,
      reason: fault.message,
    });
  }

  /** Runs after all that was asked before; whoever is cancelled while waiting leaves the queue at once and does not run. */
  async #queued<T>(wait: IpmiWait, run: () => Promise<T>): Promise<T> {
    const place = this.#enqueue();
    try {
      await abortable(place.turn, wait.signal);
      this.#cancelIdle?.();
      return await run();
    } finally {
      this.#armIdle();
      place.done();
    }
  }

  /** A place in the queue: `turn` comes when all before are done, and who is behind waits for `done` as well. */
  #enqueue(): { readonly turn: Promise<void>; readonly done: () => void } {
    const turn = this.#tail;
    let done = (): void => {};
    const mine = new Promise<void>((resolve) => (done = resolve));
    this.#tail = turn.then(() => mine);
    return { turn, done };
  }

  #armIdle(): void {
    this.#cancelIdle?.();
    if (this.#session === undefined) return;
    this.#cancelIdle = this.#parts.clock.after(IDLE, () => void this.close());
  }

  /** Ends the session after what is under way; a later request opens one again. */
  async close(): Promise<void> {
    const place = this.#enqueue();
    try {
      await place.turn;
      this.#cancelIdle?.();
      const session = this.#session;
      this.#session = undefined;
      await session?.close();
    } finally {
      place.done();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Waits for `work` or for the abort, whichever comes first. @throws Fault the signal's reason */
async function abortable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  throwIfAborted(signal);
  let stop = (): void => {};
  const aborted = new Promise<void>((resolve) => {
    stop = resolve;
    signal.addEventListener("abort", stop, { once: true });
  });
  await Promise.race([work, aborted]);
  signal.removeEventListener("abort", stop);
  throwIfAborted(signal);
}
