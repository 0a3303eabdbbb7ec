import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { test } from "node:test";
import { AgentClient } from "../../../src/client/agent-client.ts";
import { SystemClock } from "../../../src/core/clock.ts";
import { isFault } from "../../../src/core/fault.ts";
import { silentLog } from "../../../src/core/log.ts";
import { millis } from "../../../src/core/units.ts";

interface Command {
  id: string;
  command_name: string;
  command_status: string;
  command_result: object | null;
  command_error: object | null;
}

/** An agent written from IRONIC.md 3.15: async commands that end when asked for the second time. */
class FakeAgent implements AsyncDisposable {
  readonly commands: Command[] = [];
  readonly begun: string[] = [];
  token = "t".repeat(32);
  end: (command: Command) => void = (command) => {
    command.command_status = "SUCCEEDED";
    command.command_result = { done: command.command_name };
  };
  /** Answers lost on the way, by how many POSTs. */
  loseAnswers = 0;
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  static async open(): Promise<FakeAgent> {
    const agent = new FakeAgent();
    await new Promise<void>((resolve) => agent.#server.listen(0, "127.0.0.1", resolve));
    return agent;
  }

  get url(): string {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : "";
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const url = new URL(request.url ?? "", this.url);
    const reply = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    if (request.method === "GET" && url.pathname === "/v1/commands/") return reply(200, { commands: this.commands });
    if (request.method === "GET") {
      const command = this.commands.find((one) => url.pathname === `/v1/commands/${one.id}`);
      if (command === undefined) return reply(404, { faultstring: "no such command" });
      this.end(command);
      return reply(200, command);
    }
    if (url.searchParams.get("agent_token") !== this.token) return reply(401, { faultstring: "Token invalid." });
    if (this.commands.some((one) => one.command_status === "RUNNING"))
      return reply(409, { faultstring: "Agent is busy" });
    const { name } = JSON.parse(body) as { name: string };
    const command: Command = {
      id: `c${this.commands.length}`,
      command_name: name,
      command_status: "RUNNING",
      command_result: null,
      command_error: null,
    };
    this.commands.push(command);
    this.begun.push(name);
    if (this.loseAnswers > 0) {
      this.loseAnswers -= 1;
      request.socket.destroy();
      return undefined;
    }
    return reply(200, command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

const clock = new SystemClock();
const options = { signal: new AbortController().signal, log: silentLog, timeout: millis(20_000) };
const clientOf = (agent: FakeAgent, token = agent.token) =>
  new AgentClient({ address: { callbackUrl: agent.url, token, verifyCa: null }, clock });

test("a command runs to its end and gives its result", async () => {
  await using agent = await FakeAgent.open();
  assert.deepEqual(await clientOf(agent).run("standby.sync", {}, options), { done: "standby.sync" });
});

test("a command that already runs is joined, not begun again", async () => {
  await using agent = await FakeAgent.open();
  agent.commands.push({
    id: "old",
    command_name: "clean.execute_clean_step",
    command_status: "RUNNING",
    command_result: null,
    command_error: null,
  });
  await clientOf(agent).run("clean.execute_clean_step", {}, options);
  assert.deepEqual(agent.begun, []);
});

test("a request whose answer was lost is asked after, not repeated", async () => {
  await using agent = await FakeAgent.open();
  agent.loseAnswers = 1;
  await clientOf(agent).run("clean.execute_clean_step", {}, options);
  assert.deepEqual(agent.begun, ["clean.execute_clean_step"]);
});

test("an agent that is busy with another command is waited for", async () => {
  await using agent = await FakeAgent.open();
  agent.commands.push({
    id: "other",
    command_name: "standby.sync",
    command_status: "RUNNING",
    command_result: null,
    command_error: null,
  });
  const running = clientOf(agent).run("image.install_bootloader", {}, options);
  await clock.sleep(millis(300));
  for (const command of agent.commands) command.command_status = "SUCCEEDED";
  await running;
  assert.deepEqual(agent.begun, ["image.install_bootloader"]);
});

test("a failed command is a refusal with the agent's words", async () => {
  await using agent = await FakeAgent.open();
  agent.end = (command) => {
    command.command_status = "FAILED";
    command.command_error = { type: "BlockDeviceError", code: 500, message: "no disk", details: "smaller than 4 GiB" };
  };
  await assert.rejects(
    clientOf(agent).run("iscsi.start_iscsi_target", {}, options),
    (error) => isFault(error) && error.kind === "refused" && /no disk: smaller than 4 GiB/.test(error.message),
  );
});

test("a wrong token is a refusal that does not name it", async () => {
  await using agent = await FakeAgent.open();
  await assert.rejects(
    clientOf(agent, "s3cret-token").run("standby.sync", {}, options),
    (error) => isFault(error) && error.code === "agent.http-401" && !error.message.includes("s3cret"),
  );
});

test("a command that does not end in time is a timeout and leaves nothing open", async () => {
  await using agent = await FakeAgent.open();
  agent.end = () => {};
  await assert.rejects(
    clientOf(agent).run("clean.execute_clean_step", {}, { ...options, timeout: millis(300) }),
    (error) => isFault(error) && error.kind === "timeout",
  );
});
