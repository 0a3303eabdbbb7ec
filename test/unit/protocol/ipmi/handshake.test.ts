import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../../../src/core/fault.ts";
import { millis } from "../../../../src/core/units.ts";
import type { ExchangeInput, ExchangeOutput } from "../../../../src/protocol/ipmi/exchange.ts";
import {
  advanceHandshake,
  beginHandshake,
  type Handshake,
  type HandshakeOptions,
} from "../../../../src/protocol/ipmi/handshake.ts";
import { decodeOpenSessionRequest } from "../../../../src/protocol/ipmi/open-session.ts";
import { decodeRakp3 } from "../../../../src/protocol/ipmi/rakp-message.ts";
import type { Session } from "../../../../src/protocol/ipmi/session.ts";
import { decodeSessionPacket } from "../../../../src/protocol/ipmi/session-packet.ts";
import { capabilitiesAnswer, contextFor, openAnswer, rakp2Answer, rakp4Answer } from "./bmc-side.ts";
import { bytesOf, capture, sameBytes } from "./golden-capture.ts";

const iv = new Uint8Array(16);

const options: HandshakeOptions = {
  username: Buffer.from("admin"),
  password: Buffer.from("secret"),
  bmcKey: undefined,
  privilege: "ADMINISTRATOR",
  suites: [17, 3],
  consoleSessionId: 0x0a0b0c00,
  consoleRandom: new Uint8Array(16).fill(0x77),
  plan: { attempts: 3, first: millis(1000), growth: 2 },
};

/** A handshake under way; each call feeds one input and keeps what came of it. */
class Run {
  state: Handshake;
  outputs: readonly ExchangeOutput<Session>[] = [];

  constructor(change: Partial<HandshakeOptions> = {}) {
    this.state = beginHandshake({ ...options, ...change });
    this.feed({ kind: "start", iv });
  }

  feed(input: ExchangeInput): this {
    const step = advanceHandshake(this.state, input);
    this.state = step.state;
    this.outputs = step.outputs;
    return this;
  }

  packet(bytes: Uint8Array): this {
    return this.feed({ kind: "packet", bytes, iv });
  }

  timeout(network?: Fault): this {
    return this.feed({ kind: "timeout", iv, network });
  }

  get sent(): Uint8Array {
    const output = this.outputs.find((one) => one.kind === "send");
    assert.ok(output?.kind === "send", `sends: ${JSON.stringify(this.outputs.map((one) => one.kind))}`);
    return output.bytes;
  }

  get waits(): number {
    const output = this.outputs.find((one) => one.kind === "arm");
    assert.ok(output?.kind === "arm");
    return output.after;
  }

  get fault(): Fault {
    const output = this.outputs.find((one) => one.kind === "failed");
    assert.ok(output?.kind === "failed", `fails: ${JSON.stringify(this.outputs.map((one) => one.kind))}`);
    return output.fault;
  }

  get ignored(): boolean {
    return this.outputs.length === 1 && this.outputs[0]?.kind === "ignored";
  }

  get phase(): string {
    return this.state.phase.kind;
  }

  get consoleSessionId(): number {
    return ((options.consoleSessionId & 0xffffff00) | this.state.tries) >>> 0;
  }

  toRakp1(): this {
    this.packet(capabilitiesAnswer(this.sent));
    this.packet(openAnswer(this.sent));
    assert.equal(this.phase, "rakp-1");
    return this;
  }
}

function suiteOf(bytes: Uint8Array): string {
  return decodeOpenSessionRequest(decodeSessionPacket(bytes, 0).payload).authentication;
}

for (const suite of [3, 8, 17]) {
  test(`opens a session with suite ${suite} in four exchanges`, () => {
    const run = new Run({ suites: [suite] }).toRakp1();
    const rakp1 = run.sent;
    const context = contextFor(rakp1, run.consoleSessionId, suite, "secret");
    run.packet(rakp2Answer(rakp1, context));
    assert.equal(run.phase, "rakp-3");
    run.packet(rakp4Answer(run.sent, context));
    const done = run.outputs[0];
    assert.ok(done?.kind === "done");
    assert.equal(done.result.suite.id, suite);
    assert.equal(done.result.managedSessionId, context.managedSessionId);
    assert.equal(done.result.nextSequence, 1);
  });
}

test("asks for the IPMI 2.0 form of the capabilities of this channel — IPMI 2.0 table 22-15", () => {
  const ours = decodeSessionPacket(new Run().sent, 0);
  const theirs = decodeSessionPacket(bytesOf(capture("suite-3-power").packets[0] ?? { hex: "" }), 0);
  // ipmitool counts rqSeq from 0 and we from 1: rqSeq and its checksum differ.
  const mask = (bytes: Uint8Array): Uint8Array =>
    bytes.map((byte, at) => (at === 4 || at === bytes.length - 1 ? 0 : byte));
  sameBytes(mask(ours.payload), mask(theirs.payload));
});

test("a packet that stays unanswered is sent again with a new tag, waiting longer each time, and no more often than the plan says", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent));
  const tags = new Set<number>();
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    tags.add(decodeOpenSessionRequest(decodeSessionPacket(run.sent, 0).payload).tag);
    waits.push(run.waits);
    run.timeout();
  }
  assert.equal(tags.size, 3);
  assert.deepEqual(waits, [1000, 2000, 4000]);
});

test("an answer to an earlier packet is dropped", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent));
  const late = openAnswer(run.sent);
  run.timeout();
  assert.ok(run.packet(late).ignored);
  assert.equal(run.phase, "open-session");
});

test("a BMC that says nothing at all is a timeout; one whose port is closed is unreachable", () => {
  const silent = new Run().timeout().timeout().timeout();
  assert.equal(silent.fault.kind, "timeout");
  assert.equal(silent.fault.code, "ipmi.timeout");
  const refused = new Fault("unreachable", "udp.unreachable", "nothing listens on the port");
  const closed = new Run().timeout(refused).timeout(refused).timeout(refused);
  assert.equal(closed.fault.kind, "unreachable");
  assert.match(closed.fault.message, /nothing listens/);
});

test("a suite that the BMC refuses is followed by the next; refusing all is the fault ipmi.rakp.11 and names them", () => {
  for (const status of [0x04, 0x05, 0x10, 0x11]) {
    const run = new Run();
    run.packet(capabilitiesAnswer(run.sent));
    assert.equal(suiteOf(run.sent), "rakp-hmac-sha256");
    run.packet(openAnswer(run.sent, { kind: "refused", status }));
    assert.equal(suiteOf(run.sent), "rakp-hmac-sha1");
    run.packet(openAnswer(run.sent, { kind: "refused", status: 0x11 }));
    assert.equal(run.fault.kind, "refused");
    assert.equal(run.fault.code, "ipmi.rakp.11");
    assert.match(run.fault.message, /asked for 17, 3/);
  }
});

test("the refusal of suite 17 by ipmi_sim, as captured, leads to suite 3", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent));
  const refusal = bytesOf(capture("suite-17-refused").packets[3] ?? { hex: "" });
  // The captured answer echoes ipmitool's tag; ours differs.
  refusal[16] = run.state.tag;
  run.packet(refusal);
  assert.equal(suiteOf(run.sent), "rakp-hmac-sha1");
});

test("a BMC that is silent about a suite is asked for the next", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent));
  run.timeout().timeout().timeout();
  assert.equal(suiteOf(run.sent), "rakp-hmac-sha1");
});

test("a BMC that answers with weaker algorithms than asked for is not followed", () => {
  const run = new Run({ suites: [17] });
  run.packet(capabilitiesAnswer(run.sent));
  run.packet(openAnswer(run.sent, { integrity: "none", confidentiality: "none" }));
  assert.equal(run.fault.code, "ipmi.rakp.11");
});

test("a BMC of IPMI 1.5 alone is told apart: ipmi.no-rmcp-plus", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent, [0, 1, 0x04, 0x04, 0, 0, 0, 0, 0]));
  assert.equal(run.fault.code, "ipmi.no-rmcp-plus");
  assert.equal(run.fault.kind, "refused");
});

test("a BMC that refuses the question for its capabilities is asked for a session all the same", () => {
  const run = new Run();
  run.packet(capabilitiesAnswer(run.sent, [0xcc]));
  assert.equal(run.phase, "open-session");
});

test("user, privilege, want of slots: each status is a fault of its own", () => {
  for (const [status, kind, words] of [
    [0x0d, "refused", /ipmi_username/],
    [0x0a, "refused", /ipmi_priv_level/],
    [0x09, "refused", /ipmi_priv_level/],
    [0x01, "busy", /no free session/],
  ] as const) {
    const run = new Run().toRakp1();
    const context = contextFor(run.sent, run.consoleSessionId, 17, "secret");
    run.packet(rakp2Answer(run.sent, context, { kind: "refused", status }));
    assert.equal(run.fault.kind, kind);
    assert.equal(run.fault.code, `ipmi.rakp.${status.toString(16).padStart(2, "0")}`);
    assert.match(run.fault.message, words);
  }
});

test("a wrong password is seen in RAKP 2, and the BMC is told to forget the session — IPMI 2.0 §13.22", () => {
  const run = new Run().toRakp1();
  const context = contextFor(run.sent, run.consoleSessionId, 17, "another");
  run.packet(rakp2Answer(run.sent, context));
  assert.equal(run.fault.code, "ipmi.rakp.0f");
  assert.match(run.fault.message, /password is wrong/);
  assert.ok(!run.fault.message.includes("secret"));
  assert.equal(decodeRakp3(decodeSessionPacket(run.sent, 0).payload).status, 0x0f);
});

test("a wrong or missing K_G is told apart from a wrong password: ipmi.kg", () => {
  const key = new Uint8Array(20).fill(5);
  const missing = new Run().toRakp1();
  let context = contextFor(missing.sent, missing.consoleSessionId, 17, "secret", key);
  missing.packet(rakp2Answer(missing.sent, context));
  missing.packet(rakp4Answer(missing.sent, context));
  assert.equal(missing.fault.code, "ipmi.kg");
  assert.match(missing.fault.message, /set ipmi_hex_kg_key/);
  const useless = new Run({ bmcKey: key }).toRakp1();
  context = contextFor(useless.sent, useless.consoleSessionId, 17, "secret");
  useless.packet(rakp2Answer(useless.sent, context));
  useless.packet(rakp4Answer(useless.sent, context));
  assert.equal(useless.fault.code, "ipmi.kg");
  const right = new Run({ bmcKey: key }).toRakp1();
  context = contextFor(right.sent, right.consoleSessionId, 17, "secret", key);
  right.packet(rakp2Answer(right.sent, context));
  right.packet(rakp4Answer(right.sent, context));
  assert.equal(right.outputs[0]?.kind, "done");
});

test("a BMC that lost the session between packets is asked for another, under another id, and four times at most", () => {
  const run = new Run().toRakp1();
  for (const expected of ["open-session", "open-session", "open-session", "open-session", "over"]) {
    const context = contextFor(run.sent, run.consoleSessionId, 17, "secret");
    run.packet(rakp2Answer(run.sent, context, { kind: "refused", status: 0x02 }));
    assert.equal(run.phase, expected);
    if (expected === "open-session") {
      const request = decodeOpenSessionRequest(decodeSessionPacket(run.sent, 0).payload);
      assert.equal(request.consoleSessionId, run.consoleSessionId);
      run.packet(openAnswer(run.sent));
    }
  }
  assert.equal(run.fault.code, "ipmi.rakp.02");
});

test("a complaint about RAKP 3's code after RAKP 2 proved the password is a lost login, never a wrong password", () => {
  const run = new Run().toRakp1();
  for (let start = 0; start < 5; start += 1) {
    const context = contextFor(run.sent, run.consoleSessionId, 17, "secret");
    run.packet(rakp2Answer(run.sent, context));
    run.packet(rakp4Answer(run.sent, context, 0x0f));
    if (run.phase === "open-session") run.packet(openAnswer(run.sent));
  }
  assert.equal(run.fault.code, "ipmi.login-lost");
  assert.equal(run.fault.kind, "protocol");
});

test("an answer of another kind, to another session, or to nobody is dropped at each phase", () => {
  const run = new Run();
  const first = capabilitiesAnswer(run.sent);
  run.packet(first);
  assert.ok(run.packet(first).ignored, "a second answer about capabilities");
  run.timeout();
  const open = openAnswer(run.sent);
  assert.ok(run.packet(openAnswer(run.sent, { consoleSessionId: 99 })).ignored);
  run.packet(open);
  assert.ok(run.packet(open).ignored, "a second answer to Open Session");
  run.timeout();
  const context = contextFor(run.sent, run.consoleSessionId, 17, "secret");
  assert.ok(run.packet(rakp2Answer(run.sent, context, { consoleSessionId: 99 })).ignored);
  assert.equal(run.phase, "rakp-1");
});

test("what is not of the format is dropped as malformed and changes nothing", () => {
  const run = new Run().toRakp1();
  const before = run.state;
  for (const bytes of [
    new Uint8Array(0),
    Uint8Array.of(6, 0, 0xff, 7),
    new Uint8Array(60),
    Uint8Array.of(6, 0, 0xff, 7, 6, 0x13, 1),
  ]) {
    run.packet(bytes);
    assert.ok(run.ignored);
    assert.ok(run.outputs[0]?.kind === "ignored" && run.outputs[0].malformed);
  }
  assert.equal(run.state, before);
});
