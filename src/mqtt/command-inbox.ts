import type { Clock } from "../core/clock.ts";
import { instant } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import { isJsonObject } from "../core/json.ts";
import type { Log } from "../core/log.ts";
import { seconds } from "../core/units.ts";
import type { Catalogue } from "../conductor/catalogue.ts";
import type { CommandRecord } from "../domain/command-record.ts";
import type { Store } from "../domain/store.ts";
import type { MqttConnection, MqttMessage } from "../net/mqtt-connection.ts";
import { decodeCall, encodeReply, failed, type RpcId, type RpcOutcome, type RpcRequest } from "../protocol/json-rpc.ts";
import { orderingKeys } from "./ordering-keys.ts";
import { Turnstile } from "./turnstile.ts";

export interface CommandInboxParts {
  readonly catalogue: Pick<Catalogue, "execute" | "check">;
  readonly store: Pick<Store, "commands" | "nodes" | "ports" | "volumes" | "commit">;
  readonly clock: Clock;
  readonly log: Log;
  /** Commands that may wait for their turn; further ones are answered `busy`. Default 10 000. */
  readonly longestQueue?: number;
}

/** Where an answer goes. */
type Reply = NonNullable<CommandRecord["reply"]>;

/** A command's id: the caller's for ever, so a UUID or the like. */
const LONGEST_ID = 128;

/**
 * The site's commands. One that changes something is on disk before `accept` resolves, is carried out once, in order of arrival
 * for its node, and its answer is on disk before it is sent and is sent until the broker has it. The same id gets the same answer.
 * What only reads is answered at once and kept nowhere.
 */
export class CommandInbox {
  readonly #parts: CommandInboxParts;
  readonly #turnstile = new Turnstile();
  readonly #reads = new AbortController();
  /** Callers that repeated a command while it ran, from another topic. */
  readonly #alsoAsked = new Map<string, Reply[]>();
  /** Answers under way to the broker; not sent twice on one connection. */
  readonly #delivering = new Set<string>();
  #outlet: MqttConnection | undefined;
  #malformed = 0;
  #malformedLogged = -Infinity;

  constructor(parts: CommandInboxParts) {
    this.#parts = parts;
  }

  get queued(): number {
    return this.#turnstile.running;
  }

  /** Messages that were no command, since the start. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Takes up what was promised before the last stop. */
  start(): void {
    for (const record of this.#parts.store.commands.unanswered()) this.#enqueue(record);
  }

  /** Answers go out over `connection` from now on, beginning with those that nobody has acknowledged. */
  attach(connection: MqttConnection): void {
    this.#outlet = connection;
    this.#delivering.clear();
    for (const record of this.#parts.store.commands.undelivered()) void this.#deliver(record.id);
  }

  detach(): void {
    this.#outlet = undefined;
  }

  /** Lets what runs come to its end; what does not within a few seconds is carried out after the next start. */
  async close(): Promise<void> {
    this.#reads.abort(new Fault("cancelled", "daemon.stopping", "the daemon stops", { retry: "later" }));
    using patience = this.#parts.clock.deadline(seconds(5));
    const late = new Promise<void>((resolve) =>
      patience.signal.addEventListener("abort", () => resolve(), { once: true }),
    );
    await Promise.race([this.#turnstile.idle(), late]);
  }

  /** Resolves when the message may be acknowledged. @throws Fault storage: it must not be */
  async accept(message: MqttMessage): Promise<void> {
    const reply = replyOf(message);
    const request = this.#decode(message, reply);
    if (request === undefined) return;
    const { method, id } = request;
    const params = request.params ?? {};
    let changes: boolean;
    try {
      ({ changes } = this.#parts.catalogue.check({ method, params, role: "operator" }).command);
      if (changes) checkId(id);
    } catch (error) {
      this.#answer(reply, id, failed(toFault(error)));
      return;
    }
    if (!changes) {
      this.#parts.log.debug("mqtt.command", {
        id: id === undefined || id === null ? undefined : String(id),
        command: method,
      });
      void this.#read(request, reply, message.expiry_s);
      return;
    }
    await this.#journal({
      id: String(id),
      method,
      params: isJsonObject(params) ? params : {},
      receivedAt: instant(this.#parts.clock),
      expiresAt: this.#expiry(message.expiry_s),
      reply,
      answer: null,
      delivered: false,
    });
  }

  #decode(message: MqttMessage, reply: Reply | null): RpcRequest | undefined {
    const call = decodeCall(Buffer.from(message.payload).toString("utf8"));
    const [entry] = call.entries;
    if (entry === undefined) return undefined;
    let fault = "fault" in entry ? entry.fault : undefined;
    if (call.batch)
      fault = new Fault("invalid", "request.invalid", "a batch is not taken here; send each command by itself");
    // Else the broker would hand it out again at each connection, also after its answer was forgotten.
    if (message.retain)
      fault = new Fault("invalid", "request.retained", "a command must not be published with the retain flag");
    if (fault === undefined && !("fault" in entry)) return entry;
    this.#countMalformed(fault ?? new Fault("invalid", "request.invalid", "not a command"));
    if (fault !== undefined) this.#answer(reply, entry.id, failed(fault));
    return undefined;
  }

  #countMalformed(fault: Fault): void {
    this.#malformed += 1;
    const now = this.#parts.clock.now();
    if (now - this.#malformedLogged < seconds(60)) return;
    this.#malformedLogged = now;
    this.#parts.log.warn("mqtt.malformed", { code: fault.code, reason: fault.message, count: this.#malformed });
  }

  #expiry(expiry_s: number | null): string | null {
    if (expiry_s === null) return null;
    return new Date(this.#parts.clock.wall().getTime() + expiry_s * 1000).toISOString();
  }

  async #journal(record: CommandRecord): Promise<void> {
    const { store, log } = this.#parts;
    const known = store.commands.get(record.id);
    if (known !== undefined) {
      this.#repeated(known, record);
      return;
    }
    if (this.queued >= (this.#parts.longestQueue ?? 10_000)) {
      const busy = new Fault("busy", "command.queue", `${this.queued} commands wait; send it again later`);
      this.#answer(record.reply, record.id, failed(busy));
      return;
    }
    await store.commit((tx) => tx.commands.accept(record));
    log.info("mqtt.command", { id: record.id, command: record.method });
    this.#enqueue(record);
  }

  #repeated(known: CommandRecord, again: CommandRecord): void {
    if (known.method !== again.method) {
      const fault = new Fault(
        "conflict",
        "command.id",
        `the id was used before, for ${known.method}; each command needs its own`,
      );
      this.#answer(again.reply, again.id, failed(fault));
    } else if (known.answer !== null) {
      this.#answer(again.reply, again.id, known.answer);
    } else if (again.reply !== null && !sameReply(known.reply, again.reply)) {
      const others = this.#alsoAsked.get(known.id) ?? [];
      if (!others.some((one) => sameReply(one, again.reply))) this.#alsoAsked.set(known.id, [...others, again.reply]);
    }
  }

  #enqueue(record: CommandRecord): void {
    this.#turnstile.enter(orderingKeys(record.params ?? {}, this.#parts.store), () => this.#execute(record));
  }

  async #execute(record: CommandRecord): Promise<void> {
    const { catalogue, store, clock, log } = this.#parts;
    try {
      if (record.expiresAt !== null && Date.parse(record.expiresAt) <= clock.wall().getTime()) {
        const expired = new Fault(
          "timeout",
          "command.expired",
          "the command's message expired before its turn came; nothing was done",
        );
        log.warn("command.failed", { id: record.id, command: record.method, code: expired.code });
        const answer = failed(expired);
        await store.commit((tx) => tx.commands.answer(record.id, answer));
      } else {
        const { id, method, params } = record;
        // Not cancelled when we stop: its answer would be "cancelled" for ever, though it could still be carried out.
        const { signal } = new AbortController();
        await catalogue.execute({ id, method, params: params ?? {}, role: "operator" }, { signal });
      }
    } catch (error) {
      // The answer could not be stored. The record stays unanswered and is taken up at the next start.
      log.error("store.failed", { id: record.id, reason: toFault(error).message }, error);
      return;
    }
    const answer = store.commands.get(record.id)?.answer ?? null;
    for (const reply of this.#alsoAsked.get(record.id) ?? [])
      if (answer !== null) this.#answer(reply, record.id, answer);
    this.#alsoAsked.delete(record.id);
    await this.#deliver(record.id);
  }

  async #read(request: RpcRequest, reply: Reply | null, expiry_s: number | null): Promise<void> {
    using deadline = this.#parts.clock.deadline(seconds(expiry_s ?? 300), this.#reads.signal);
    const { method, params } = request;
    const answer = await this.#parts.catalogue.execute({ method, params: params ?? {}, role: "operator" }, deadline);
    this.#answer(reply, request.id, answer);
  }

  /** Sends an answer that is kept nowhere; when the connection is gone the caller asks again. */
  #answer(reply: Reply | null, id: RpcId | undefined, outcome: RpcOutcome): void {
    if (reply === null || this.#outlet === undefined) return;
    this.#publish(this.#outlet, reply, id ?? null, outcome).catch((error: unknown) =>
      this.#logUndelivered(String(id), toFault(error)),
    );
  }

  /** Sends a stored answer, and notes that the broker has it. */
  async #deliver(id: string): Promise<void> {
    const { store } = this.#parts;
    const record = store.commands.get(id);
    const outlet = this.#outlet;
    if (
      outlet === undefined ||
      record === undefined ||
      record.answer === null ||
      record.delivered ||
      record.reply === null
    )
      return;
    if (this.#delivering.has(id)) return;
    this.#delivering.add(id);
    try {
      await this.#publish(outlet, record.reply, id, record.answer);
    } catch (error) {
      const fault = toFault(error);
      this.#logUndelivered(id, fault);
      // A topic that the broker forbids will not become better; everything else is tried again on the next connection.
      if (fault.kind !== "refused") return;
    }
    try {
      await store.commit((tx) => tx.commands.delivered(id), { durable: false });
    } catch (error) {
      this.#parts.log.error("store.failed", { id, reason: toFault(error).message }, error);
    }
  }

  async #publish(outlet: MqttConnection, reply: Reply, id: RpcId, outcome: RpcOutcome): Promise<void> {
    const correlation = reply.correlation === null ? {} : { correlation: Buffer.from(reply.correlation, "base64") };
    try {
      await outlet.publish({ topic: reply.topic, payload: encodeReply({ id, outcome }), qos: 1, ...correlation });
    } catch (error) {
      if (!isFault(error) || error.code !== "message.large") throw error;
      await outlet.publish({
        topic: reply.topic,
        payload: encodeReply({ id, outcome: failed(error) }),
        qos: 1,
        ...correlation,
      });
    }
  }

  #logUndelivered(id: string, fault: Fault): void {
    this.#parts.log.debug("mqtt.failed", { id, code: fault.code, reason: fault.message });
  }
}

function checkId(id: RpcId | undefined): void {
  if (typeof id === "string" && id.length > 0 && id.length <= LONGEST_ID) return;
  throw new Fault(
    "invalid",
    "request.invalid",
    `id: must be a string of 1 to ${LONGEST_ID} characters that is never used again`,
  );
}

/** The reply address, if it is one: a topic with wildcards would make the broker throw us out. @source MQTT 5.0 §3.3.2.3.5 */
function replyOf(message: MqttMessage): Reply | null {
  const topic = message.responseTopic;
  if (topic === null || topic === "" || topic.length > 1024 || /[+#\0]/u.test(topic) || topic.startsWith("$"))
    return null;
  return {
    topic,
    correlation: message.correlation === null ? null : Buffer.from(message.correlation).toString("base64"),
  };
}

function sameReply(a: Reply | null, b: Reply | null): boolean {
  return a?.topic === b?.topic && a?.correlation === b?.correlation;
}
