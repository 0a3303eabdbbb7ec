import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fault } from "../../../../src/core/fault.ts";
import { millis } from "../../../../src/core/units.ts";
import { cipherSuite } from "../../../../src/protocol/ipmi/cipher-suite.ts";
import { chassisControl } from "../../../../src/protocol/ipmi/command/chassis-control.ts";
import { getChassisStatus } from "../../../../src/protocol/ipmi/command/get-chassis-status.ts";
import type { IpmiCommand } from "../../../../src/protocol/ipmi/command.ts";
import type { ExchangeInput, ExchangeOutput } from "../../../../src/protocol/ipmi/exchange.ts";
import { decodeLanMessage, type LanMessage } from "../../../../src/protocol/ipmi/lan-message.ts";
import { advanceRequest, beginRequest, type RequestExchange } from "../../../../src/protocol/ipmi/request-exchange.ts";
import { emptyWindow } from "../../../../src/protocol/ipmi/sequence-window.ts";
import { open, type Session } from "../../../../src/protocol/ipmi/session.ts";
import { bmcEnd, response, sealAnswer, someKeys } from "./bmc-side.ts";

const iv = new Uint8Array(16).fill(5);
const plan = { attempts: 3, first: millis(1000), growth: 2 };

const fresh: Session = {
  suite: cipherSuite(3),
  keys: someKeys,
  consoleSessionId: 0x0a000001,
  managedSessionId: 0x0b000002,
  privilege: "ADMINISTRATOR",
  nextSequence: 1,
  inbound: emptyWindow,
  nextRequest: 1,
};

class Run<Response> {
  state: RequestExchange<Response>;
  outputs: readonly ExchangeOutput<Response>[] = [];
  #bmc: Session;

  constructor(session: Session, command: IpmiCommand<never, Response>, request: unknown, bmc = bmcEnd(session)) {
    this.state = beginRequest(session, command, request as never, plan);
    this.#bmc = bmc;
    this.feed({ kind: "start", iv });
  }

  feed(input: ExchangeInput): this {
    const step = advanceRequest(this.state, input);
    this.state = step.state;
    this.outputs = step.outputs;
    return this;
  }

  timeout(network?: Fault): this {
    return this.feed({ kind: "timeout", iv, network });
  }

  /** The request as the BMC opens it. */
  get request(): LanMessage {
    const output = this.outputs.find((one) => one.kind === "send");
    assert.ok(output?.kind === "send");
    const opened = open({ ...this.#bmc, inbound: emptyWindow }, output.bytes);
    assert.ok(opened.kind === "payload", JSON.stringify(opened));
    return decodeLanMessage(opened.payload);
  }

  answer(message: LanMessage): Uint8Array {
    const sealed = sealAnswer(this.#bmc, message);
    this.#bmc = sealed.end;
    return sealed.bytes;
  }

  packet(bytes: Uint8Array): this {
    return this.feed({ kind: "packet", bytes, iv });
  }

  get only(): ExchangeOutput<Response> {
    assert.equal(this.outputs.length, 1);
    return this.outputs[0] as ExchangeOutput<Response>;
  }
}

test("a request goes out once and its answer comes back decoded", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  assert.equal(run.request.netFn, 0);
  run.packet(run.answer(response(run.request, [0, 0x21, 0x10, 0x40])));
  assert.ok(run.only.kind === "done" && run.only.result.powerOn);
});

test("a read is sent again with the same rqSeq in a packet of its own, as often as the plan says; then ipmi.no-answer", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  const sequences = new Set<number>();
  for (let attempt = 0; attempt < 3; attempt += 1) {
    assert.equal(run.request.sequence, 1);
    sequences.add(run.state.session.nextSequence);
    run.timeout();
  }
  assert.equal(sequences.size, 3);
  assert.ok(
    run.only.kind === "failed" && run.only.fault.code === "ipmi.no-answer" && run.only.fault.kind === "timeout",
  );
});

test("an action is never sent twice: without an answer it is ipmi.unconfirmed", () => {
  const run = new Run(fresh, chassisControl, { action: "power-up" });
  const arm = run.outputs.find((one) => one.kind === "arm");
  assert.ok(arm?.kind === "arm" && arm.after === 4000, "it waits as long as a read waits at last");
  run.timeout();
  assert.ok(run.only.kind === "failed" && run.only.fault.code === "ipmi.unconfirmed");
});

test("a late answer to an earlier request is dropped, though it is genuine", () => {
  const first = new Run(fresh, getChassisStatus, undefined);
  const late = first.answer(response(first.request, [0, 0x01, 0, 0]));
  const second = new Run(first.state.session, getChassisStatus, undefined, bmcEnd(fresh));
  assert.equal(second.state.rqSeq, 2);
  second.packet(late);
  assert.equal(second.only.kind, "ignored");
});

test("the second of two copies of an answer is dropped by the next request", () => {
  const first = new Run(fresh, getChassisStatus, undefined);
  const answer = first.answer(response(first.request, [0, 0x01, 0, 0]));
  first.packet(answer);
  assert.equal(first.only.kind, "done");
  // rqSeq has six bits: after 64 requests the number alone would no longer tell.
  const later = new Run({ ...first.state.session, nextRequest: 1 }, getChassisStatus, undefined);
  later.packet(answer);
  assert.ok(later.only.kind === "ignored" && /repeated/.test(later.only.reason));
});

test("an answer to another command with the same rqSeq is dropped", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  const { request } = run;
  for (const other of [
    { ...request, command: 0x02 },
    { ...request, netFn: 6 },
    { ...request, sequence: 5 },
  ]) {
    run.packet(run.answer(response(other, [0, 1, 0, 0])));
    assert.equal(run.only.kind, "ignored");
  }
});

test("a completion code other than 0 ends the request with its fault", () => {
  const run = new Run(fresh, chassisControl, { action: "power-up" });
  run.packet(run.answer(response(run.request, [0xd4])));
  assert.ok(
    run.only.kind === "failed" && run.only.fault.code === "ipmi.completion.d4" && run.only.fault.kind === "refused",
  );
});

test("a busy BMC (C0h) did nothing and is asked again after the wait; at last the fault is busy", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  for (let attempt = 1; attempt < 3; attempt += 1) {
    run.packet(run.answer(response(run.request, [0xc0])));
    assert.equal(run.only.kind, "ignored");
    run.timeout();
  }
  run.packet(run.answer(response(run.request, [0xc0])));
  assert.ok(run.only.kind === "failed" && run.only.fault.kind === "busy");
});

test("an answer too short for its command is malformed and dropped; the retry may bring a whole one", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  const { request } = run;
  for (const data of [[], [0], [0, 1], [0, 1, 0]]) {
    run.packet(run.answer(response(request, data)));
    assert.ok(run.only.kind === "ignored" && run.only.malformed, JSON.stringify(data));
  }
  run.packet(run.answer(response(request, [0, 1, 0, 0])));
  assert.equal(run.only.kind, "done");
});

test("packets of another session, with a wrong code, or not encrypted are dropped", () => {
  const run = new Run(fresh, getChassisStatus, undefined);
  const message = response(run.request, [0, 1, 0, 0]);
  const foreign = bmcEnd({ ...fresh, consoleSessionId: 77 });
  const forged = bmcEnd({ ...fresh, keys: { ...someKeys, k1: new Uint8Array(20).fill(8) } });
  const plain = bmcEnd({ ...fresh, suite: { ...fresh.suite, confidentiality: "none" } });
  const naked = bmcEnd({ ...fresh, suite: { ...fresh.suite, integrity: "none", confidentiality: "none" } });
  for (const end of [foreign, forged, plain, naked]) {
    run.packet(sealAnswer(end, message).bytes);
    assert.ok(run.only.kind === "ignored");
  }
});
