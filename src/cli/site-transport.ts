import type { Clock } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import { isJsonObject, type Json, type JsonObject } from "../core/json.ts";
import type { Random } from "../core/random.ts";
import { millis, seconds } from "../core/units.ts";
import type { HistoryEntry } from "../domain/history.ts";
import { BackOff } from "../net/back-off.ts";
import { MqttConnection, type MqttMessage, type MqttServer } from "../net/mqtt-connection.ts";
import { decodeReply, encodeRequest, parseJson, resultOf, type RpcReply } from "../protocol/json-rpc.ts";
import { siteTopics, type SiteTopics } from "../protocol/site-channel.ts";
import { parseEvent, parseEventList } from "./event-json.ts";
import type { CallOptions, Transport } from "./transport.ts";

export interface SiteTransportParts {
  readonly server: MqttServer;
  readonly site: string;
  readonly rack: string;
  readonly clock: Clock;
  readonly random: Random;
}

const CALL_TIMEOUT = seconds(120);
/** A broker that never answered is given up after so long: its address is probably wrong. */
const FIRST_CONNECT = seconds(15);
/** After so long without an answer the command is sent again, with the same id: the rack carries it out once. */
const REPEAT = seconds(15);

/** Acts as the central site: JSON-RPC over MQTT 5, each command with an id, an expiry and a topic for its answer. */
export class SiteTransport implements Transport {
  readonly peer: string;
  readonly #parts: SiteTransportParts;
  readonly #topics: SiteTopics;
  readonly #replyTopic: string;
  readonly #waiting = new Map<string, (reply: RpcReply) => void>();
  readonly #listeners = new Set<(event: HistoryEntry) => void>();
  #connection: Promise<MqttConnection> | undefined;
  #everConnected = false;
  /** What the rack's retained status says. */
  #online: boolean | undefined;

  constructor(parts: SiteTransportParts) {
    this.#parts = parts;
    this.#topics = siteTopics(parts);
    this.#replyTopic = this.#topics.reply(parts.server.clientId);
    this.peer = `${parts.server.url} (${parts.site}/${parts.rack})`;
  }

  async call(method: string, params: JsonObject, options: CallOptions): Promise<Json> {
    const { clock, random } = this.#parts;
    using deadline = clock.deadline(options.timeout ?? CALL_TIMEOUT, options.signal);
    const id = random.uuid();
    const start = clock.now();
    const backOff = new BackOff({ first: millis(250), longest: seconds(5), random });
    const payload = encodeRequest({ id, method, params });
    let trouble: Fault | undefined;
    let sent = false;
    let answered: ((reply: RpcReply) => void) | undefined;
    const reply = new Promise<RpcReply>((resolve) => {
      answered = resolve;
    });
    if (answered !== undefined) this.#waiting.set(id, answered);
    try {
      for (;;) {
        try {
          const connection = await this.#connected(deadline.signal);
          const expiry_s = Math.max(1, Math.ceil(deadline.remaining() / 1000));
          await connection.publish({
            topic: this.#topics.command,
            payload,
            qos: 1,
            responseTopic: this.#replyTopic,
            correlation: Buffer.from(id),
            expiry_s,
          });
          sent = true;
          const got = await this.#within(reply, REPEAT, AbortSignal.any([deadline.signal, connection.ended]));
          if (got !== undefined) return resultOf(got);
        } catch (error) {
          const fault = toFault(error);
          if (deadline.signal.aborted || !this.#mayPass(fault, clock.now() - start)) throw fault;
          trouble = fault;
          await clock.sleep(backOff.next(), deadline.signal);
        }
      }
    } catch (error) {
      const fault = toFault(error);
      if (options.signal.aborted || !deadline.signal.aborted) throw fault;
      throw this.#noAnswer(sent, trouble);
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** The promise's value, or undefined when `patience` is over. @throws Fault the signal's reason */
  async #within(
    reply: Promise<RpcReply>,
    patience: ReturnType<typeof seconds>,
    signal: AbortSignal,
  ): Promise<RpcReply | undefined> {
    const stop = new AbortController();
    const timer = this.#parts.clock.sleep(patience, AbortSignal.any([signal, stop.signal])).then(() => undefined);
    timer.catch(() => undefined);
    try {
      return await Promise.race([reply, timer]);
    } finally {
      stop.abort();
    }
  }

  #noAnswer(sent: boolean, trouble: Fault | undefined): Fault {
    const { site, rack, server } = this.#parts;
    if (!sent)
      return trouble ?? new Fault("unreachable", "broker.unreachable", `the broker ${server.url} could not be reached`);
    const states = {
      true: "its status topic says that it is online",
      false: "its status topic says that it is offline",
      undefined: "it has no status topic; are --site and --rack right?",
    };
    const message = `rack ${site}/${rack} did not answer in time; ${states[`${this.#online}`]}`;
    return new Fault("timeout", "rack.silent", message, trouble === undefined ? {} : { cause: trouble });
  }

  /** Whether trouble with the broker is of the kind that passes. */
  #mayPass(fault: Fault, elapsed: number): boolean {
    if (fault.retry === "never" || fault.code === "broker.refused") return false;
    return this.#everConnected || elapsed < FIRST_CONNECT;
  }

  async #connected(signal: AbortSignal): Promise<MqttConnection> {
    for (;;) {
      const attempt = this.#connection;
      const present = await attempt?.catch(() => undefined);
      if (present !== undefined && !present.ended.aborted) return present;
      if (signal.aborted) throw toFault(signal.reason);
      // Another call may have begun a new one meanwhile; two with one client id would throw each other out.
      if (this.#connection === attempt) return await (this.#connection = this.#connect(signal));
    }
  }

  /** As #connected, through a broker that is away for a while. */
  async #reconnected(signal: AbortSignal): Promise<MqttConnection> {
    const { clock, random } = this.#parts;
    const backOff = new BackOff({ first: millis(250), longest: seconds(10), random });
    const start = clock.now();
    for (;;) {
      try {
        return await this.#connected(signal);
      } catch (error) {
        const fault = toFault(error);
        if (signal.aborted || !this.#mayPass(fault, clock.now() - start)) throw fault;
        await clock.sleep(backOff.next(), signal);
      }
    }
  }

  async #connect(signal: AbortSignal): Promise<MqttConnection> {
    const { server, clock } = this.#parts;
    const connection = await MqttConnection.open(
      { server, onMessage: async (message) => this.#receive(message), clock },
      signal,
    );
    this.#everConnected = true;
    await connection.subscribe([
      this.#replyTopic,
      this.#topics.status,
      ...(this.#listeners.size > 0 ? [this.#topics.event] : []),
    ]);
    return connection;
  }

  #receive(message: MqttMessage): void {
    const text = Buffer.from(message.payload).toString("utf8");
    try {
      if (message.topic === this.#topics.status) {
        const status = parseJson(text);
        this.#online = isJsonObject(status) && status["online"] === true;
        return;
      }
      if (message.topic === this.#topics.event) {
        const event = parseEvent(parseJson(text) as Json);
        for (const listener of this.#listeners) listener(event);
        return;
      }
      const reply = decodeReply(text);
      // An answer to a payload that the rack could not read has no id; the correlation data still says whose it is.
      const id =
        typeof reply.id === "string"
          ? reply.id
          : message.correlation === null
            ? ""
            : Buffer.from(message.correlation).toString("utf8");
      this.#waiting.get(id)?.(reply);
    } catch (error) {
      if (!isFault(error)) throw error; // Not ours: somebody else writes to this topic.
    }
  }

  async *events(after: number | undefined, signal: AbortSignal): AsyncIterable<HistoryEntry> {
    const queue: HistoryEntry[] = [];
    let wake: (() => void) | undefined;
    const listener = (event: HistoryEntry): void => {
      queue.push(event);
      wake?.();
    };
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => wake?.(), { once: true });
    try {
      let seq = after;
      let complete: MqttConnection | undefined;
      for (;;) {
        if (signal.aborted) throw toFault(signal.reason);
        const connection = await this.#reconnected(signal);
        if (complete !== connection) {
          // A connection that ends here is seen as ended in the next round.
          await connection.subscribe([this.#topics.event]).catch(() => undefined);
          // What was published before the subscription, or while the connection was away, is asked for.
          const missed: ReturnType<typeof parseEventList> = await this.#missed(seq, signal);
          yield* missed.events;
          seq = Math.max(seq ?? 0, missed.lastSeq);
          if (missed.events.length === 0) complete = connection;
          continue;
        }
        const next = queue.shift();
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            connection.ended.addEventListener("abort", () => resolve(), { once: true });
          });
        } else if (seq === undefined || next.seq > seq) {
          seq = next.seq;
          yield next;
        }
      }
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** The events after `seq`, none for undefined (from now on). A rack that is silent has nothing to tell before it comes back. */
  async #missed(seq: number | undefined, signal: AbortSignal): Promise<ReturnType<typeof parseEventList>> {
    try {
      const answer = await this.call(
        "event.list",
        { after: seq ?? Number.MAX_SAFE_INTEGER, limit: 500 },
        { signal, timeout: seconds(20) },
      );
      return parseEventList(answer);
    } catch (error) {
      if (!isFault(error) || error.kind !== "timeout") throw error;
      return { events: [], lastSeq: seq ?? 0 };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.[Symbol.asyncDispose]();
  }
}
