import { Fault, MalformedFault } from "../../core/fault.ts";
import { authenticationAlgorithms, cipherSuite, type CipherSuite } from "./cipher-suite.ts";
import {
  getChannelAuthenticationCapabilities,
  type AuthenticationCapabilities,
} from "./command/get-channel-authentication-capabilities.ts";
import { waitOf, type ExchangeInput, type ExchangeOutput, type ExchangeStep, type RetryPlan } from "./exchange.ts";
import { encodeRequestMessage } from "./request-message.ts";
import { decodeSessionlessAnswer } from "./sessionless-answer.ts";
import { decodeOpenSessionResponse, encodeOpenSessionRequest } from "./open-session.ts";
import { privilegeLevels, type PrivilegeLevel } from "./privilege-level.ts";
import {
  deriveSessionKeys,
  rakp2Code,
  rakp3Code,
  rakp4Code,
  sameCode,
  type RakpContext,
  type SessionKeys,
} from "./rakp-keys.ts";
import { decodeRakp2, decodeRakp4, encodeRakp1, encodeRakp3 } from "./rakp-message.ts";
import { rakpFault, rakpStatus } from "./rakp-status.ts";
import { emptyWindow } from "./sequence-window.ts";
import type { Session } from "./session.ts";
import { decodeSessionPacket, encodePlainPacket, encodeSessionPacket, type PayloadType } from "./session-packet.ts";

/** Look the user up by name, whatever privilege the entry has: what all clients do. @source IPMI 2.0 table 13-11, byte 25 bit 4 */
const NAME_ONLY = 0x10;

export interface HandshakeOptions {
  readonly username: Uint8Array;
  readonly password: Uint8Array;
  readonly bmcKey: Uint8Array | undefined;
  readonly privilege: PrivilegeLevel;
  /** Tried in this order. */
  readonly suites: readonly number[];
  /** Random, with the lowest byte free for numbering the tries; 32 bits, not 0. */
  readonly consoleSessionId: number;
  /** Rm: 16 random bytes. */
  readonly consoleRandom: Uint8Array;
  readonly plan: RetryPlan;
}

/** "Invalid integrity check value": the code of RAKP 2, 3 or 4 is not what the other side computed. */
const WRONG_CODE = 0x0f;

/** What waits for an answer. */
type Phase =
  | { readonly kind: "capabilities" }
  | { readonly kind: "open-session" }
  | { readonly kind: "rakp-1"; readonly managedSessionId: number }
  | { readonly kind: "rakp-3"; readonly context: RakpContext; readonly keys: SessionKeys; readonly code: Uint8Array }
  | { readonly kind: "over" };

/** The opening of an RMCP+ session: capabilities, open session, RAKP 1 to 4, with retries and the choice of the suite. */
export interface Handshake {
  readonly options: HandshakeOptions;
  readonly phase: Phase;
  readonly suiteIndex: number;
  /** How often the current packet was sent. */
  readonly attempt: number;
  /** How often the opening began anew because the BMC lost track of it. */
  readonly restarts: number;
  /** Counts packets: each carries a new tag, so that an answer to an earlier one is never taken for the answer to the last. */
  readonly tag: number;
  /** Counts opened sessions: each gets its own id. */
  readonly tries: number;
  readonly capabilities: AuthenticationCapabilities | undefined;
  readonly network: Fault | undefined;
}

/** A path that repeats packets makes a BMC choose a new nonce after the console took the first: then only a new start helps. */
const MAX_RESTARTS = 4;

type Step = ExchangeStep<Handshake, Session>;

export function beginHandshake(options: HandshakeOptions): Handshake {
  return {
    options,
    phase: { kind: "capabilities" },
    suiteIndex: 0,
    attempt: 0,
    restarts: 0,
    tag: 0,
    tries: 0,
    capabilities: undefined,
    network: undefined,
  };
}

export function advanceHandshake(state: Handshake, input: ExchangeInput): Step {
  switch (input.kind) {
    case "start":
      return send(state);
    case "timeout": {
      const next = { ...state, network: input.network ?? state.network };
      return next.attempt < next.options.plan.attempts ? send(next) : silence(next);
    }
    case "packet":
      try {
        return receive(state, input.bytes);
      } catch (error) {
        if (!(error instanceof MalformedFault)) throw error;
        return drop(state, error.message, true);
      }
  }
}

function suiteOf(state: Handshake): CipherSuite {
  return cipherSuite(state.options.suites[state.suiteIndex] ?? 0);
}

function consoleSessionId(state: Handshake): number {
  return ((state.options.consoleSessionId & 0xffffff00) | (state.tries & 0xff)) >>> 0;
}

function role(state: Handshake): number {
  return NAME_ONLY | privilegeLevels[state.options.privilege];
}

/** Sends what the phase sends, once more or for the first time. */
function send(state: Handshake): Step {
  const attempt = state.attempt + 1;
  const tag = (state.tag + 1) & 0xff;
  const next = { ...state, attempt, tag };
  const bytes = packetOf(next);
  if (bytes === undefined) return { state: next, outputs: [] };
  return {
    state: next,
    outputs: [
      { kind: "send", bytes },
      { kind: "arm", after: waitOf(state.options.plan, attempt) },
    ],
  };
}

function packetOf(state: Handshake): Uint8Array | undefined {
  const { phase, tag } = state;
  const suite = suiteOf(state);
  switch (phase.kind) {
    case "capabilities": {
      // In the form of IPMI 1.5, which BMCs of both versions answer. @source IPMI 2.0 §13.14
      const { privilege } = state.options;
      const payload = encodeRequestMessage(getChannelAuthenticationCapabilities, { privilege }, tag & 0x3f);
      return encodePlainPacket({ sequence: 0, sessionId: 0, payload });
    }
    case "open-session": {
      const request = {
        tag,
        privilege: privilegeLevels[state.options.privilege],
        consoleSessionId: consoleSessionId(state),
        ...suite,
      };
      return outside("open-session-request", encodeOpenSessionRequest(request));
    }
    case "rakp-1": {
      const { consoleRandom, username } = state.options;
      return outside(
        "rakp-1",
        encodeRakp1({ tag, managedSessionId: phase.managedSessionId, consoleRandom, role: role(state), username }),
      );
    }
    case "rakp-3": {
      const { managedSessionId } = phase.context;
      return outside("rakp-3", encodeRakp3({ tag, status: 0, managedSessionId, code: phase.code }));
    }
    case "over":
      return undefined;
  }
}

function outside(type: PayloadType, payload: Uint8Array): Uint8Array {
  return encodeSessionPacket({ type, encrypted: false, sessionId: 0, sequence: 0, payload });
}

function receive(state: Handshake, bytes: Uint8Array): Step {
  const packet = decodeSessionPacket(bytes, 0);
  const { phase } = state;
  if (packet.kind === "1.5") {
    return phase.kind === "capabilities"
      ? receiveCapabilities(state, packet.payload)
      : drop(state, "an answer out of turn", false);
  }
  switch (phase.kind) {
    case "open-session":
      return packet.type === "open-session-response"
        ? receiveOpened(state, packet.payload)
        : drop(state, `a ${packet.type} out of turn`, false);
    case "rakp-1":
      return packet.type === "rakp-2"
        ? receiveRakp2(state, packet.payload, phase.managedSessionId)
        : drop(state, `a ${packet.type} out of turn`, false);
    case "rakp-3":
      return packet.type === "rakp-4"
        ? receiveRakp4(state, packet.payload, phase.context, phase.keys)
        : drop(state, `a ${packet.type} out of turn`, false);
    case "capabilities":
    case "over":
      return drop(state, `a ${packet.type} out of turn`, false);
  }
}

function receiveCapabilities(state: Handshake, payload: Uint8Array): Step {
  const answer = decodeSessionlessAnswer(getChannelAuthenticationCapabilities, state.tag & 0x3f, payload);
  if (answer.kind === "other") return drop(state, "an answer to another request", false);
  // A BMC that refuses the question may still open a session; whether it does is seen at the next step.
  if (answer.kind === "refused") return enter(state, { kind: "open-session" });
  const capabilities = answer.response;
  if (!capabilities.ipmi20) {
    const sentence =
      "the BMC offers no IPMI 2.0 session on this channel; enable RMCP+ (IPMI 2.0 over LAN) in the BMC, or update its firmware";
    return fail(state, new Fault("refused", "ipmi.no-rmcp-plus", sentence));
  }
  return enter({ ...state, capabilities }, { kind: "open-session" });
}

function receiveOpened(state: Handshake, payload: Uint8Array): Step {
  const response = decodeOpenSessionResponse(payload);
  if (response.tag !== state.tag) return drop(state, "an answer to an earlier packet", false);
  if (response.kind === "refused") {
    if (rakpStatus(response.status).means === "suite") return nextSuite(state, response.status);
    return fail(state, rakpFault(response.status, "Open Session"));
  }
  if (response.consoleSessionId !== consoleSessionId(state)) return drop(state, "an answer for another session", false);
  const suite = suiteOf(state);
  const asked =
    response.authentication === suite.authentication &&
    response.integrity === suite.integrity &&
    response.confidentiality === suite.confidentiality;
  // A weaker suite than was asked for is not accepted silently.
  if (!asked) return nextSuite(state, 0x11);
  return enter(state, { kind: "rakp-1", managedSessionId: response.managedSessionId });
}

function nextSuite(state: Handshake, status: number): Step {
  if (state.suiteIndex + 1 < state.options.suites.length) {
    return enter({ ...state, suiteIndex: state.suiteIndex + 1, tries: state.tries + 1 }, { kind: "open-session" });
  }
  const fault = rakpFault(status, "Open Session");
  const offered = state.options.suites.join(", ");
  return fail(
    state,
    new Fault(fault.kind, fault.code, `${fault.message}; asked for ${offered}`, {
      detail: { ...fault.detail, suiteRefused: true },
    }),
  );
}

function receiveRakp2(state: Handshake, payload: Uint8Array, managedSessionId: number): Step {
  const suite = suiteOf(state);
  const message = decodeRakp2(payload, authenticationAlgorithms[suite.authentication].codeLength);
  if (message.tag !== state.tag) return drop(state, "an answer to an earlier packet", false);
  if (message.kind === "refused") {
    // After a repeated RAKP 1 the BMC may have thrown the session away: that says nothing about the user.
    if (rakpStatus(message.status).means === "state")
      return restart(state, rakpFault(message.status, "RAKP message 1"));
    return fail(state, rakpFault(message.status, "RAKP message 1"));
  }
  if (message.consoleSessionId !== consoleSessionId(state)) return drop(state, "an answer for another session", false);
  const { username, password, bmcKey, consoleRandom } = state.options;
  const { managedRandom, managedGuid } = message;
  const context: RakpContext = {
    suite,
    consoleSessionId: consoleSessionId(state),
    managedSessionId,
    consoleRandom,
    managedRandom,
    managedGuid,
    role: role(state),
    username,
    password,
    bmcKey,
  };
  if (!sameCode(rakp2Code(context), message.code)) {
    // The BMC made the code with the password that it has. It is told to forget the session. @source IPMI 2.0 §13.22
    const goodbye = outside(
      "rakp-3",
      encodeRakp3({ tag: (state.tag + 1) & 0xff, status: WRONG_CODE, managedSessionId, code: new Uint8Array(0) }),
    );
    const failed = fail(state, rakpFault(WRONG_CODE, "RAKP message 1"));
    return { state: failed.state, outputs: [{ kind: "send", bytes: goodbye }, ...failed.outputs] };
  }
  return enter(state, { kind: "rakp-3", context, keys: deriveSessionKeys(context), code: rakp3Code(context) });
}

function receiveRakp4(state: Handshake, payload: Uint8Array, context: RakpContext, keys: SessionKeys): Step {
  const message = decodeRakp4(payload);
  if (message.tag !== state.tag) return drop(state, "an answer to an earlier packet", false);
  if (message.status !== 0) {
    // The password is right, RAKP 2 proved it: whatever the BMC says of the code, it lost or replaced the session meanwhile.
    const lost = rakpStatus(message.status).means === "state" || message.status === WRONG_CODE;
    return lost ? restart(state, loginLost(message.status)) : fail(state, rakpFault(message.status, "RAKP message 3"));
  }
  if (message.consoleSessionId !== context.consoleSessionId) return drop(state, "an answer for another session", false);
  if (!sameCode(rakp4Code(context, keys), message.code)) return fail(state, wrongBmcKey(state));
  const session: Session = {
    suite: context.suite,
    keys,
    consoleSessionId: context.consoleSessionId,
    managedSessionId: context.managedSessionId,
    privilege: state.options.privilege,
    nextSequence: 1,
    inbound: emptyWindow,
    nextRequest: 1,
  };
  return { state: { ...state, phase: { kind: "over" } }, outputs: [{ kind: "done", result: session }] };
}

function loginLost(status: number): Fault {
  const hex = status.toString(16).padStart(2, "0");
  const sentence =
    "the user and the password are right, but the BMC lost track of the login each time; try again, and restart the BMC if it goes on";
  return new Fault(
    "protocol",
    "ipmi.login-lost",
    `IPMI login failed: ${sentence} (status 0x${hex} to RAKP message 3)`,
    {
      retry: "later",
      detail: { status },
    },
  );
}

function wrongBmcKey(state: Handshake): Fault {
  const sentence =
    state.options.bmcKey === undefined
      ? "the user and the password are right, but the BMC has a K_G key of its own; set ipmi_hex_kg_key to it"
      : "the user and the password are right, but the K_G key is not; correct ipmi_hex_kg_key, or remove it if the BMC has none";
  return new Fault("refused", "ipmi.kg", `IPMI login refused: ${sentence}`, {
    detail: { bmcSaysKgIsSet: state.capabilities?.needsBmcKey ?? false },
  });
}

/** The next phase, with its first packet. */
function enter(state: Handshake, phase: Phase): Step {
  return send({ ...state, phase, attempt: 0, network: undefined });
}

/** Begins again with Open Session under another id. */
function restart(state: Handshake, fault: Fault): Step {
  if (state.restarts >= MAX_RESTARTS) return fail(state, fault);
  return enter({ ...state, restarts: state.restarts + 1, tries: state.tries + 1 }, { kind: "open-session" });
}

/** All attempts of a phase went unanswered. */
function silence(state: Handshake): Step {
  const { phase, network } = state;
  const fault = new Fault(
    network?.kind === "unreachable" ? "unreachable" : "timeout",
    network?.kind === "unreachable" ? "ipmi.unreachable" : "ipmi.timeout",
    network === undefined
      ? `the BMC did not answer ${state.attempt} packets (${phase.kind}); check ipmi_address and ipmi_port, and that IPMI over LAN is enabled`
      : `the BMC is not reachable (${phase.kind}): ${network.message}`,
    { cause: network, detail: { phase: phase.kind, attempts: state.attempt } },
  );
  switch (phase.kind) {
    case "open-session":
      // Some BMCs drop a suite that they do not know instead of refusing it.
      if (network === undefined && state.suiteIndex + 1 < state.options.suites.length) return nextSuite(state, 0x11);
      return fail(state, fault);
    case "rakp-1":
    case "rakp-3":
      return network === undefined ? restart(state, fault) : fail(state, fault);
    case "capabilities":
    case "over":
      return fail(state, fault);
  }
}

function drop(state: Handshake, reason: string, malformed: boolean): Step {
  return { state, outputs: [{ kind: "ignored", reason, malformed }] };
}

function fail(state: Handshake, fault: Fault): Step {
  const output: ExchangeOutput<Session> = { kind: "failed", fault };
  return { state: { ...state, phase: { kind: "over" } }, outputs: [output] };
}
