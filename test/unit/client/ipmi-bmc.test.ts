import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { Fault, isFault } from "../../../src/core/fault.ts";
import { silentLog, type Log } from "../../../src/core/log.ts";
import { SystemRandom } from "../../../src/core/random.ts";
import { Secret } from "../../../src/core/secret.ts";
import { millis } from "../../../src/core/units.ts";
import { IpmiBmc } from "../../../src/client/ipmi-bmc.ts";
import { IpmiBmcs } from "../../../src/client/ipmi-bmcs.ts";
import type { IpmiParts } from "../../../src/client/ipmi-exchange.ts";
import type { IpmiTarget } from "../../../src/client/ipmi-session.ts";
import {
  bootFlags,
  getSystemBootFlags,
  setSystemBootOptions,
} from "../../../src/protocol/ipmi/command/boot-options.ts";
import { chassisControl } from "../../../src/protocol/ipmi/command/chassis-control.ts";
import { getChassisStatus } from "../../../src/protocol/ipmi/command/get-chassis-status.ts";
import { getDeviceId } from "../../../src/protocol/ipmi/command/get-device-id.ts";
import { ipmiTarget } from "../../ipmi-target.ts";
import { IpmiResponder, type ResponderOptions } from "../../peer/ipmi-responder.ts";

/*
 * Against the responder of the tests, over real sockets. What ipmi_sim shows is in test/peer.
 */

/** Waits so long that a busy machine never makes a retry of it. */
const parts: IpmiParts = {
  clock: new SystemClock(),
  random: new SystemRandom(),
  retries: { attempts: 3, first: millis(5000), growth: 1 },
};
/** For tests in which the BMC is silent. */
const hasty: IpmiParts = { ...parts, retries: { attempts: 3, first: millis(250), growth: 1.3 } };
const users = [
  { name: "admin", password: "secret", privilege: 4 },
  { name: "operator", password: "secret", privilege: 3 },
  { name: "", password: "", privilege: 4 },
  { name: "abcdefghijklmnop", password: "01234567890123456789", privilege: 4 },
];
const wait = { signal: new AbortController().signal, log: silentLog };

function responder(change: Partial<ResponderOptions> = {}): Promise<IpmiResponder> {
  return IpmiResponder.start({ users, suites: [3, 17], ...change });
}

function codeIs(code: string, kind?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isFault(error), String(error));
    assert.equal(error.code, code);
    if (kind !== undefined) assert.equal(error.kind, kind);
    return true;
  };
}

for (const suite of [1, 2, 3, 8, 17]) {
  test(`reads, writes and acts in a session of suite ${suite}`, async () => {
    await using bmc = await responder({ suites: [suite] });
    await using client = new IpmiBmc(ipmiTarget(bmc, { cipherSuites: [suite] }), parts);
    assert.equal((await client.request(getDeviceId, undefined, wait)).ipmiVersion, "2.0");
    assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, false);
    await client.request(chassisControl, { action: "power-up" }, wait);
    assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, true);
    const flags = bootFlags("disk", { persistent: true, efi: true });
    await client.request(setSystemBootOptions, { parameter: "bootFlags", flags }, wait);
    assert.deepEqual(await client.request(getSystemBootFlags, undefined, wait), flags);
    assert.equal(bmc.activeSessions, 1);
  });
}

test("a K_G key, the longest name and password, and the nameless user log in", async () => {
  const bmcKey = Buffer.from("000102030405060708090a0b0c0d0e0f10111213", "hex");
  await using keyed = await responder({ bmcKey });
  await using bmcs = new IpmiBmcs(parts);
  const key = new Secret(bmcKey.toString("hex"));
  await bmcs.request(ipmiTarget(keyed, { bmcKey: key }), getDeviceId, undefined, wait);
  await assert.rejects(bmcs.request(ipmiTarget(keyed), getDeviceId, undefined, wait), codeIs("ipmi.kg", "refused"));
  await using bmc = await responder();
  for (const { name, password } of users.slice(2)) {
    await bmcs.request(
      ipmiTarget(bmc, { username: name, password: new Secret(password) }),
      getDeviceId,
      undefined,
      wait,
    );
  }
});

test("wrong user, wrong password, privilege and cipher suite are refusals with codes of their own", async () => {
  await using bmc = await responder({ suites: [3] });
  await using bmcs = new IpmiBmcs(parts);
  const ask = async (change: Partial<IpmiTarget>): Promise<unknown> =>
    await bmcs.request(ipmiTarget(bmc, change), getDeviceId, undefined, wait);
  await assert.rejects(ask({ username: "nobody" }), codeIs("ipmi.rakp.0d", "refused"));
  await assert.rejects(ask({ password: new Secret("Secret") }), codeIs("ipmi.rakp.0f", "refused"));
  await assert.rejects(ask({ username: "operator" }), codeIs("ipmi.completion.81", "refused"));
  await parts.clock.sleep(millis(20));
  assert.equal(bmc.activeSessions, 0, "a login that was refused after the handshake is given back");
  bmc.strictRole = true;
  await assert.rejects(ask({ username: "operator" }), codeIs("ipmi.rakp.0a", "refused"));
  await assert.rejects(ask({ cipherSuites: [17] }), codeIs("ipmi.rakp.11", "refused"));
  await ask({ username: "operator", privilege: "OPERATOR" });
});

test("who is refused all suites is told which the BMC offers, also when they come in several pieces", async () => {
  for (const suites of [[3], [1, 2, 3, 8], [8, 3, 2, 1, 1, 1, 1, 1]]) {
    await using bmc = await responder({ suites });
    await using client = new IpmiBmc(ipmiTarget(bmc, { cipherSuites: [17] }), parts);
    await assert.rejects(client.request(getDeviceId, undefined, wait), (error) => {
      assert.ok(isFault(error) && error.code === "ipmi.rakp.11" && error.kind === "refused");
      assert.ok(error.message.endsWith(`asked for 17; the BMC offers ${suites.join(", ")}`), error.message);
      return true;
    });
  }
});

test("a password stands in no fault", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc, { password: new Secret("hunter2hunter2") }), parts);
  await assert.rejects(client.request(getDeviceId, undefined, wait), (error) => {
    assert.ok(isFault(error));
    return !JSON.stringify([error.message, error.detail, error.stack]).includes("hunter2");
  });
});

test("suite 17 is preferred; a BMC that is silent about it is asked for suite 3, and at once when the session is opened again", async () => {
  await using both = await responder();
  await using client = new IpmiBmc(ipmiTarget(both), hasty);
  await client.request(getDeviceId, undefined, wait);
  await using old = await responder({ suites: [3], silentAboutSuites: true });
  await using second = new IpmiBmc(ipmiTarget(old), hasty);
  await second.request(getDeviceId, undefined, wait);
  const { sent } = second.counters;
  await second.close();
  await second.request(getDeviceId, undefined, wait);
  assert.equal(second.counters.sent - sent, 1 + 4 + 2, "close, handshake of four packets, privilege, request");
});

test("one session serves many requests, one after the other, in the order in which they came", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), parts);
  const order: number[] = [];
  await Promise.all(
    Array.from({ length: 200 }, async (_, index) => {
      await client.request(getChassisStatus, undefined, wait);
      order.push(index);
    }),
  );
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.equal(bmc.activeSessions, 1);
  assert.equal(client.counters.timeouts, 0);
});

test("closing gives the session back to the BMC; the next request opens another", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), parts);
  await client.request(getDeviceId, undefined, wait);
  await client.close();
  await parts.clock.sleep(millis(20));
  assert.equal(bmc.activeSessions, 0);
  await client.request(getDeviceId, undefined, wait);
  assert.equal(bmc.activeSessions, 1);
});

test("a read or a write goes on in a new session after the BMC has lost the old one", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  bmc.forgetSessions();
  assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, false);
  bmc.forgetSessions();
  await client.request(setSystemBootOptions, { parameter: "setInProgress", value: "complete" }, wait);
  assert.equal(bmc.activeSessions, 1);
});

test("an action whose answer is lost is carried out once and is ipmi.unconfirmed", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  bmc.meddle = ({ netFn, command }) => (netFn === 0 && command === 2 ? "no-answer" : undefined);
  await assert.rejects(
    client.request(chassisControl, { action: "power-up" }, wait),
    codeIs("ipmi.unconfirmed", "timeout"),
  );
  assert.equal(bmc.count(0, 2), 1);
  assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, true);
});

test("an action in a session that the BMC has lost is not sent into a new one by itself", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  bmc.forgetSessions();
  await assert.rejects(client.request(chassisControl, { action: "power-up" }, wait), codeIs("ipmi.unconfirmed"));
  assert.equal(bmc.count(0, 2), 0);
  await client.request(chassisControl, { action: "power-up" }, wait);
  assert.equal(bmc.count(0, 2), 1);
});

test("lost requests and lost answers of reads are made good by retries", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  for (const loss of ["ignore", "no-answer"] as const) {
    let left = 2;
    bmc.meddle = () => (left-- > 0 ? loss : undefined);
    assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, false);
  }
  assert.equal(bmc.activeSessions, 1, "all in one session");
});

test("late and repeated answers are dropped, whichever request they come to", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  // The answer to the first packet comes while the second request waits.
  bmc.meddle = ({ command }) => (command === 1 && bmc.received.length % 2 === 1 ? { delayMs: 350 } : "twice");
  for (let round = 0; round < 4; round += 1) {
    bmc.powerOn = round % 2 === 0;
    assert.equal((await client.request(getChassisStatus, undefined, wait)).powerOn, bmc.powerOn);
    assert.equal((await client.request(getDeviceId, undefined, wait)).ipmiVersion, "2.0");
  }
  assert.ok(client.counters.ignored > 0);
});

test("a busy BMC is asked again; insufficient privilege is a refusal and keeps the session", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc, { username: "operator", privilege: "USER" }), parts);
  await client.request(getDeviceId, undefined, wait);
  let left = 1;
  bmc.meddle = () => (left-- > 0 ? { completion: 0xc0 } : undefined);
  await client.request(getChassisStatus, undefined, wait);
  await assert.rejects(
    client.request(chassisControl, { action: "power-up" }, wait),
    codeIs("ipmi.completion.d4", "refused"),
  );
  const { sent } = client.counters;
  await client.request(getChassisStatus, undefined, wait);
  assert.equal(client.counters.sent, sent + 1);
});

test("a cancelled request ends at once, and the session serves the next", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  await client.request(getDeviceId, undefined, wait);
  bmc.meddle = () => "ignore";
  const controller = new AbortController();
  const pending = client.request(getChassisStatus, undefined, { ...wait, signal: controller.signal });
  const queued = client.request(chassisControl, { action: "power-up" }, { ...wait, signal: controller.signal });
  const ended = Promise.all([assert.rejects(pending, codeIs("test")), assert.rejects(queued, codeIs("test"))]);
  await parts.clock.sleep(millis(20));
  const begun = parts.clock.now();
  controller.abort(new Fault("cancelled", "test", "enough"));
  await ended;
  assert.ok(parts.clock.now() - begun < 80);
  assert.equal(bmc.count(0, 2), 0, "what waited in the queue was never sent");
  bmc.meddle = () => undefined;
  await client.request(getChassisStatus, undefined, wait);
  assert.equal(bmc.activeSessions, 1);
});

test("who is cancelled in the queue leaves it at once, and those behind keep their turn", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), parts);
  await client.request(getDeviceId, undefined, wait);
  bmc.meddle = () => ({ delayMs: 90 });
  const first = client.request(getDeviceId, undefined, wait);
  const controller = new AbortController();
  const second = client.request(chassisControl, { action: "power-up" }, { ...wait, signal: controller.signal });
  const third = client.request(getChassisStatus, undefined, wait);
  const begun = parts.clock.now();
  const ended = assert.rejects(second, codeIs("test"));
  controller.abort(new Fault("cancelled", "test", "enough"));
  await ended;
  assert.ok(parts.clock.now() - begun < 50);
  await first;
  assert.equal((await third).powerOn, false);
  assert.equal(bmc.count(0, 2), 0);
});

test("packets that are not of the format are counted, logged once, and do not keep the answer away", async () => {
  await using bmc = await responder();
  await using client = new IpmiBmc(ipmiTarget(bmc), parts);
  const logged: string[] = [];
  const log: Log = { ...silentLog, warn: (event) => logged.push(event) };
  bmc.meddle = () => "garbage";
  for (let round = 0; round < 5; round += 1) {
    assert.equal((await client.request(getChassisStatus, undefined, { ...wait, log })).powerOn, false);
  }
  assert.equal(client.counters.malformed, 4 * 6, "four packets with each answer, the privilege's too");
  assert.deepEqual(logged, ["bmc.malformed"]);
  assert.equal(client.counters.timeouts, 0);
});

test("an idle session is given back after 20 s, and a used one is not", async () => {
  await using bmc = await responder();
  const clock = new FakeClock();
  await using client = new IpmiBmc(ipmiTarget(bmc), { ...parts, clock });
  for (let round = 0; round < 4; round += 1) {
    await client.request(getDeviceId, undefined, wait);
    await clock.advance(15_000);
  }
  assert.equal(bmc.activeSessions, 1);
  await clock.advance(6_000);
  await parts.clock.sleep(millis(50));
  assert.equal(bmc.activeSessions, 0);
  await client.request(getDeviceId, undefined, wait);
  assert.equal(bmc.activeSessions, 1);
});

test("disposing of the pool gives all sessions back and leaves no timer", async () => {
  await using one = await responder();
  await using other = await responder();
  const clock = new FakeClock();
  {
    await using bmcs = new IpmiBmcs({ ...parts, clock });
    await bmcs.request(ipmiTarget(one), getDeviceId, undefined, wait);
    await bmcs.request(ipmiTarget(other), getDeviceId, undefined, wait);
  }
  await parts.clock.sleep(millis(50));
  assert.equal(one.activeSessions + other.activeSessions, 0);
  assert.equal(clock.pending, 0);
});

test("a login cancelled in the middle leaves no socket open", async () => {
  const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name.includes("UDP")).length;
  await parts.clock.sleep(millis(20));
  const before = sockets();
  const bmc = await responder({ suites: [], silentAboutSuites: true });
  await using client = new IpmiBmc(ipmiTarget(bmc), hasty);
  const controller = new AbortController();
  const pending = client.request(getDeviceId, undefined, { ...wait, signal: controller.signal });
  const ended = assert.rejects(pending, codeIs("test"));
  await parts.clock.sleep(millis(30));
  controller.abort(new Fault("cancelled", "test", "enough"));
  await ended;
  await bmc[Symbol.asyncDispose]();
  await parts.clock.sleep(millis(20));
  assert.equal(sockets(), before);
});

test("another password for the same BMC takes effect at the next request", async () => {
  await using bmc = await responder();
  await using bmcs = new IpmiBmcs(parts);
  await bmcs.request(ipmiTarget(bmc), getDeviceId, undefined, wait);
  const wrong = ipmiTarget(bmc, { password: new Secret("other") });
  await assert.rejects(bmcs.request(wrong, getDeviceId, undefined, wait), codeIs("ipmi.rakp.0f"));
  await bmcs.request(ipmiTarget(bmc), getDeviceId, undefined, wait);
});

test("a BMC of IPMI 1.5 alone is refused with a sentence that says what to enable", async () => {
  await using bmc = await responder({ ipmi20: false });
  await using client = new IpmiBmc(ipmiTarget(bmc), parts);
  await assert.rejects(client.request(getDeviceId, undefined, wait), codeIs("ipmi.no-rmcp-plus", "refused"));
});
