import { Fault, MalformedFault } from "../../core/fault.ts";
import {
  CIPHER_SUITE_CHUNK,
  decodeCipherSuiteRecords,
  getChannelCipherSuites,
} from "./command/get-channel-cipher-suites.ts";
import { completionFault } from "./completion-code.ts";
import { waitOf, type ExchangeInput, type ExchangeStep, type RetryPlan } from "./exchange.ts";
import { decodeSessionPacket, encodeSessionPacket } from "./session-packet.ts";
import { encodeRequestMessage } from "./request-message.ts";
import { decodeSessionlessAnswer } from "./sessionless-answer.ts";

/** The list index has six bits. @source IPMI 2.0 table 22-17 */
const MOST_CHUNKS = 64;

/** Asks a BMC, outside any session, which cipher suites it offers. Many do not answer this; then it fails with `timeout`. */
export interface CipherSuiteInquiry {
  readonly plan: RetryPlan;
  readonly attempt: number;
  readonly rqSeq: number;
  readonly index: number;
  readonly records: Uint8Array;
}

/** Their numbers, in the BMC's order. */
export type OfferedSuites = readonly number[];

type Step = ExchangeStep<CipherSuiteInquiry, OfferedSuites>;

export function beginCipherSuiteInquiry(plan: RetryPlan): CipherSuiteInquiry {
  return { plan, attempt: 0, rqSeq: 0, index: 0, records: new Uint8Array(0) };
}

export function advanceCipherSuiteInquiry(state: CipherSuiteInquiry, input: ExchangeInput): Step {
  switch (input.kind) {
    case "start":
      return send(state);
    case "timeout":
      if (state.attempt < state.plan.attempts) return send(state);
      return fail(state, new Fault("timeout", "ipmi.timeout", "the BMC does not tell which cipher suites it offers"));
    case "packet":
      try {
        return receive(state, input.bytes);
      } catch (error) {
        if (!(error instanceof MalformedFault)) throw error;
        return drop(state, error.message, true);
      }
  }
}

function send(state: CipherSuiteInquiry): Step {
  const next = { ...state, attempt: state.attempt + 1, rqSeq: (state.rqSeq + 1) % 64 };
  // In an RMCP+ packet of session 0: BMCs that know the command know the form, and it is what ipmitool sends.
  const payload = encodeRequestMessage(getChannelCipherSuites, { index: state.index }, next.rqSeq);
  const bytes = encodeSessionPacket({ type: "ipmi", encrypted: false, sessionId: 0, sequence: 0, payload });
  return {
    state: next,
    outputs: [
      { kind: "send", bytes },
      { kind: "arm", after: waitOf(state.plan, next.attempt) },
    ],
  };
}

function receive(state: CipherSuiteInquiry, bytes: Uint8Array): Step {
  const packet = decodeSessionPacket(bytes, 0);
  if (packet.kind !== "2.0" || packet.type !== "ipmi" || packet.encrypted || packet.sessionId !== 0) {
    return drop(state, "a packet of another exchange", false);
  }
  const answer = decodeSessionlessAnswer(getChannelCipherSuites, state.rqSeq, packet.payload);
  if (answer.kind === "other") return drop(state, "an answer to another request", false);
  if (answer.kind === "refused") {
    return fail(state, completionFault(answer.completionCode, getChannelCipherSuites.name));
  }
  const records = Uint8Array.from([...state.records, ...answer.response]);
  if (answer.response.length >= CIPHER_SUITE_CHUNK && state.index + 1 < MOST_CHUNKS) {
    return send({ ...state, records, index: state.index + 1, attempt: 0 });
  }
  const result = decodeCipherSuiteRecords(records).map(({ id }) => id);
  return { state, outputs: [{ kind: "done", result }] };
}

function drop(state: CipherSuiteInquiry, reason: string, malformed: boolean): Step {
  return { state, outputs: [{ kind: "ignored", reason, malformed }] };
}

function fail(state: CipherSuiteInquiry, fault: Fault): Step {
  return { state, outputs: [{ kind: "failed", fault }] };
}
