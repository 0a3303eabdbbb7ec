import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from "mqtt";
import type { Clock } from "../core/clock.ts";
import { Fault, isFault, toFault } from "../core/fault.ts";
import type { Secret } from "../core/secret.ts";
import { millis, seconds } from "../core/units.ts";

/** Where the broker is and who we are to it. */
export interface MqttServer {
  /** `mqtt://host[:1883]` or `mqtts://host[:8883]`. */
  readonly url: string;
  readonly clientId: string;
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
  /** PEM; with mqtts. `ca` replaces the system's authorities. */
  readonly tls?:
    | { readonly ca?: string | undefined; readonly cert?: string | undefined; readonly key?: Secret | undefined }
    | undefined;
  /** At most 30 s, so that a link that died without a word is seen within 45 s. */
  readonly keepalive_s: number;
  /** How long the broker keeps our subscriptions and what came for them while we are away; 0: a fresh session each time. */
  readonly sessionExpiry_s: number;
}

export interface MqttWill {
  readonly topic: string;
  readonly payload: string;
  /** The broker waits so long for us to come back before it speaks for us. */
  readonly delay_s: number;
}

/** One message that came, of MQTT 5. */
export interface MqttMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly responseTopic: string | null;
  readonly correlation: Uint8Array | null;
  /** Seconds that were left when it reached us. */
  readonly expiry_s: number | null;
}

export interface MqttPublish {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly qos: 0 | 1;
  readonly retain?: boolean;
  readonly responseTopic?: string;
  readonly correlation?: Uint8Array;
  readonly expiry_s?: number;
}

export interface MqttConnectionParts {
  readonly server: MqttServer;
  readonly will?: MqttWill;
  /** The PUBACK leaves when it resolves. When it rejects the connection ends, and the broker delivers again on the next. Must be quick. */
  readonly onMessage: (message: MqttMessage) => Promise<void>;
  readonly clock: Clock;
}

const CONNECT_TIMEOUT = seconds(15);
/** A broker that acknowledges nothing for so long, though its pings come, is as good as away. */
const ACK_TIMEOUT = seconds(60);
/** What the broker may send us at once and at most. */
const RECEIVE_MAXIMUM = 64;
const MAXIMUM_PACKET = 96 * 1024 * 1024;
/** Bytes of a packet beside topic and payload that we reckon with at most. */
const PACKET_OVERHEAD = 512;

/**
 * One connection to an MQTT 5 broker, from CONNACK to its end; coming back is the caller's work, with a new one. So nothing of an
 * old connection is left inside the library: a publish resolves at its PUBACK or rejects when the connection ends.
 */
export class MqttConnection implements AsyncDisposable {
  readonly sessionPresent: boolean;
  /** Payload bytes that the broker takes in one message, for a topic of usual length. */
  readonly largestPayload: number;
  readonly #client: MqttClient;
  readonly #clock: Clock;
  readonly #ended: AbortController;
  readonly #slots: Slots;
  /** How to reject what waits for the broker, when the connection ends. */
  readonly #waiting = new Set<(fault: Fault) => void>();

  private constructor(
    parts: { readonly client: MqttClient; readonly clock: Clock; readonly ended: AbortController },
    connack: { readonly sessionPresent: boolean; readonly properties?: ConnackProperties },
  ) {
    this.#client = parts.client;
    this.#clock = parts.clock;
    this.#ended = parts.ended;
    this.#ended.signal.addEventListener("abort", () => {
      for (const reject of this.#waiting) reject(toFault(this.#ended.signal.reason));
    });
    this.sessionPresent = connack.sessionPresent;
    this.largestPayload = (connack.properties?.maximumPacketSize ?? 256 * 1024 * 1024) - PACKET_OVERHEAD;
    this.#slots = new Slots(connack.properties?.receiveMaximum ?? 65_535);
  }

  /** @throws Fault unreachable, timeout, refused (the broker's reason code is in `detail.reason_code`), cancelled */
  static async open(parts: MqttConnectionParts, signal: AbortSignal): Promise<MqttConnection> {
    using deadline = parts.clock.deadline(CONNECT_TIMEOUT, signal);
    const client = mqtt.connect(parts.server.url, clientOptions(parts));
    let trouble: Fault | undefined;
    client.on("error", (error) => {
      trouble ??= brokerFault(error, parts.server.url);
      // After bytes that are not MQTT the library would only wait for the keepalive.
      client.stream.destroy();
    });
    client.on("disconnect", (packet) => {
      trouble ??= disconnected(packet.reasonCode ?? 0);
    });
    const ended = new AbortController();
    // The library sends the PUBACK after the callback. An error given to it would be swallowed, so we end the connection ourselves.
    client.handleMessage = (packet, acknowledge) => {
      parts.onMessage(message(packet)).then(
        () => acknowledge(),
        (error: unknown) => {
          trouble = toFault(error);
          client.stream.destroy();
        },
      );
    };
    try {
      return await new Promise<MqttConnection>((resolve, reject) => {
        const onAbort = (): void => reject(toFault(deadline.signal.reason));
        deadline.signal.addEventListener("abort", onAbort, { once: true });
        client.once("connect", (connack) => {
          noDelay(client);
          resolve(new MqttConnection({ client, clock: parts.clock, ended }, connack));
        });
        client.on("close", () => {
          const fault = trouble ?? new Fault("unreachable", "broker.gone", "the connection to the broker ended");
          reject(fault);
          ended.abort(fault);
        });
        if (deadline.signal.aborted) onAbort();
      });
    } catch (error) {
      client.end(true);
      throw error;
    }
  }

  /** Aborts when the connection is over; its reason is the fault that ended it. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Resolves when the broker has acknowledged it (QoS 1) or it is handed to the socket (QoS 0). @throws Fault unreachable, invalid when it is too large */
  async publish(publish: MqttPublish): Promise<void> {
    const size = typeof publish.payload === "string" ? Buffer.byteLength(publish.payload) : publish.payload.length;
    if (size > this.largestPayload) {
      throw new Fault(
        "invalid",
        "message.large",
        `a message of ${size} bytes; the broker takes ${this.largestPayload}`,
      );
    }
    if (publish.qos === 1) await this.#orEnd((resolve) => this.#slots.take(resolve));
    try {
      await this.#publish(publish);
    } finally {
      if (publish.qos === 1) this.#slots.give();
    }
  }

  /** Waits for `begin` to call back, or throws what ended the connection. */
  async #orEnd(begin: (resolve: () => void, reject: (fault: Fault) => void) => void): Promise<void> {
    this.#throwIfEnded();
    let onEnd: ((fault: Fault) => void) | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        onEnd = reject;
        this.#waiting.add(reject);
        begin(resolve, reject);
      });
    } finally {
      if (onEnd !== undefined) this.#waiting.delete(onEnd);
    }
  }

  async #publish(publish: MqttPublish): Promise<void> {
    const silent = (): void => this.#fail(new Fault("timeout", "broker.silent", "the broker acknowledges nothing"));
    const cancel = publish.qos === 1 ? this.#clock.after(ACK_TIMEOUT, silent) : undefined;
    const options = { qos: publish.qos, retain: publish.retain ?? false, properties: publishProperties(publish) };
    try {
      await this.#orEnd((resolve, reject) => {
        this.#client.publish(publish.topic, bufferOf(publish.payload), options, (error) => {
          if (error === undefined || error === null) resolve();
          else reject(brokerFault(error, "the broker"));
        });
      });
    } finally {
      cancel?.();
    }
  }

  /** Subscribes with QoS 1; messages of our own do not come back. @throws Fault refused, unreachable */
  async subscribe(topics: readonly string[], options: { readonly qos?: 0 | 1 } = {}): Promise<void> {
    await this.#orEnd((resolve, reject) => {
      this.#client.subscribe([...topics], { qos: options.qos ?? 1, nl: true, rap: true }, (error, granted) => {
        const refused = granted?.find((one) => one.qos >= 128);
        if (error !== null && error !== undefined) reject(brokerFault(error, "the broker"));
        else if (refused === undefined) resolve();
        else
          reject(
            new Fault("refused", "broker.subscribe", `the broker refuses a subscription to ${refused.topic}`, {
              retry: "later",
            }),
          );
      });
    });
  }

  /** Ends the connection for a reason of ours; the will is sent, since the broker is not told. */
  #fail(fault: Fault): void {
    this.#ended.abort(fault);
    this.#client.stream.destroy();
  }

  #throwIfEnded(): void {
    if (this.#ended.signal.aborted) throw toFault(this.#ended.signal.reason);
  }

  /** Takes its leave with DISCONNECT, so that the broker does not send the will. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended.signal.aborted) {
      using patience = this.#clock.deadline(millis(500));
      await new Promise<void>((resolve) => {
        patience.signal.addEventListener("abort", () => resolve(), { once: true });
        this.#ended.signal.addEventListener("abort", () => resolve(), { once: true });
        // With `force` false the library would wait for all that is unacknowledged; the packet is sent by itself instead.
        this.#client.disconnecting = true;
        const stream = this.#client.stream;
        stream.write(DISCONNECT, () => stream.end());
      });
    }
    this.#ended.abort(new Fault("cancelled", "broker.left", "the connection to the broker was closed"));
    this.#client.end(true);
  }
}

/** DISCONNECT, remaining length 0: reason "normal disconnection". @source MQTT 5.0 §3.14 */
const DISCONNECT = Buffer.from([0xe0, 0]);

interface ConnackProperties {
  readonly receiveMaximum?: number;
  readonly maximumPacketSize?: number;
}

/** Counts what is unacknowledged, so that the broker's Receive Maximum holds. @source MQTT 5.0 §3.3.4 */
class Slots {
  #free: number;
  readonly #queue: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  take(resolve: () => void): void {
    if (this.#free === 0) {
      this.#queue.push(resolve);
      return;
    }
    this.#free -= 1;
    resolve();
  }

  give(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

function clientOptions(parts: MqttConnectionParts): IClientOptions {
  const { server, will } = parts;
  return {
    protocolVersion: 5,
    clientId: server.clientId,
    clean: server.sessionExpiry_s === 0,
    keepalive: server.keepalive_s,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    connectTimeout: CONNECT_TIMEOUT,
    ...(server.username === undefined ? {} : { username: server.username }),
    ...(server.password === undefined ? {} : { password: server.password.reveal() }),
    ...(server.tls?.ca === undefined ? {} : { ca: server.tls.ca }),
    ...(server.tls?.cert === undefined ? {} : { cert: server.tls.cert }),
    ...(server.tls?.key === undefined ? {} : { key: server.tls.key.reveal() }),
    properties: {
      sessionExpiryInterval: server.sessionExpiry_s,
      receiveMaximum: RECEIVE_MAXIMUM,
      maximumPacketSize: MAXIMUM_PACKET,
    },
    ...(will === undefined
      ? {}
      : {
          will: {
            topic: will.topic,
            payload: Buffer.from(will.payload),
            qos: 1 as const,
            retain: true,
            properties: { willDelayInterval: will.delay_s, contentType: "application/json" },
          },
        }),
  };
}

function publishProperties(publish: MqttPublish): NonNullable<IPublishPacket["properties"]> {
  return {
    contentType: "application/json",
    ...(publish.responseTopic === undefined ? {} : { responseTopic: publish.responseTopic }),
    ...(publish.correlation === undefined ? {} : { correlationData: bufferOf(publish.correlation) }),
    ...(publish.expiry_s === undefined ? {} : { messageExpiryInterval: publish.expiry_s }),
  };
}

function bufferOf(value: string | Uint8Array): Buffer {
  return typeof value === "string" ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function message(packet: IPublishPacket): MqttMessage {
  const { properties } = packet;
  return {
    topic: packet.topic,
    payload: bufferOf(packet.payload),
    retain: packet.retain,
    dup: packet.dup,
    responseTopic: properties?.responseTopic ?? null,
    correlation: properties?.correlationData ?? null,
    expiry_s: properties?.messageExpiryInterval ?? null,
  };
}

/** mqtt.js leaves Nagle's algorithm on, which costs 40 ms on each PUBACK followed by a PUBLISH. */
function noDelay(client: MqttClient): void {
  const stream: unknown = client.stream;
  if (
    typeof stream === "object" &&
    stream !== null &&
    "setNoDelay" in stream &&
    typeof stream.setNoDelay === "function"
  ) {
    stream.setNoDelay(true);
  }
}

/** Reason codes that no repetition mends by itself, but an operator may. @source MQTT 5.0 §3.2.2.2 */
const REFUSALS: ReadonlyMap<number, string> = new Map([
  [0x84, "the broker does not speak MQTT 5"],
  [0x85, "the broker refuses the client id"],
  [0x86, "the broker refuses the user name or the password"],
  [0x87, "the broker says: not authorized"],
  [0x8a, "the broker has banned this client"],
  [0x8c, "the broker refuses the way of authentication"],
]);

function brokerFault(error: Error, where: string): Fault {
  if (isFault(error)) return error;
  const code: unknown = "code" in error ? error.code : undefined;
  if (typeof code === "number") {
    const refusal = REFUSALS.get(code);
    if (refusal !== undefined)
      return new Fault("refused", "broker.refused", refusal, {
        retry: "later",
        detail: { reason_code: code },
        cause: error,
      });
    return new Fault("unreachable", "broker.error", `the broker answered: ${error.message}`, {
      detail: { reason_code: code },
      cause: error,
    });
  }
  return new Fault(
    "unreachable",
    "broker.unreachable",
    `${where}: ${error.message || (typeof code === "string" ? code : error.name)}`,
    {
      cause: error,
    },
  );
}

function disconnected(reasonCode: number): Fault {
  if (reasonCode === 0x8e) {
    return new Fault("conflict", "broker.taken-over", "another client connected with the same client id", {
      retry: "later",
    });
  }
  return new Fault("unreachable", "broker.disconnect", `the broker ended the connection, reason ${reasonCode}`, {
    detail: { reason_code: reasonCode },
  });
}
