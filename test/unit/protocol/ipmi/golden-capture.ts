import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import {
  authenticationAlgorithms,
  cipherSuite,
  integrityAlgorithms,
  type CipherSuite,
} from "../../../../src/protocol/ipmi/cipher-suite.ts";
import { decodeLanMessage, type LanMessage } from "../../../../src/protocol/ipmi/lan-message.ts";
import { decryptPayload } from "../../../../src/protocol/ipmi/payload-cipher.ts";
import { deriveSessionKeys, type RakpContext, type SessionKeys } from "../../../../src/protocol/ipmi/rakp-keys.ts";
import { decodeRakp1, decodeRakp2 } from "../../../../src/protocol/ipmi/rakp-message.ts";
import { decodeOpenSessionResponse } from "../../../../src/protocol/ipmi/open-session.ts";
import {
  decodeSessionPacket,
  type PayloadType,
  type PlainPacket,
  type SessionPacket,
} from "../../../../src/protocol/ipmi/session-packet.ts";

const directory = new URL("../../../../../test/golden/ipmi/", import.meta.url);

/** A golden file: see test/golden/ipmi/README.md. */
export interface Capture {
  readonly name: string;
  readonly username: string;
  readonly password: string;
  readonly bmcKey: string | null;
  readonly suite: number | null;
  readonly packets: readonly { readonly from: "console" | "bmc"; readonly hex: string }[];
}

export const captures: readonly Capture[] = readdirSync(directory)
  .filter((file) => file.endsWith(".json"))
  .map((file) => ({
    ...(JSON.parse(readFileSync(new URL(file, directory), "utf8")) as Capture),
    name: file.slice(0, -5),
  }));

export function capture(name: string): Capture {
  const found = captures.find((one) => one.name === name);
  assert.ok(found, `test/golden/ipmi/${name}.json`);
  return found;
}

export function bytesOf(packet: { readonly hex: string }): Uint8Array {
  return new Uint8Array(Buffer.from(packet.hex, "hex"));
}

/** Captures of RMCP+ sessions, whole. */
export const sessions = captures.filter((one) => one.packets.length > 10);

/** Length of the integrity code of packets in the capture's session. */
export function codeLengthOf(one: Capture): number {
  return one.suite === null ? 0 : integrityAlgorithms[cipherSuite(one.suite).integrity].codeLength;
}

export function decoded(one: Capture): readonly (PlainPacket | SessionPacket)[] {
  return one.packets.map((packet) => decodeSessionPacket(bytesOf(packet), codeLengthOf(one)));
}

export function payloadOf(one: Capture, type: PayloadType): Uint8Array {
  const found = decoded(one).find((packet) => packet.kind === "2.0" && packet.type === type);
  assert.ok(found, `${one.name} has a ${type}`);
  return found.payload;
}

export interface OpenedCapture {
  readonly suite: CipherSuite;
  readonly context: RakpContext;
  readonly keys: SessionKeys;
}

/** What both sides of the captured exchange knew. */
export function contextOf(one: Capture): OpenedCapture {
  assert.ok(one.suite !== null);
  const suite = cipherSuite(one.suite);
  const opened = decodeOpenSessionResponse(payloadOf(one, "open-session-response"));
  const first = decodeRakp1(payloadOf(one, "rakp-1"));
  const second = decodeRakp2(payloadOf(one, "rakp-2"), authenticationAlgorithms[suite.authentication].codeLength);
  assert.ok(opened.kind === "opened" && second.kind === "accepted");
  const context: RakpContext = {
    suite,
    consoleSessionId: opened.consoleSessionId,
    managedSessionId: opened.managedSessionId,
    consoleRandom: first.consoleRandom,
    managedRandom: second.managedRandom,
    managedGuid: second.managedGuid,
    role: first.role,
    username: first.username,
    password: Buffer.from(one.password),
    bmcKey: one.bmcKey === null ? undefined : Buffer.from(one.bmcKey, "hex"),
  };
  return { suite, context, keys: deriveSessionKeys(context) };
}

/** The IPMI messages inside the captured session, with what is needed to make their packets again. */
export function messagesOf(one: Capture): readonly {
  readonly from: "console" | "bmc";
  readonly packet: SessionPacket;
  readonly datagram: Uint8Array;
  readonly iv: Uint8Array;
  readonly message: LanMessage;
}[] {
  const { keys } = contextOf(one);
  return one.packets.flatMap((raw) => {
    const datagram = bytesOf(raw);
    const packet = decodeSessionPacket(datagram, codeLengthOf(one));
    if (packet.kind !== "2.0" || packet.type !== "ipmi") return [];
    const { iv, payload } = decryptPayload(keys.k2, packet.payload);
    return [{ from: raw.from, packet, datagram, iv, message: decodeLanMessage(payload) }];
  });
}

/** Bytes of both are the same, whichever class carries them. */
export function sameBytes(actual: Uint8Array, expected: Uint8Array, message?: string): void {
  assert.equal(Buffer.from(actual).toString("hex"), Buffer.from(expected).toString("hex"), message);
}
