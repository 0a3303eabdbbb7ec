import type { Clock } from "../core/clock.ts";
import { instant } from "../core/clock.ts";
import { Fault, toFault } from "../core/fault.ts";
import { isJsonObject, type JsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import type { Random } from "../core/random.ts";
import { seconds, type Millis } from "../core/units.ts";
import type { Catalogue } from "../conductor/catalogue.ts";
import type { Store } from "../domain/store.ts";
import { BackOff } from "../net/back-off.ts";
import { MqttConnection, type MqttMessage, type MqttServer } from "../net/mqtt-connection.ts";
import { siteTopics, type SiteTopics } from "../protocol/site-channel.ts";
import { CommandInbox } from "./command-inbox.ts";
import { EventPublisher } from "./event-publisher.ts";
import { FlapDetector } from "./flap-detector.ts";
import { NodePublisher } from "./node-publisher.ts";

export interface SiteSettings {
  readonly server: MqttServer;
  readonly site: string;
  readonly rack: string;
  /** How often the status is sent. Default 60 s. */
  readonly statusInterval?: Millis;
  /** Longest wait between two attempts to reach the broker. Default 60 s. */
  readonly longestBackOff?: Millis;
  /** How long the broker waits for us before it says that we are gone. Default 10 s. */
  readonly willDelay_s?: number;
}

export interface SiteSessionParts {
  readonly settings: SiteSettings;
  readonly catalogue: Pick<Catalogue, "execute" | "check" | "get">;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How the channel to the site does. */
export interface SiteSessionState {
  readonly connected: boolean;
  /** Since when it is so; null before the first connection. */
  readonly since: string | null;
  readonly lastError: string | null;
  /** Events that the site has not acknowledged. */
  readonly queuedEvents: number;
  /** Commands that wait or run. */
  readonly queuedCommands: number;
  /** Messages that were no command. */
  readonly malformed: number;
}

/** A connection that held so long was good: the next attempt comes at once. */
const GOOD = seconds(30);
const FIRST_BACK_OFF = seconds(1);
/** A broker that stays away is mentioned again after so long. */
const REMIND = seconds(600);

/** The rack's end of the command channel: commands in, answers, events, node states and the rack's own state out, through any outage. */
export class SiteSession implements AsyncDisposable {
  readonly #parts: SiteSessionParts;
  readonly #topics: SiteTopics;
  readonly #inbox: CommandInbox;
  readonly #stopping = new AbortController();
  readonly #flaps: FlapDetector;
  #connection: MqttConnection | undefined;
  #nodes: NodePublisher | undefined;
  #since: string | null = null;
  #lastError: string | null = null;
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: SiteSessionParts) {
    this.#parts = parts;
    this.#topics = siteTopics(parts.settings);
    this.#inbox = new CommandInbox(parts);
    this.#flaps = new FlapDetector(parts.clock);
  }

  /** Takes up unanswered commands and begins to look for the broker; returns at once. */
  start(): void {
    this.#inbox.start();
    this.#running ??= this.#run();
  }

  get state(): SiteSessionState {
    const { store } = this.#parts;
    return {
      connected: this.#connection !== undefined,
      since: this.#since,
      lastError: this.#lastError,
      queuedEvents: store.history.lastSeq - store.outbox.acknowledged,
      queuedCommands: this.#inbox.queued,
      malformed: this.#inbox.malformed,
    };
  }

  async #run(): Promise<void> {
    const { clock, log, random, settings } = this.#parts;
    const backOff = new BackOff({ first: FIRST_BACK_OFF, longest: settings.longestBackOff ?? seconds(60), random });
    let mentioned = -Infinity;
    while (!this.#stopping.signal.aborted) {
      let since: Millis | undefined;
      let fault: Fault;
      try {
        log.debug("mqtt.connecting", { peer: settings.server.url, attempt: backOff.attempts + 1 });
        await using connection = await this.#open();
        since = clock.now();
        this.#turned(connection, null);
        log.info("mqtt.connected", { peer: settings.server.url, session_present: connection.sessionPresent });
        fault = await this.#serve(connection);
      } catch (error) {
        fault = toFault(error);
      }
      this.#inbox.detach();
      this.#nodes = undefined;
      if (since !== undefined) this.#turned(undefined, fault.message);
      this.#lastError = fault.message;
      if (this.#stopping.signal.aborted) return;
      if (since !== undefined && clock.now() - since > GOOD) backOff.reset();
      // A broker that said why it ended the connection is believed.
      const unexplained = fault.kind === "unreachable" || fault.code === "broker.taken-over";
      const flapping = since !== undefined && unexplained && this.#flaps.ended(since);
      if (flapping) {
        const reason = `connections end right after they were accepted; is there another client with the id ${settings.server.clientId}?`;
        log.error("mqtt.failed", { peer: settings.server.url, code: "broker.flapping", reason });
      }
      const wait = backOff.next();
      if (since !== undefined || clock.now() - mentioned > REMIND) {
        mentioned = clock.now();
        const event = since === undefined ? "mqtt.failed" : "mqtt.disconnected";
        log.warn(event, { peer: settings.server.url, code: fault.code, reason: fault.message, retry_ms: wait });
      }
      await clock.sleep(wait, this.#stopping.signal).catch(() => undefined);
    }
  }

  #open(): Promise<MqttConnection> {
    const { settings, clock } = this.#parts;
    return MqttConnection.open(
      {
        server: settings.server,
        will: {
          topic: this.#topics.status,
          payload: JSON.stringify({ online: false }),
          delay_s: settings.willDelay_s ?? 10,
        },
        onMessage: async (message) => await this.#receive(message),
        clock,
      },
      this.#stopping.signal,
    );
  }

  #turned(connection: MqttConnection | undefined, error: string | null): void {
    this.#connection = connection;
    this.#since = instant(this.#parts.clock);
    this.#lastError = error;
  }

  async #receive(message: MqttMessage): Promise<void> {
    if (message.topic === this.#topics.command) await this.#inbox.accept(message);
    // What the broker kept is answered by publishing, whose acknowledgement comes through this same handler's queue: not awaited.
    else this.#nodes?.tidy(message).catch(() => undefined);
  }

  /** Serves one connection to its end, which it returns. */
  async #serve(connection: MqttConnection): Promise<Fault> {
    const { store, log } = this.#parts;
    const done = new AbortController();
    const signal = AbortSignal.any([this.#stopping.signal, connection.ended, done.signal]);
    const nodes = new NodePublisher({ connection, nodes: store.nodes, topics: this.#topics });
    const events = new EventPublisher({ connection, topic: this.#topics.event, nodes, store, log });
    this.#nodes = nodes;
    this.#inbox.attach(connection);
    try {
      // "Online" means that a command sent now arrives.
      await connection.subscribe([this.#topics.command, this.#topics.nodes]);
      await this.#sendStatus(connection);
      await nodes.refreshAll();
      await Promise.race([events.run(signal), this.#repeatStatus(connection, nodes, signal)]);
    } catch (error) {
      if (this.#stopping.signal.aborted) await this.#takeLeave(connection);
      return toFault(error);
    } finally {
      done.abort(new Fault("cancelled", "mqtt.done", "the connection is over"));
    }
    return new Fault("internal", "mqtt.ended", "the publisher ended without a reason");
  }

  async #repeatStatus(connection: MqttConnection, nodes: NodePublisher, signal: AbortSignal): Promise<never> {
    const { clock, settings } = this.#parts;
    for (;;) {
      await clock.sleep(settings.statusInterval ?? seconds(60), signal);
      await this.#sendStatus(connection);
      // Nodes change also without an event, such as by a heartbeat that ends a waiting.
      await nodes.refreshAll();
    }
  }

  async #sendStatus(connection: MqttConnection): Promise<void> {
    const { catalogue, clock } = this.#parts;
    const { signal } = this.#stopping;
    const known = catalogue.get("conductor.status") !== undefined;
    const answer = known
      ? await catalogue.execute({ method: "conductor.status", params: {}, role: "operator" }, { signal })
      : undefined;
    const about: JsonObject = answer?.ok === true && isJsonObject(answer.result) ? answer.result : {};
    const payload = JSON.stringify({ ...about, online: true, time: instant(clock) });
    await connection.publish({ topic: this.#topics.status, payload, qos: 1, retain: true });
  }

  async #takeLeave(connection: MqttConnection): Promise<void> {
    using patience = this.#parts.clock.deadline(seconds(1));
    const late = new Promise<void>((resolve) =>
      patience.signal.addEventListener("abort", () => resolve(), { once: true }),
    );
    const payload = JSON.stringify({ online: false, reason: "stopped", time: instant(this.#parts.clock) });
    const said = connection
      .publish({ topic: this.#topics.status, payload, qos: 1, retain: true })
      .catch(() => undefined);
    await Promise.race([said, late]);
  }

  /** Lets running commands end and their answers out, says goodbye, and closes. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#inbox.close();
    this.#stopping.abort(new Fault("cancelled", "daemon.stopping", "the daemon stops"));
    await this.#running;
  }
}
