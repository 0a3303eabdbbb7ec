import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { AgentClient } from "../../../src/client/agent-client.ts";
import { FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { isFault } from "../../../src/core/fault.ts";
import { type Log, silentLog } from "../../../src/core/log.ts";
import { millis } from "../../../src/core/units.ts";

const root = mkdtempSync(join(tmpdir(), "ironrack-agent-tls-"));
after(() => rmSync(root, { recursive: true }));

/** A self-signed certificate as the ramdisk's agent makes at its start: ECDSA P-256, named by an address. */
function certificate(name: string, address: string): { readonly key: string; readonly cert: string } {
  const [key, cert] = [join(root, `${name}.key`), join(root, `${name}.pem`)];
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "30",
      "-subj",
      `/CN=${address}`,
      "-addext",
      `subjectAltName=IP:${address}`,
      "-keyout",
      key,
      "-out",
      cert,
    ],
    { stdio: "pipe" },
  );
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

const ours = certificate("ours", "10.99.0.7"); // another address than the one it is reached at: the pin decides, not the name
const other = certificate("other", "127.0.0.1");
const TOKEN = "a-token-of-more-than-thirty-two-characters";

/** An agent that does every command at once, and what was asked of it. */
async function serve(identity: {
  readonly key: string;
  readonly cert: string;
}): Promise<AsyncDisposable & { readonly url: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer(identity, (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const command = {
      id: "1",
      command_name: "standby.sync",
      command_status: "SUCCEEDED",
      command_result: { ok: 1 },
      command_error: null,
    };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(request.method === "POST" ? command : { commands: [] }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** What the log was told, all of it. */
function keepingLog(): Log & { readonly text: () => string } {
  const lines: string[] = [];
  const keep = (...parts: unknown[]): void => void lines.push(JSON.stringify(parts));
  const log = { debug: keep, info: keep, warn: keep, error: keep, with: () => log, text: () => lines.join("\n") };
  return log;
}

const run = (url: string, verifyCa: string | null, log: Log, timeout = 5000): Promise<unknown> =>
  new AgentClient({ address: { callbackUrl: url, token: TOKEN, verifyCa }, clock: new SystemClock() }).run(
    "standby.sync",
    {},
    { signal: new AbortController().signal, log, timeout: millis(timeout) },
  );

test("the certificate that the agent sent with its heartbeat is accepted, whatever address it names", async () => {
  await using agent = await serve(ours);
  const log = keepingLog();
  assert.deepEqual(await run(agent.url, ours.cert, log), { ok: 1 });
  assert.ok(agent.asked.some((line) => line.startsWith("POST /v1/commands/") && line.includes(TOKEN)));
  assert.equal(log.text().includes(TOKEN), false);
});

test("a machine whose clock is years off is talked to: its certificate is pinned, not dated", async () => {
  const [config, key, request, cert] = ["ca.cnf", "dated.key", "dated.csr", "dated.pem"].map((name) =>
    join(root, name),
  ) as [string, string, string, string];
  writeFileSync(join(root, "index.txt"), "");
  writeFileSync(
    config,
    `[ca]\ndefault_ca=d\n[d]\ndatabase=${root}/index.txt\nnew_certs_dir=${root}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n`,
  );
  execFileSync(
    "openssl",
    [
      "req",
      "-new",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-subj",
      "/CN=127.0.0.1",
      "-keyout",
      key,
      "-out",
      request,
    ],
    { stdio: "pipe" },
  );
  execFileSync(
    "openssl",
    [
      "ca",
      "-batch",
      "-config",
      config,
      "-selfsign",
      "-keyfile",
      key,
      "-in",
      request,
      "-out",
      cert,
      "-notext",
      "-startdate",
      "20100101000000Z",
      "-enddate",
      "20100201000000Z",
    ],
    { stdio: "pipe" },
  );
  const dated = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  await using agent = await serve(dated);
  assert.deepEqual(await run(agent.url, dated.cert, silentLog), { ok: 1 });
});

test("another certificate than the pinned one is refused at once, before anything is asked, the token least of all", async () => {
  await using impostor = await serve(other);
  await assert.rejects(
    run(impostor.url, ours.cert, silentLog),
    (error) =>
      isFault(error) && error.kind === "refused" && error.code === "http.certificate" && !error.message.includes(TOKEN),
  );
  assert.deepEqual(impostor.asked, []);
});

test("a self-signed certificate without a pin is not trusted", async () => {
  await using impostor = await serve(other);
  await assert.rejects(
    run(impostor.url, null, silentLog, 1500),
    (error) => isFault(error) && (error.kind === "unreachable" || error.kind === "timeout"),
  );
  assert.deepEqual(impostor.asked, []);
});

test("what is no certificate cannot be pinned", async () => {
  await using agent = await serve(ours);
  await assert.rejects(
    run(agent.url, "-----BEGIN CERTIFICATE-----\nnonsense\n", silentLog),
    (error) => isFault(error) && error.kind === "invalid",
  );
});

test("an agent that speaks plain HTTP where it announced HTTPS gets no request", async () => {
  const { createServer: createPlain } = await import("node:http");
  const asked: string[] = [];
  const server = createPlain((request, response) => {
    asked.push(request.url ?? "");
    response.end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await assert.rejects(
      run(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, ours.cert, silentLog, 1500),
      isFault,
    );
    assert.deepEqual(asked, []);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test("a cancelled call ends at once with the signal's reason and leaves nothing armed", async () => {
  await using agent = await serve(ours);
  const clock = new FakeClock();
  const controller = new AbortController();
  controller.abort();
  const client = new AgentClient({ address: { callbackUrl: agent.url, token: TOKEN, verifyCa: ours.cert }, clock });
  await assert.rejects(
    client.run("standby.sync", {}, { signal: controller.signal, log: silentLog, timeout: millis(1000) }),
    (error) => isFault(error) && error.kind === "cancelled",
  );
  assert.equal(clock.pending, 0);
});
