import { authenticationAlgorithms, cipherSuite } from "../../../../src/protocol/ipmi/cipher-suite.ts";
import { decodeLanMessage, encodeLanMessage, type LanMessage } from "../../../../src/protocol/ipmi/lan-message.ts";
import {
  decodeOpenSessionRequest,
  encodeOpenSessionResponse,
  type OpenSessionResponse,
} from "../../../../src/protocol/ipmi/open-session.ts";
import {
  deriveSessionKeys,
  rakp2Code,
  rakp4Code,
  type RakpContext,
  type SessionKeys,
} from "../../../../src/protocol/ipmi/rakp-keys.ts";
import {
  decodeRakp1,
  decodeRakp3,
  encodeRakp2,
  encodeRakp4,
  type Rakp2,
} from "../../../../src/protocol/ipmi/rakp-message.ts";
import { seal, type Session } from "../../../../src/protocol/ipmi/session.ts";
import {
  decodeSessionPacket,
  encodePlainPacket,
  encodeSessionPacket,
  type PayloadType,
} from "../../../../src/protocol/ipmi/session-packet.ts";

/*
 * The other side of the pure exchanges, made of the same codecs: it answers the packet that it is given, and a test may
 * answer otherwise. (That the codecs are right is shown by the captures and by the peer tests.)
 */

export const GUID: Uint8Array = new Uint8Array(16).fill(0x42);
export const MANAGED_ID = 0x11223344;
export const MANAGED_RANDOM: Uint8Array = new Uint8Array(16).fill(0x33);

export function setup(type: PayloadType, payload: Uint8Array): Uint8Array {
  return encodeSessionPacket({ type, encrypted: false, sessionId: 0, sequence: 0, payload });
}

/** Turns a request round, as the BMC answers it. */
export function response(request: LanMessage, data: readonly number[]): LanMessage {
  return {
    ...request,
    toAddress: request.fromAddress,
    fromAddress: request.toAddress,
    netFn: request.netFn + 1,
    data: Uint8Array.from(data),
  };
}

export function capabilitiesAnswer(bytes: Uint8Array, data = [0, 1, 0x80, 0x04, 0x02, 0, 0, 0, 0]): Uint8Array {
  const packet = decodeSessionPacket(bytes, 0);
  const payload = encodeLanMessage(response(decodeLanMessage(packet.payload), data));
  return encodePlainPacket({ sequence: 0, sessionId: 0, payload });
}

export function openAnswer(bytes: Uint8Array, change: Partial<OpenSessionResponse> = {}): Uint8Array {
  const request = decodeOpenSessionRequest(decodeSessionPacket(bytes, 0).payload);
  const answer = { ...request, kind: "opened", managedSessionId: MANAGED_ID, ...change } as OpenSessionResponse;
  return setup("open-session-response", encodeOpenSessionResponse(answer));
}

/** What this BMC knows of a handshake that has come to RAKP 1. */
export function contextFor(
  rakp1: Uint8Array,
  consoleSessionId: number,
  suite: number,
  password: string,
  bmcKey?: Uint8Array,
): RakpContext {
  const message = decodeRakp1(decodeSessionPacket(rakp1, 0).payload);
  return {
    suite: cipherSuite(suite),
    consoleSessionId,
    managedSessionId: MANAGED_ID,
    consoleRandom: message.consoleRandom,
    managedRandom: MANAGED_RANDOM,
    managedGuid: GUID,
    role: message.role,
    username: message.username,
    password: Buffer.from(password),
    bmcKey,
  };
}

export function rakp2Answer(rakp1: Uint8Array, context: RakpContext, change: Partial<Rakp2> = {}): Uint8Array {
  const { tag } = decodeRakp1(decodeSessionPacket(rakp1, 0).payload);
  const answer = {
    kind: "accepted",
    tag,
    consoleSessionId: context.consoleSessionId,
    managedRandom: context.managedRandom,
    managedGuid: GUID,
    code: rakp2Code(context),
    ...change,
  } as Rakp2;
  return setup("rakp-2", encodeRakp2(answer));
}

export function rakp4Answer(rakp3: Uint8Array, context: RakpContext, status = 0): Uint8Array {
  const { tag } = decodeRakp3(decodeSessionPacket(rakp3, 0).payload);
  const code = status === 0 ? rakp4Code(context, deriveSessionKeys(context)) : new Uint8Array(0);
  return setup("rakp-4", encodeRakp4({ tag, status, consoleSessionId: context.consoleSessionId, code }));
}

export function rakp2CodeLength(suite: number): number {
  return authenticationAlgorithms[cipherSuite(suite).authentication].codeLength;
}

/** The BMC's end of a session: it seals with the ids turned round. */
export function bmcEnd(session: Session): Session {
  return {
    ...session,
    managedSessionId: session.consoleSessionId,
    consoleSessionId: session.managedSessionId,
    nextSequence: 1,
  };
}

export function sealAnswer(end: Session, message: LanMessage): { readonly end: Session; readonly bytes: Uint8Array } {
  const sealed = seal(end, encodeLanMessage(message), new Uint8Array(16).fill(9));
  return { end: sealed.session, bytes: sealed.bytes };
}

export const someKeys: SessionKeys = {
  sessionIntegrity: new Uint8Array(20).fill(1),
  k1: new Uint8Array(20).fill(2),
  k2: new Uint8Array(20).fill(3),
};
