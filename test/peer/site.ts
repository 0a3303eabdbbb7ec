import mqtt, { type IPublishPacket, type MqttClient } from "mqtt";
import type { JsonObject } from "../../src/core/json.ts";

/** The central site as somebody else would write it: mqtt.js by itself, none of our code. */
export class Site implements AsyncDisposable {
  readonly client: MqttClient;
  readonly messages: { readonly topic: string; readonly text: string; readonly packet: IPublishPacket }[] = [];
  #last = 0;

  private constructor(client: MqttClient) {
    this.client = client;
  }

  static async connect(url: string, topics: readonly string[] = ["ironrack/v1/s/r/#", "answers/#"]): Promise<Site> {
    const client = mqtt.connect(url, {
      protocolVersion: 5,
      clientId: `site-${process.pid}-${Math.floor(performance.now() * 1000)}`,
      clean: false,
      reconnectPeriod: 100,
      resubscribe: true,
      properties: { sessionExpiryInterval: 3600, receiveMaximum: 1000 },
    });
    const site = new Site(client);
    client.on("error", () => undefined);
    client.on("connect", () => (client.stream as unknown as { setNoDelay(on: boolean): void }).setNoDelay(true));
    client.on(
      "message",
      (topic, payload, packet) => void site.messages.push({ topic, text: payload.toString("utf8"), packet }),
    );
    await new Promise<void>((resolve) => void client.once("connect", () => resolve()));
    await client.subscribeAsync([...topics], { qos: 1, rap: true, nl: true, rh: 0 } as const);
    return site;
  }

  /** Waits until the rack takes commands. */
  async online(): Promise<void> {
    await this.until((one) => one.topic.endsWith("/status") && one.text.includes('"online":true'));
  }

  /** Publishes a request; `answer` waits for what comes back with its correlation data. */
  async send(
    request: JsonObject | string,
    options: {
      readonly expiry_s?: number;
      readonly retain?: boolean;
      readonly topic?: string;
      readonly to?: string;
    } = {},
  ): Promise<{ answer(timeout?: number): Promise<JsonObject> }> {
    const correlation = `c${(this.#last += 1)}`;
    await this.client.publishAsync(
      options.topic ?? "ironrack/v1/s/r/command",
      typeof request === "string" ? request : JSON.stringify(request),
      {
        qos: 1,
        retain: options.retain ?? false,
        properties: {
          responseTopic: options.to ?? "answers/site",
          correlationData: Buffer.from(correlation),
          ...(options.expiry_s === undefined ? {} : { messageExpiryInterval: options.expiry_s }),
        },
      },
    );
    return {
      answer: async (timeout = 10_000) => {
        const found = await this.until(
          (one) =>
            one.packet.properties?.correlationData?.toString() === correlation && one.topic.startsWith("answers/"),
          timeout,
        );
        return JSON.parse(found.text) as JsonObject;
      },
    };
  }

  /** The first message that fits, already here or still to come. */
  async until(
    fits: (message: Site["messages"][number]) => boolean,
    timeout = 10_000,
  ): Promise<Site["messages"][number]> {
    const end = performance.now() + timeout;
    for (;;) {
      const found = this.messages.find(fits);
      if (found !== undefined) return found;
      if (performance.now() > end)
        throw new Error(
          `no such message; there were ${this.messages.length}, the last: ${this.messages.at(-1)?.text.slice(0, 200)}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.endAsync(true);
  }
}

/** Waits for a condition of the test. */
export async function eventually(what: string, holds: () => boolean, timeout = 15_000): Promise<void> {
  const end = performance.now() + timeout;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
