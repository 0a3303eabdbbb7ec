import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { type Ipv4Address, macAddressToBytes, parseIpv4Address, parseMacAddress } from "../../../src/core/brand.ts";
import { FakeClock, SystemClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import type { Log, LogFields } from "../../../src/core/log.ts";
import type { LogEvent } from "../../../src/core/log-events.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Scope } from "../../../src/core/scope.ts";
import { millis, seconds } from "../../../src/core/units.ts";
import type { Store } from "../../../src/domain/store.ts";
import { DatagramSocket } from "../../../src/net/datagram.ts";
import { type Dhcp4Message, decodeMessage, encodeMessage, UNSPECIFIED } from "../../../src/protocol/dhcp4/message.ts";
import { type OptionValues, readOption } from "../../../src/protocol/dhcp4/options.ts";
import { DhcpService, type DhcpServiceOptions } from "../../../src/service/dhcp-service.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { bootSettings } from "../../boot-settings.ts";
import { aNode, aPort } from "../../conformance/store-contract.ts";
import { damagedDhcp4, relayedRequest } from "../../fuzz/dhcp4-datagram.ts";

const LOOPBACK = parseIpv4Address("127.0.0.1");
/** Sub-option 19: replies come to the port that the relay sent from (RFC 8357), which here is a test without privileges. */
const RELAY = new Map([[19, new Uint8Array(0)]]);

interface Line {
  readonly event: LogEvent;
  readonly fields: LogFields;
}

function recordingLog(lines: Line[]): Log {
  const write = (event: LogEvent, fields: LogFields = {}): void => void lines.push({ event, fields });
  return { debug: write, info: write, warn: write, error: write, with: () => recordingLog(lines) };
}

/** The service on loopback, spoken to as a relay does. */
class Rig implements AsyncDisposable {
  readonly #scope: Scope;
  readonly store: Store;
  readonly service: DhcpService;
  readonly lines: Line[];
  readonly clock: FakeClock;
  readonly #relay: DatagramSocket;
  readonly #replies: AsyncGenerator<readonly { readonly bytes: Uint8Array }[], void, void>;
  readonly #server: { readonly address: string; readonly port: number };
  #waiting: Dhcp4Message[] = [];
  #xid = 1;

  private constructor(parts: {
    scope: Scope;
    store: Store;
    service: DhcpService;
    lines: Line[];
    clock: FakeClock;
    relay: DatagramSocket;
    port: number;
  }) {
    this.#scope = parts.scope;
    this.store = parts.store;
    this.service = parts.service;
    this.lines = parts.lines;
    this.clock = parts.clock;
    this.#relay = parts.relay;
    this.#replies = parts.relay.receive();
    this.#server = { address: LOOPBACK, port: parts.port };
  }

  static async open(
    changes: Partial<DhcpServiceOptions> = {},
    wrap: (store: Store) => Store = (store) => store,
  ): Promise<Rig> {
    const scope = new Scope();
    const clock = new FakeClock();
    const lines: Line[] = [];
    const store = scope.use(openMemoryStore({ clock }));
    const socket = await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false });
    const relay = scope.use(
      await DatagramSocket.open({ kind: "address", address: LOOPBACK, port: 0, broadcast: false }),
    );
    const service = scope.use(
      new DhcpService({
        store: wrap(store),
        clock,
        log: recordingLog(lines),
        links: [{ interface: "lo", address: LOOPBACK, socket, introduce: null }],
        subnets: [
          {
            subnet: {
              network: parseIpv4Address("127.0.0.0"),
              prefixLength: 8,
              interface: "lo",
              pools: [{ first: parseIpv4Address("127.0.1.0"), last: parseIpv4Address("127.0.1.63") }],
              reservations: [],
              excluded: [LOOPBACK],
              leaseTime: seconds(600),
              maximumLeaseTime: seconds(600),
            },
            options: { router: [LOOPBACK], domainName: "rack.test", ntpServer: [LOOPBACK] },
          },
        ],
        boot: bootSettings(),
        authoritative: true,
        rapidCommit: false,
        serveUnknown: true,
        offerTime: seconds(60),
        quarantine: seconds(60),
        probe: null,
        ...changes,
      }),
    );
    service.start();
    return new Rig({ scope, store, service, lines, clock, relay, port: socket.local.port });
  }

  async raw(bytes: Uint8Array): Promise<void> {
    await this.#relay.send(bytes, this.#server);
  }

  async send(mac: string, options: OptionValues, changes: Partial<Dhcp4Message> = {}): Promise<void> {
    const all = { relayAgentInformation: RELAY, ...options };
    const request = relayedRequest(LOOPBACK, parseMacAddress(mac), this.#xid++, all);
    await this.raw(encodeMessage({ ...request, ...changes }).bytes);
  }

  async reply(): Promise<Dhcp4Message> {
    while (this.#waiting.length === 0) {
      const batch = await this.#replies.next();
      assert.ok(batch.done !== true);
      this.#waiting.push(...batch.value.map(({ bytes }) => decodeMessage(bytes)));
    }
    const first = this.#waiting.shift();
    assert.ok(first !== undefined);
    return first;
  }

  async ask(mac: string, options: OptionValues, changes: Partial<Dhcp4Message> = {}): Promise<Dhcp4Message> {
    await this.send(mac, options, changes);
    return await this.reply();
  }

  /** All of DISCOVER, OFFER, REQUEST, ACK. */
  async lease(mac: string, more: OptionValues = {}): Promise<Dhcp4Message> {
    const offer = await this.ask(mac, { messageType: "discover", ...more });
    return await this.ask(mac, {
      messageType: "request",
      requestedAddress: offer.yiaddr,
      serverIdentifier: LOOPBACK,
      ...more,
    });
  }

  /** Until the service has seen everything sent so far: it answers a question that always has an answer. */
  async settle(): Promise<void> {
    await this.ask("02:00:00:00:00:fe", { messageType: "inform" }, { ciaddr: parseIpv4Address("127.0.1.200") });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }
}

const A = "52:54:00:00:00:0a";
const B = "52:54:00:00:00:0b";

test("DISCOVER, OFFER, REQUEST, ACK: the lease is in the store when the ACK arrives", async () => {
  await using rig = await Rig.open();
  const ack = await rig.lease(A, { parameterRequestList: [3, 15, 42, 67], hostName: "node-a" });
  assert.equal(readOption(ack.options, "messageType"), "ack");
  const lease = rig.store.leases.byAddress(ack.yiaddr);
  assert.deepEqual([lease?.client, lease?.mac, lease?.hostname, lease?.state], [`mac:${A}`, A, "node-a", "bound"]);
  assert.equal(readOption(ack.options, "leaseTime"), 600);
  assert.equal(readOption(ack.options, "renewalTime"), 300);
  assert.equal(readOption(ack.options, "rebindingTime"), 525);
  assert.equal(readOption(ack.options, "subnetMask"), "255.0.0.0");
  assert.deepEqual(readOption(ack.options, "router"), [LOOPBACK]);
  assert.equal(readOption(ack.options, "domainName"), "rack.test");
});

test("options come as asked and in the order asked, the relay's own last and unchanged — RFC 2131 §4.3.1, RFC 3046 §2.2", async () => {
  await using rig = await Rig.open();
  const relay = new Map([[1, Uint8Array.of(1, 2, 3)], ...RELAY]);
  const offer = await rig.ask(A, {
    messageType: "discover",
    parameterRequestList: [42, 3],
    relayAgentInformation: relay,
  });
  assert.deepEqual([...offer.options.keys()], [53, 54, 51, 58, 59, 1, 42, 3, 82]);
  assert.deepEqual(readOption(offer.options, "relayAgentInformation"), relay);
});

test("a reserved machine is told its own options before those of its subnet", async () => {
  const address = parseIpv4Address("127.0.2.1");
  const text = (value: string): Map<number, Uint8Array> => new Map([[17, Buffer.from(value)]]);
  await using rig = await Rig.open({
    subnets: [
      {
        subnet: {
          network: parseIpv4Address("127.0.0.0"),
          prefixLength: 8,
          interface: "lo",
          pools: [{ first: parseIpv4Address("127.0.1.0"), last: parseIpv4Address("127.0.1.63") }],
          reservations: [{ key: { kind: "mac", mac: parseMacAddress(A) }, address, hostname: "first" }],
          excluded: [LOOPBACK],
          leaseTime: seconds(600),
          maximumLeaseTime: seconds(600),
        },
        options: { router: [LOOPBACK] },
        otherOptions: text("/srv/root"),
        reservedOptions: new Map([[address, text("/srv/first")]]),
      },
    ],
  });
  const reserved = await rig.lease(A, { parameterRequestList: [3, 12, 17] });
  assert.equal(reserved.yiaddr, address);
  assert.equal(readOption(reserved.options, "rootPath"), "/srv/first");
  assert.equal(readOption(reserved.options, "hostName"), "first");
  assert.deepEqual(readOption(reserved.options, "router"), [LOOPBACK]);
  const informed = await rig.ask(A, { messageType: "inform", parameterRequestList: [17] }, { ciaddr: address });
  assert.equal(readOption(informed.options, "rootPath"), "/srv/first");
  const other = await rig.lease(B, { parameterRequestList: [17] });
  assert.equal(readOption(other.options, "rootPath"), "/srv/root");
});

test("the client identifier comes back — RFC 6842 §3", async () => {
  await using rig = await Rig.open();
  const offer = await rig.ask(A, { messageType: "discover", clientIdentifier: Uint8Array.of(255, 1, 2, 3) });
  assert.deepEqual(readOption(offer.options, "clientIdentifier"), Uint8Array.of(255, 1, 2, 3));
  const nak = await rig.ask(A, {
    messageType: "request",
    requestedAddress: parseIpv4Address("192.0.2.1"),
    clientIdentifier: Uint8Array.of(255, 1, 2, 3),
  });
  assert.equal(readOption(nak.options, "messageType"), "nak");
  assert.deepEqual(readOption(nak.options, "clientIdentifier"), Uint8Array.of(255, 1, 2, 3));
  assert.equal(nak.yiaddr, UNSPECIFIED);
  assert.ok(nak.broadcast);
});

test("no ACK leaves when the lease cannot be stored", async () => {
  await using rig = await Rig.open({}, (store) => ({
    ...store,
    leases: store.leases,
    nodes: store.nodes,
    ports: store.ports,
    commit: () => Promise.reject(new Fault("storage", "store.full", "no space left")),
  }));
  const offer = await rig.ask(A, { messageType: "discover" });
  await rig.send(A, { messageType: "request", requestedAddress: offer.yiaddr, serverIdentifier: LOOPBACK });
  await rig.settle();
  assert.ok(!rig.lines.some(({ fields }) => fields["answer"] === "ack" && fields["type"] === "request"));
  assert.equal(rig.service.counters().failed, 1);
  assert.ok(rig.lines.some(({ event, fields }) => event === "dhcp.failed" && fields.code === "store.full"));
});

test("a machine keeps its address from firmware to system, whatever identifier each sends, once it is enrolled", async () => {
  await using rig = await Rig.open();
  const node = aNode(1, { bootTarget: "ramdisk" });
  await rig.store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put(aPort(1, node.uuid, { address: parseMacAddress(A) }));
  });
  const firmware = await rig.lease(A, {
    vendorClassIdentifier: "PXEClient:Arch:00007:UNDI:003001",
    clientSystemArchitecture: [7],
    clientIdentifier: Uint8Array.of(0, ...new Uint8Array(16).fill(9)),
  });
  const ramdisk = await rig.lease(A, { clientIdentifier: Uint8Array.of(1, ...macAddressToBytes(parseMacAddress(A))) });
  const system = await rig.lease(A, { clientIdentifier: Uint8Array.of(255, 1, 2, 3, 4, 5) });
  assert.deepEqual([ramdisk.yiaddr, system.yiaddr], [firmware.yiaddr, firmware.yiaddr]);
  assert.equal(firmware.file, "snponly.efi");
  assert.equal(firmware.siaddr, LOOPBACK);
  assert.equal(system.file, "");
  assert.equal(system.siaddr, UNSPECIFIED);
});

test("two NICs that send the same UUID as identifier get an address each", async () => {
  await using rig = await Rig.open();
  const pxe = {
    vendorClassIdentifier: "PXEClient:Arch:00000:UNDI:002001",
    clientIdentifier: Uint8Array.of(0, ...new Uint8Array(16).fill(9)),
  };
  assert.notEqual((await rig.lease(A, pxe)).yiaddr, (await rig.lease(B, pxe)).yiaddr);
});

test("two systems on one NIC that tell themselves apart get an address each — RFC 2131 §4.2", async () => {
  await using rig = await Rig.open();
  const one = await rig.lease(A, { clientIdentifier: Uint8Array.of(255, 1) });
  const two = await rig.lease(A, { clientIdentifier: Uint8Array.of(255, 2) });
  assert.notEqual(one.yiaddr, two.yiaddr);
});

test("iPXE is told not to wait for a ProxyDHCP server and gets its script in file and option 67", async () => {
  await using rig = await Rig.open();
  const node = aNode(1, { bootTarget: "ramdisk" });
  await rig.store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put(aPort(1, node.uuid, { address: parseMacAddress(A) }));
  });
  const offer = await rig.ask(A, {
    messageType: "discover",
    ipxe: new Map([[19, Uint8Array.of(1)]]),
    userClass: Buffer.from("iPXE"),
    parameterRequestList: [67, 66],
  });
  const url = "http://127.0.0.1:8080/boot/52-54-00-00-00-0a.ipxe";
  assert.equal(offer.file, url);
  assert.equal(readOption(offer.options, "bootfileName"), url);
  assert.deepEqual(readOption(offer.options, "ipxe"), new Map([[176, Uint8Array.of(1)]]));
});

test("only enrolled machines get an address when others are not served", async () => {
  await using rig = await Rig.open({ serveUnknown: false });
  await rig.send(A, { messageType: "discover" });
  await rig.send(A, { messageType: "discover" });
  while (rig.service.counters().silent < 2) await new SystemClock().sleep(millis(5));
  assert.match(String(rig.lines.find(({ event }) => event === "dhcp.silent")?.fields.reason), /only enrolled machines/);
});

test("what is not DHCP is counted and logged once a minute for each kind", async () => {
  await using rig = await Rig.open();
  for (let round = 0; round < 50; round += 1) await rig.raw(Uint8Array.of(1, 1, 6, 0, round));
  for (let round = 0; round < 50; round += 1)
    await rig.send(A, { requestedAddress: LOOPBACK }, { options: new Map([[53, Uint8Array.of(99)]]) });
  await rig.settle();
  assert.equal(rig.service.counters().malformed, 100);
  const logged = (): readonly LogFields[] =>
    rig.lines.filter(({ event }) => event === "dhcp.malformed").map(({ fields }) => fields);
  assert.equal(logged().length, 2);
  await rig.clock.advance(61_000);
  await rig.raw(Uint8Array.of(1, 1, 6, 0, 0));
  await rig.settle();
  assert.equal(logged().at(-1)?.["since_last_line"], 50);
});

test("a flood of DISCOVERs from invented clients leaves no trace in the store and a real client its address", async () => {
  await using rig = await Rig.open();
  const random = new SeededRandom(5);
  for (let round = 0; round < 500; round += 1) {
    const mac = `02:${[...random.bytes(5)].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
    await rig.ask(mac, { messageType: "discover" });
  }
  assert.equal(rig.store.leases.list().length, 0);
  assert.ok(rig.service.counters().offersHeld <= 64);
  assert.equal(readOption((await rig.lease(A)).options, "messageType"), "ack");
});

test("a flood that takes every address of the pool does not keep an enrolled machine out", async () => {
  await using rig = await Rig.open();
  for (let at = 0; at < 64; at += 1) {
    const requestedAddress = parseIpv4Address(`127.0.1.${at}`);
    const mac = `02:00:00:00:01:${at.toString(16).padStart(2, "0")}`;
    const ack = await rig.ask(mac, { messageType: "request", requestedAddress });
    assert.equal(readOption(ack.options, "messageType"), "ack");
  }
  await rig.send(B, { messageType: "discover" });
  await rig.settle();
  assert.equal(rig.service.counters().silent, 1);
  const node = aNode(1);
  await rig.store.commit((tx) => {
    tx.nodes.put(node);
    tx.ports.put(aPort(1, node.uuid, { address: parseMacAddress(A) }));
  });
  const ack = await rig.lease(A);
  assert.equal(readOption(ack.options, "messageType"), "ack");
  assert.equal(rig.store.leases.byAddress(ack.yiaddr)?.mac, A);
  assert.equal(rig.store.leases.list().length, 64);
});

test("many REQUESTs at once are granted together, each its own address", async () => {
  let commits = 0;
  await using rig = await Rig.open({}, (store) => ({
    ...store,
    leases: store.leases,
    nodes: store.nodes,
    ports: store.ports,
    commit: async (work, options) => {
      commits += 1;
      await new SystemClock().sleep(millis(20)); // a slow disk
      return await store.commit(work, options);
    },
  }));
  const macs = Array.from({ length: 50 }, (_, at) => `52:54:00:00:01:${at.toString(16).padStart(2, "0")}`);
  const offers: Ipv4Address[] = [];
  for (const mac of macs) offers.push((await rig.ask(mac, { messageType: "discover" })).yiaddr);
  for (const [at, mac] of macs.entries())
    await rig.send(mac, { messageType: "request", requestedAddress: offers[at], serverIdentifier: LOOPBACK });
  const given = new Set<Ipv4Address>();
  for (const _ of macs) given.add((await rig.reply()).yiaddr);
  assert.equal(given.size, 50);
  assert.ok(commits < 50, `${commits} commits`);
});

test("anything at all leaves the service serving", async () => {
  await using rig = await Rig.open();
  const seed = Number(process.env["FUZZ_SEED"] ?? 17);
  const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 5000);
  const random = new SeededRandom(seed);
  const datagram = damagedDhcp4(LOOPBACK); // what is answered comes back here and nowhere else
  for (let round = 0; round < rounds; round += 1) await rig.raw(datagram(random));
  await rig.clock.advance(1);
  assert.ok(
    !rig.lines.some(({ event, fields }) => event === "dhcp.failed" && fields.code === "internal"),
    `seed ${seed}`,
  );
});

test("an independent decoder reads the offer as it is meant", async () => {
  const { parse } = createRequire(import.meta.url)("dhcp/lib/protocol.js") as {
    parse: (bytes: Buffer) => { yiaddr: string; options: Record<number, unknown> };
  };
  await using rig = await Rig.open();
  const offer = await rig.ask(A, { messageType: "discover", parameterRequestList: [3, 15] });
  const order = { order: [...offer.options.keys()] };
  const theirs = parse(Buffer.from(encodeMessage(offer, order).bytes));
  assert.equal(theirs.yiaddr, offer.yiaddr);
  assert.deepEqual(theirs.options[3], [LOOPBACK]);
  assert.equal(theirs.options[15], "rack.test");
  assert.equal(theirs.options[51], 600);
  assert.equal(theirs.options[53], 2);
});
