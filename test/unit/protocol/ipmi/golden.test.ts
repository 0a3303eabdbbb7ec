import assert from "node:assert/strict";
import { test } from "node:test";
import { MalformedFault } from "../../../../src/core/fault.ts";
import { decodeAsf, encodeAsf } from "../../../../src/protocol/ipmi/asf.ts";
import { encodeLanMessage } from "../../../../src/protocol/ipmi/lan-message.ts";
import {
  decodeOpenSessionRequest,
  decodeOpenSessionResponse,
  encodeOpenSessionRequest,
  encodeOpenSessionResponse,
} from "../../../../src/protocol/ipmi/open-session.ts";
import { decryptPayload } from "../../../../src/protocol/ipmi/payload-cipher.ts";
import {
  decodeRakp1,
  decodeRakp2,
  decodeRakp3,
  decodeRakp4,
  encodeRakp1,
  encodeRakp2,
  encodeRakp3,
  encodeRakp4,
} from "../../../../src/protocol/ipmi/rakp-message.ts";
import { authenticationAlgorithms, cipherSuite } from "../../../../src/protocol/ipmi/cipher-suite.ts";
import { emptyWindow } from "../../../../src/protocol/ipmi/sequence-window.ts";
import { open, seal, type Session } from "../../../../src/protocol/ipmi/session.ts";
import {
  decodeSessionPacket,
  encodePlainPacket,
  encodeSessionPacket,
  type PayloadType,
} from "../../../../src/protocol/ipmi/session-packet.ts";
import {
  bytesOf,
  capture,
  captures,
  codeLengthOf,
  contextOf,
  decoded,
  messagesOf,
  sameBytes,
  sessions,
} from "./golden-capture.ts";

/** Decodes a payload of session setup and encodes it again. */
function again(type: PayloadType, payload: Uint8Array, suite: number): Uint8Array {
  const { codeLength } = authenticationAlgorithms[cipherSuite(suite).authentication];
  switch (type) {
    case "open-session-request":
      return encodeOpenSessionRequest(decodeOpenSessionRequest(payload));
    case "open-session-response":
      return encodeOpenSessionResponse(decodeOpenSessionResponse(payload));
    case "rakp-1":
      return encodeRakp1(decodeRakp1(payload));
    case "rakp-2":
      return encodeRakp2(decodeRakp2(payload, codeLength));
    case "rakp-3":
      return encodeRakp3(decodeRakp3(payload));
    case "rakp-4":
      return encodeRakp4(decodeRakp4(payload));
    case "ipmi":
    case "sol":
      throw new Error(`${type} is no payload of session setup`);
  }
}

test("captured ping and pong decode, and encode to the same bytes", () => {
  const [ping, pong] = capture("ping").packets.map(bytesOf);
  assert.ok(ping && pong);
  assert.equal(decodeAsf(ping).kind, "ping");
  const answer = decodeAsf(pong);
  assert.ok(answer.kind === "pong" && answer.supportsIpmi && answer.entities === 1);
  for (const bytes of [ping, pong]) sameBytes(encodeAsf(decodeAsf(bytes)), bytes);
});

test("a ping or pong cut anywhere is malformed", () => {
  for (const bytes of capture("ping").packets.map(bytesOf)) {
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => decodeAsf(bytes.subarray(0, length)), MalformedFault);
    }
  }
});

for (const one of captures.filter(({ name }) => name !== "ping")) {
  test(`the packets of ${one.name} outside its session encode to the same bytes`, () => {
    let seen = 0;
    for (const packet of one.packets) {
      const bytes = bytesOf(packet);
      const content = decodeSessionPacket(bytes, codeLengthOf(one));
      if (content.kind === "1.5") sameBytes(encodePlainPacket(content), bytes);
      else if (content.type === "ipmi") continue;
      else {
        sameBytes(encodeSessionPacket(content), bytes);
        const whole = again(content.type, content.payload, one.suite ?? 3);
        // What a BMC adds after a refusal has no meaning and is not kept.
        sameBytes(whole, content.payload.subarray(0, whole.length));
        if (packet.from === "console") assert.equal(whole.length, content.payload.length);
      }
      seen += 1;
    }
    assert.ok(seen >= 4);
  });

  test(`each packet of ${one.name} is malformed when it is cut anywhere`, () => {
    for (const packet of one.packets) {
      const bytes = bytesOf(packet);
      for (let length = 0; length < bytes.length; length += 1) {
        assert.throws(() => decodeSessionPacket(bytes.subarray(0, length), codeLengthOf(one)), MalformedFault);
      }
    }
  });

  test(`each payload of session setup in ${one.name} that is cut anywhere is malformed or shorter by its code alone`, () => {
    for (const packet of decoded(one)) {
      if (packet.kind !== "2.0" || packet.type === "ipmi") continue;
      for (let length = 0; length < packet.payload.length; length += 1) {
        const cut = packet.payload.slice(0, length);
        try {
          // RAKP 3 and 4 end in a code whose length their receiver compares; refusals may be followed by anything.
          const whole = again(packet.type, cut, one.suite ?? 3);
          sameBytes(whole, cut.subarray(0, whole.length));
          const refused = packet.payload[1] !== 0;
          assert.ok(
            packet.type === "rakp-3" || packet.type === "rakp-4" || refused,
            `${packet.type} cut to ${length} decodes`,
          );
        } catch (error) {
          assert.ok(error instanceof MalformedFault, String(error));
        }
      }
    }
  });
}

for (const one of sessions) {
  test(`the messages in the session of ${one.name} decrypt, and seal to the same bytes under the same IV`, () => {
    const { suite, context, keys } = contextOf(one);
    const messages = messagesOf(one);
    assert.ok(messages.length >= 10);
    for (const { from, packet, datagram, iv, message } of messages) {
      const session: Session = {
        suite,
        keys,
        consoleSessionId: context.consoleSessionId,
        managedSessionId: packet.sessionId,
        privilege: "ADMINISTRATOR",
        nextSequence: packet.sequence,
        inbound: emptyWindow,
        nextRequest: 1,
      };
      assert.equal(packet.sessionId, from === "console" ? context.managedSessionId : context.consoleSessionId);
      sameBytes(seal(session, encodeLanMessage(message), iv).bytes, datagram);
      if (from === "bmc") {
        const opened = open(session, datagram);
        assert.ok(opened.kind === "payload");
        sameBytes(opened.payload, encodeLanMessage(message));
        assert.equal(open(opened.session, datagram).kind, "ignored", "the same packet is not accepted twice");
      }
    }
  });

  test(`a packet of ${one.name} with any bit turned over is not accepted`, () => {
    const { suite, context, keys } = contextOf(one);
    const answer = messagesOf(one).find(({ from }) => from === "bmc");
    assert.ok(answer);
    const session: Session = {
      suite,
      keys,
      consoleSessionId: context.consoleSessionId,
      managedSessionId: context.managedSessionId,
      privilege: "ADMINISTRATOR",
      nextSequence: 1,
      inbound: emptyWindow,
      nextRequest: 1,
    };
    for (let bit = 0; bit < answer.datagram.length * 8; bit += 1) {
      // RMCP's reserved byte and sequence number are covered by nothing and mean nothing here.
      if (bit >> 3 === 1 || bit >> 3 === 2) continue;
      const turned = answer.datagram.slice();
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      try {
        assert.equal(open(session, turned).kind, "ignored", `bit ${bit}`);
      } catch (error) {
        assert.ok(error instanceof MalformedFault, String(error));
      }
    }
  });

  test(`an encrypted payload of ${one.name} that is cut anywhere never decrypts quietly past its end`, () => {
    const { keys } = contextOf(one);
    for (const { packet } of messagesOf(one)) {
      for (let length = 0; length < packet.payload.length; length += 1) {
        if (length >= 32 && length % 16 === 0) continue;
        assert.throws(() => decryptPayload(keys.k2, packet.payload.subarray(0, length)), MalformedFault);
      }
    }
  });
}

test("the session sequence number goes on from FFFFFFFFh to 1 — IPMI 2.0 §6.12.8", () => {
  const one = sessions[0] ?? assert.fail();
  const { suite, context, keys } = contextOf(one);
  const last: Session = {
    suite,
    keys,
    consoleSessionId: context.consoleSessionId,
    managedSessionId: context.managedSessionId,
    privilege: "ADMINISTRATOR",
    nextSequence: 0xffffffff,
    inbound: emptyWindow,
    nextRequest: 1,
  };
  assert.equal(seal(last, new Uint8Array(7), new Uint8Array(16)).session.nextSequence, 1);
});
