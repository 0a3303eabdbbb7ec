import assert from "node:assert/strict";
import { test } from "node:test";
import { MalformedFault } from "../../../../src/core/fault.ts";
import { SeededRandom, SystemRandom } from "../../../../src/core/random.ts";
import { millis } from "../../../../src/core/units.ts";
import { decodeAsf } from "../../../../src/protocol/ipmi/asf.ts";
import { decodeCipherSuiteRecords } from "../../../../src/protocol/ipmi/command/get-channel-cipher-suites.ts";
import { getChassisStatus } from "../../../../src/protocol/ipmi/command/get-chassis-status.ts";
import {
  advanceCipherSuiteInquiry,
  beginCipherSuiteInquiry,
} from "../../../../src/protocol/ipmi/cipher-suite-inquiry.ts";
import type { ExchangeInput } from "../../../../src/protocol/ipmi/exchange.ts";
import { advanceHandshake, beginHandshake } from "../../../../src/protocol/ipmi/handshake.ts";
import { decodeLanMessage } from "../../../../src/protocol/ipmi/lan-message.ts";
import { decodeOpenSessionRequest, decodeOpenSessionResponse } from "../../../../src/protocol/ipmi/open-session.ts";
import { decryptPayload } from "../../../../src/protocol/ipmi/payload-cipher.ts";
import { decodeRakp1, decodeRakp2, decodeRakp3, decodeRakp4 } from "../../../../src/protocol/ipmi/rakp-message.ts";
import { advanceRequest, beginRequest } from "../../../../src/protocol/ipmi/request-exchange.ts";
import { emptyWindow } from "../../../../src/protocol/ipmi/sequence-window.ts";
import { open, seal, type Session } from "../../../../src/protocol/ipmi/session.ts";
import { decodeSessionPacket } from "../../../../src/protocol/ipmi/session-packet.ts";
import { bmcEnd } from "./bmc-side.ts";
import { bytesOf, captures, contextOf, sessions } from "./golden-capture.ts";

const seed = Number(process.env["FUZZ_SEED"] ?? new SystemRandom().below(2 ** 31));
const random = new SeededRandom(seed);
const corpus = captures.flatMap((one) => one.packets.map(bytesOf));
const ROUNDS = Number(process.env["IRONRACK_FUZZ_ROUNDS"] ?? 3_000);

/** A captured packet with some bytes changed, cut, repeated or appended; or noise. */
function mutant(): Uint8Array {
  if (random.below(20) === 0) return random.bytes(random.below(120));
  const source = corpus[random.below(corpus.length)] ?? new Uint8Array(0);
  let bytes = source.slice();
  for (let change = random.below(4); change >= 0; change -= 1) {
    const at = random.below(bytes.length + 1);
    switch (random.below(4)) {
      case 0:
        if (at < bytes.length) bytes[at] = random.below(256);
        break;
      case 1:
        bytes = bytes.slice(0, at);
        break;
      case 2:
        bytes = Uint8Array.from([...bytes, ...random.bytes(random.below(20))]);
        break;
      default:
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...source.subarray(random.below(source.length))]);
    }
  }
  return bytes;
}

function onlyMalformed(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof MalformedFault)) throw error;
  }
}

test(`decoders answer anything with a value or MalformedFault (FUZZ_SEED=${seed})`, () => {
  const one = sessions[0] ?? assert.fail();
  const { keys } = contextOf(one);
  for (let round = 0; round < ROUNDS; round += 1) {
    const bytes = mutant();
    for (const codeLength of [0, 12, 16]) onlyMalformed(() => decodeSessionPacket(bytes, codeLength));
    onlyMalformed(() => decodeAsf(bytes));
    const payload = bytes.subarray(Math.min(bytes.length, 16));
    for (const decode of [
      decodeLanMessage,
      decodeOpenSessionRequest,
      decodeOpenSessionResponse,
      decodeRakp1,
      decodeRakp3,
      decodeRakp4,
      decodeCipherSuiteRecords,
    ]) {
      onlyMalformed(() => decode(payload));
    }
    onlyMalformed(() => decodeRakp2(payload, 20));
    onlyMalformed(() => decryptPayload(keys.k2, payload));
  }
});

test(`a handshake fed with anything never throws, never ends well, and sends no more than its plan allows (FUZZ_SEED=${seed})`, () => {
  const plan = { attempts: 3, first: millis(1), growth: 1 };
  for (let run = 0; run < 400; run += 1) {
    let state = beginHandshake({
      username: Buffer.from("admin"),
      password: Buffer.from("secret"),
      bmcKey: undefined,
      privilege: "ADMINISTRATOR",
      suites: [17, 3],
      consoleSessionId: 0xa0a2a300,
      consoleRandom: random.bytes(16),
      plan,
    });
    let sent = 0;
    let input: ExchangeInput = { kind: "start", iv: random.bytes(16) };
    for (let step = 0; step < 60; step += 1) {
      const next = advanceHandshake(state, input);
      state = next.state;
      sent += next.outputs.filter((output) => output.kind === "send").length;
      assert.ok(
        next.outputs.every((output) => output.kind !== "done"),
        "nobody knew the password",
      );
      if (next.outputs.some((output) => output.kind === "failed")) break;
      const iv = random.bytes(16);
      input =
        random.below(8) === 0
          ? { kind: "timeout", iv, network: undefined }
          : { kind: "packet", iv, bytes: tagged(mutant(), state.tag) };
    }
    assert.ok(sent <= 40, `${sent} packets`);
  }
});

/** Gives a packet of session setup the tag that is waited for, so that it gets past the first check. */
function tagged(bytes: Uint8Array, tag: number): Uint8Array {
  if (bytes.length > 16 && random.below(2) === 0) bytes[16] = tag;
  return bytes;
}

test(`a request fed with anything never throws and never takes it for the answer (FUZZ_SEED=${seed})`, () => {
  const one = sessions[0] ?? assert.fail();
  const { suite, keys } = contextOf(one);
  const session: Session = {
    suite,
    keys,
    consoleSessionId: 0xa0a2a3a4,
    managedSessionId: 2,
    privilege: "ADMINISTRATOR",
    nextSequence: 1,
    inbound: emptyWindow,
    nextRequest: 1,
  };
  let state = beginRequest(session, getChassisStatus, undefined, { attempts: 3, first: millis(1), growth: 1 });
  state = advanceRequest(state, { kind: "start", iv: random.bytes(16) }).state;
  for (let round = 0; round < ROUNDS; round += 1) {
    // Half of them genuine packets of the session with nonsense inside.
    const bytes =
      round % 2 === 0
        ? mutant()
        : seal({ ...bmcEnd(session), nextSequence: round + 1 }, random.bytes(random.below(40)), random.bytes(16)).bytes;
    const step = advanceRequest(state, { kind: "packet", bytes, iv: random.bytes(16) });
    state = step.state;
    assert.ok(step.outputs.every((output) => output.kind === "ignored"));
    onlyMalformed(() => open(session, bytes));
  }
});

test(`an inquiry for cipher suites fed with anything never throws and comes to an end (FUZZ_SEED=${seed})`, () => {
  for (let run = 0; run < 200; run += 1) {
    let state = beginCipherSuiteInquiry({ attempts: 2, first: millis(1), growth: 1 });
    let input: ExchangeInput = { kind: "start", iv: random.bytes(16) };
    let ended = false;
    for (let step = 0; step < 400 && !ended; step += 1) {
      const next = advanceCipherSuiteInquiry(state, input);
      state = next.state;
      ended = next.outputs.some((output) => output.kind === "done" || output.kind === "failed");
      const iv = random.bytes(16);
      input =
        random.below(20) === 0 ? { kind: "timeout", iv, network: undefined } : { kind: "packet", iv, bytes: mutant() };
    }
    assert.ok(ended);
  }
});
