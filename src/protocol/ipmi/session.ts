import { confidentialityAlgorithms, integrityAlgorithms, type CipherSuite } from "./cipher-suite.ts";
import { createHmac } from "node:crypto";
import { decryptPayload, encryptPayload } from "./payload-cipher.ts";
import type { PrivilegeLevel } from "./privilege-level.ts";
import { sameCode, type SessionKeys } from "./rakp-keys.ts";
import { acceptSequence, type SequenceWindow } from "./sequence-window.ts";
import { coveredBytes, decodeSessionPacket, encodeSessionPacket } from "./session-packet.ts";

/** An established RMCP+ session. A value: sealing and opening give the next one. */
export interface Session {
  readonly suite: CipherSuite;
  readonly keys: SessionKeys;
  /** Packets to us carry it. */
  readonly consoleSessionId: number;
  /** Packets to the BMC carry it. */
  readonly managedSessionId: number;
  readonly privilege: PrivilegeLevel;
  /** The number of the next packet to the BMC; 32 bits, never 0. */
  readonly nextSequence: number;
  readonly inbound: SequenceWindow;
  /** The rqSeq of the next request, six bits. */
  readonly nextRequest: number;
}

/** Bytes of `payload` as the session's next packet. `iv` has 16 random bytes. @source IPMI 2.0 §13.28, §13.29 */
export function seal(
  session: Session,
  payload: Uint8Array,
  iv: Uint8Array,
): { readonly session: Session; readonly bytes: Uint8Array } {
  const encrypted = confidentialityAlgorithms[session.suite.confidentiality].code !== 0;
  const { hash, codeLength } = integrityAlgorithms[session.suite.integrity];
  const sign =
    hash === undefined
      ? undefined
      : (covered: Uint8Array): Uint8Array =>
          createHmac(hash, session.keys.k1).update(covered).digest().subarray(0, codeLength);
  const bytes = encodeSessionPacket(
    {
      type: "ipmi",
      encrypted,
      sessionId: session.managedSessionId,
      sequence: session.nextSequence,
      payload: encrypted ? encryptPayload(session.keys.k2, iv, payload) : payload,
    },
    sign,
  );
  const nextSequence = session.nextSequence === 0xffffffff ? 1 : session.nextSequence + 1;
  return { session: { ...session, nextSequence }, bytes };
}

export type Opened =
  | {
      readonly kind: "payload";
      readonly session: Session;
      readonly payload: Uint8Array;
      readonly iv: Uint8Array | undefined;
    }
  /** Well-formed, but not for this session, not genuine, or seen before. */
  | { readonly kind: "ignored"; readonly reason: string };

/**
 * The IPMI payload of a datagram from the BMC. What is not authentic never reaches the cipher.
 * @throws MalformedFault if it is not a session packet at all
 */
export function open(session: Session, datagram: Uint8Array): Opened {
  const { hash, codeLength } = integrityAlgorithms[session.suite.integrity];
  const packet = decodeSessionPacket(datagram, codeLength);
  if (packet.kind === "1.5") return { kind: "ignored", reason: "a packet outside the session" };
  if (packet.type !== "ipmi") return { kind: "ignored", reason: `a ${packet.type} payload` };
  if (packet.sessionId !== session.consoleSessionId) return { kind: "ignored", reason: "another session's packet" };
  if (hash !== undefined) {
    if (packet.trailer === undefined) return { kind: "ignored", reason: "an unauthenticated packet" };
    const covered = coveredBytes(datagram, codeLength);
    const expected = createHmac(hash, session.keys.k1).update(covered).digest().subarray(0, codeLength);
    if (!sameCode(expected, packet.trailer.code)) return { kind: "ignored", reason: "a wrong integrity code" };
  }
  const inbound = acceptSequence(session.inbound, packet.sequence);
  if (inbound === undefined) return { kind: "ignored", reason: "a repeated or outdated packet" };
  const next = { ...session, inbound };
  const mustBeEncrypted = confidentialityAlgorithms[session.suite.confidentiality].code !== 0;
  if (packet.encrypted !== mustBeEncrypted)
    return { kind: "ignored", reason: "a payload whose encryption is not as agreed" };
  if (!packet.encrypted) return { kind: "payload", session: next, payload: packet.payload, iv: undefined };
  return { kind: "payload", session: next, ...decryptPayload(session.keys.k2, packet.payload) };
}
