import { createHmac, timingSafeEqual } from "node:crypto";
import { ByteWriter } from "../../core/byte-writer.ts";
import { Fault } from "../../core/fault.ts";
import { authenticationAlgorithms, type AuthenticationAlgorithm, type CipherSuite } from "./cipher-suite.ts";

export const MAX_USERNAME = 16;
export const MAX_PASSWORD = 20;

/** What both sides know once RAKP messages 1 and 2 have passed. Terms as in IPMI 2.0 §13.31. */
export interface RakpContext {
  readonly suite: CipherSuite;
  /** SIDm: the session id that the console chose. */
  readonly consoleSessionId: number;
  /** SIDc: the session id that the BMC chose. */
  readonly managedSessionId: number;
  /** Rm, 16 bytes. */
  readonly consoleRandom: Uint8Array;
  /** Rc, 16 bytes. */
  readonly managedRandom: Uint8Array;
  /** GUIDc, 16 bytes. */
  readonly managedGuid: Uint8Array;
  /** RoleM: the whole byte of RAKP message 1, with the name-only bit. */
  readonly role: number;
  readonly username: Uint8Array;
  /** Kuid: the user's password, at most 20 bytes. (HMAC pads it with zeroes, as the BMC's stored key is.) */
  readonly password: Uint8Array;
  /** K_G, 20 bytes; without it the password takes its place ("one-key logins"). */
  readonly bmcKey: Uint8Array | undefined;
}

/** Keys of one session. */
export interface SessionKeys {
  /** SIK */
  readonly sessionIntegrity: Uint8Array;
  /** K1: integrity of packets. */
  readonly k1: Uint8Array;
  /** K2: the first 16 bytes encrypt payloads. */
  readonly k2: Uint8Array;
}

/** The code by which RAKP message 2 proves that the BMC knows the password. @source IPMI 2.0 §13.31, RAKP message 2 */
export function rakp2Code(context: RakpContext): Uint8Array {
  const text = new ByteWriter(96)
    .u32LE(context.consoleSessionId)
    .u32LE(context.managedSessionId)
    .bytes(context.consoleRandom)
    .bytes(context.managedRandom)
    .bytes(context.managedGuid);
  return keyedHash(context.suite.authentication, context.password, user(text, context));
}

/** The code by which RAKP message 3 proves that the console knows the password. @source IPMI 2.0 §13.31, RAKP message 3 */
export function rakp3Code(context: RakpContext): Uint8Array {
  const text = new ByteWriter(64).bytes(context.managedRandom).u32LE(context.consoleSessionId);
  return keyedHash(context.suite.authentication, context.password, user(text, context));
}

/** The check value of RAKP message 4, cut as the suite says. @source IPMI 2.0 §13.31, RAKP message 4 */
export function rakp4Code(context: RakpContext, keys: SessionKeys): Uint8Array {
  const text = new ByteWriter(64)
    .bytes(context.consoleRandom)
    .u32LE(context.managedSessionId)
    .bytes(context.managedGuid)
    .toBytes();
  return keyedHash(context.suite.authentication, keys.sessionIntegrity, text).slice(0, context.suite.checkLength);
}

/** SIK, K1 and K2. The constants are 20 bytes for every hash, as all implementations have it. @source IPMI 2.0 §13.31, §13.32 */
export function deriveSessionKeys(context: RakpContext): SessionKeys {
  const { authentication } = context.suite;
  const text = new ByteWriter(64).bytes(context.consoleRandom).bytes(context.managedRandom);
  const sessionIntegrity = keyedHash(authentication, context.bmcKey ?? context.password, user(text, context));
  return {
    sessionIntegrity,
    k1: keyedHash(authentication, sessionIntegrity, new Uint8Array(20).fill(1)),
    k2: keyedHash(authentication, sessionIntegrity, new Uint8Array(20).fill(2)),
  };
}

/** Compares without telling by its duration where two codes differ. */
export function sameCode(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

/** RoleM, ULengthM and UNameM close every text. */
function user(text: ByteWriter, context: RakpContext): Uint8Array {
  return text.u8(context.role).u8(context.username.length).bytes(context.username).toBytes();
}

export function keyedHash(algorithm: AuthenticationAlgorithm, key: Uint8Array, text: Uint8Array): Uint8Array {
  const { hash } = authenticationAlgorithms[algorithm];
  if (hash === undefined) throw new Fault("internal", "ipmi.rakp-none", "a session without authentication has no keys");
  return new Uint8Array(createHmac(hash, key).update(text).digest());
}
