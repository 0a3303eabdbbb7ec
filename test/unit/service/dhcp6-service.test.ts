import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMacAddress } from "../../../src/core/brand.ts";
import { FakeClock } from "../../../src/core/clock.ts";
import { Fault } from "../../../src/core/fault.ts";
import { type Ipv6Address, parseIpv6Address } from "../../../src/core/ipv6-address.ts";
import { silentLog } from "../../../src/core/log.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Scope } from "../../../src/core/scope.ts";
import { seconds } from "../../../src/core/units.ts";
import type { Store } from "../../../src/domain/store.ts";
import type { DatagramEndpoint, DatagramServer, ReceivedDatagram } from "../../../src/net/datagram.ts";
import {
  type ClientServerMessage,
  decodeMessage,
  encodeMessage,
  type RelayMessage,
} from "../../../src/protocol/dhcp6/message.ts";
import { option, readOption, readOptions, statusCodes } from "../../../src/protocol/dhcp6/options.ts";
import type { RawOption } from "../../../src/protocol/dhcp6/raw-options.ts";
import { serverDuid } from "../../../src/service/dhcp6-duid.ts";
import { Dhcp6Service, type Dhcp6ServiceOptions } from "../../../src/service/dhcp6-service.ts";
import { openMemoryStore } from "../../../src/store/memory-store.ts";
import { bootSettings } from "../../boot-settings.ts";
import { aNode, aPort } from "../../conformance/store-contract.ts";
import { anyDhcp6 } from "../../fuzz/dhcp6-datagram.ts";

const OURS = parseIpv6Address("fd00::1");
const DUID = serverDuid(new Uint8Array(32).fill(1));
const MAC = "52:54:00:12:34:56";
/** The link-local address that firmware makes of it. */
const CLIENT: DatagramEndpoint = { address: "fe80::5054:ff:fe12:3456%eth0", port: 546 };
const CLIENT_DUID = Uint8Array.of(0, 4, ...new Uint8Array(16).fill(9));
const CLIENT_ID = option("clientIdentifier", CLIENT_DUID);
const SERVER_ID = option("serverIdentifier", DUID);

/** One end of a wire without a network: what is given to it arrives, what is posted is kept. */
class Wire implements DatagramServer {
  readonly local = { address: "::", port: 547 };
  readonly dropped = 0;
  readonly posted: { readonly bytes: Uint8Array; readonly to: DatagramEndpoint }[] = [];
  #listener: ((datagram: ReceivedDatagram) => void) | undefined;

  listen(listener: (datagram: ReceivedDatagram) => void): void {
    this.#listener = listener;
  }

  arrive(bytes: Uint8Array, from: DatagramEndpoint = CLIENT): void {
    this.#listener?.({ bytes, from });
  }

  post(bytes: Uint8Array, to: DatagramEndpoint): void {
    this.posted.push({ bytes, to });
  }

  async close(): Promise<void> {}
  async [Symbol.asyncDispose](): Promise<void> {}
}

class Rig implements AsyncDisposable {
  readonly #scope = new Scope();
  readonly clock = new FakeClock();
  readonly group = new Wire();
  readonly own = new Wire();
  readonly store: Store;
  readonly service: Dhcp6Service;

  constructor(changes: Partial<Dhcp6ServiceOptions> = {}, wrap: (store: Store) => Store = (store) => store) {
    this.store = this.#scope.use(openMemoryStore({ clock: this.clock }));
    this.service = this.#scope.use(
      new Dhcp6Service({
        store: wrap(this.store),
        clock: this.clock,
        log: silentLog,
        links: [{ interface: "eth0", address: OURS, groupSockets: [this.group], ownSocket: this.own }],
        subnets: [
          {
            subnet: {
              prefix: OURS,
              prefixLength: 64,
              interface: "eth0",
              pool: { first: parseIpv6Address("fd00::100"), last: parseIpv6Address("fd00::1ff") },
              reservations: [],
              excluded: [OURS],
              preferredLifetime: seconds(600),
              validLifetime: seconds(1200),
            },
            options: { nameServers: [OURS], domainSearch: ["rack.test"] },
          },
        ],
        boot: bootSettings(),
        duid: DUID,
        rapidCommit: false,
        preference: 0,
        offerTime: seconds(60),
        quarantine: seconds(600),
        ...changes,
      }),
    );
    this.service.start();
  }

  /** Sends, waits until everything that was asked for is on disk, and gives what came back. */
  async ask(
    type: ClientServerMessage["type"],
    options: readonly RawOption[],
    wire: Wire = this.group,
  ): Promise<readonly ClientServerMessage[]> {
    return (await this.raw(encodeMessage({ kind: "client-server", type, transactionId: 0x123456, options }), wire)).map(
      (message) => {
        assert.ok(message.kind === "client-server");
        return message;
      },
    );
  }

  async raw(bytes: Uint8Array, wire: Wire = this.group, from: DatagramEndpoint = CLIENT) {
    wire.arrive(bytes, from);
    // Commits go out in order: behind this one all that was begun has ended, and its answer a turn later.
    await this.store.commit(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    return wire.posted.splice(0).map((one) => decodeMessage(one.bytes));
  }

  async lease(): Promise<Ipv6Address> {
    const [reply] = await this.ask("request", [CLIENT_ID, SERVER_ID, ia(1)]);
    const address = addressOf(reply);
    assert.ok(address !== undefined);
    return address;
  }

  async enroll(): Promise<void> {
    await this.store.commit((tx) => {
      const node = aNode(1, { bootTarget: "ramdisk" });
      tx.nodes.put(node);
      tx.ports.put(aPort(1, node.uuid, { address: parseMacAddress(MAC) }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.close();
  }
}

function ia(iaid: number, ...addresses: readonly string[]): RawOption {
  const options = addresses.map((one) =>
    option("address", { address: parseIpv6Address(one), preferredLifetime: 0, validLifetime: 0, options: [] }),
  );
  return option("nonTemporaryAddresses", { iaid, t1: 0, t2: 0, options });
}

function addressOf(message: ClientServerMessage | undefined): Ipv6Address | undefined {
  const [association] = readOptions(message?.options ?? [], "nonTemporaryAddresses");
  return readOption(association?.options ?? [], "address")?.address;
}

function statusOf(options: readonly RawOption[] | undefined): string | undefined {
  const code = readOption(options ?? [], "statusCode")?.code;
  return Object.entries(statusCodes).find(([, one]) => one === code)?.[0];
}

const PXE = [
  option("clientArchitecture", [7]),
  option("vendorClass", { enterprise: 343, data: [Buffer.from("PXEClient:Arch:00007:UNDI:003016")] }),
];
const ASKED = option("optionRequest", [59, 60, 23, 24, 82]);

test("SOLICIT, ADVERTISE, REQUEST, REPLY: the lease is in the store before the REPLY leaves, with times and options", async () => {
  await using rig = new Rig();
  const [advertise] = await rig.ask("solicit", [CLIENT_ID, ia(7), ASKED]);
  assert.equal(advertise?.type, "advertise");
  assert.equal(rig.store.leases6.list().length, 0);
  const offered = addressOf(advertise) ?? "";
  const [reply] = await rig.ask("request", [CLIENT_ID, SERVER_ID, ia(7, offered), ASKED]);
  assert.equal(reply?.type, "reply");
  const [association] = readOptions(reply.options, "nonTemporaryAddresses");
  assert.deepEqual([association?.iaid, association?.t1, association?.t2], [7, 300, 480]);
  const given = readOption(association?.options ?? [], "address");
  assert.deepEqual([given?.address, given?.preferredLifetime, given?.validLifetime], [offered, 600, 1200]);
  assert.deepEqual(readOption(reply.options, "nameServers"), [OURS]);
  assert.deepEqual(readOption(reply.options, "domainSearch"), ["rack.test"]);
  assert.equal(readOption(reply.options, "solicitMaximumRetransmission"), 60);
  assert.deepEqual(readOption(reply.options, "clientIdentifier"), CLIENT_DUID);
  const [lease] = rig.store.leases6.list();
  assert.deepEqual([lease?.address, lease?.mac, lease?.client], [offered, MAC, `duid:0004${"09".repeat(16)}/00000007`]);
});

test("a REPLY that promises a lease does not leave when the lease cannot be stored", async () => {
  const full = (store: Store): Store => ({
    nodes: store.nodes,
    ports: store.ports,
    volumes: store.volumes,
    leases: store.leases,
    leases6: store.leases6,
    commands: store.commands,
    history: store.history,
    outbox: store.outbox,
    inventory: store.inventory,
    commit: async () => {
      throw new Fault("storage", "store.full", "no space left");
    },
  });
  await using rig = new Rig({}, full);
  assert.deepEqual(await rig.ask("request", [CLIENT_ID, SERVER_ID, ia(1)]), []);
  assert.equal(rig.service.counters().failed, 1);
});

test("a message that breaks a rule of RFC 8415 §16 gets no answer", async () => {
  await using rig = new Rig();
  const foreign = option("serverIdentifier", Uint8Array.of(0, 3, 0, 1, 1, 2, 3, 4, 5, 6));
  const broken: readonly (readonly [ClientServerMessage["type"], readonly RawOption[]])[] = [
    ["solicit", [ia(1)]],
    ["solicit", [CLIENT_ID, SERVER_ID, ia(1)]],
    ["request", [CLIENT_ID, ia(1)]],
    ["request", [CLIENT_ID, foreign, ia(1)]],
    ["renew", [CLIENT_ID, ia(1)]],
    ["rebind", [CLIENT_ID, SERVER_ID, ia(1)]],
    ["release", [SERVER_ID, ia(1)]],
    ["decline", [CLIENT_ID, ia(1)]],
    ["confirm", [CLIENT_ID, SERVER_ID, ia(1, "fd00::100")]],
    ["confirm", [CLIENT_ID, ia(1)]],
    ["informationRequest", [CLIENT_ID, ia(1)]],
    ["informationRequest", [foreign]],
    ["advertise", [CLIENT_ID, SERVER_ID]],
    ["reply", [CLIENT_ID, SERVER_ID]],
    ["reconfigure", [CLIENT_ID, SERVER_ID]],
  ];
  for (const [type, options] of broken) assert.deepEqual(await rig.ask(type, options), [], type);
  assert.equal(rig.service.counters().silent, broken.length);
});

test("who calls our own address is sent to the group, or not answered — RFC 8415 §18.4", async () => {
  await using rig = new Rig();
  for (const type of ["request", "renew", "release", "decline"] as const) {
    const [reply] = await rig.ask(type, [CLIENT_ID, SERVER_ID, ia(1, "fd00::100")], rig.own);
    assert.equal(statusOf(reply?.options), "useMulticast");
  }
  for (const type of ["solicit", "confirm", "rebind"] as const)
    assert.deepEqual(await rig.ask(type, [CLIENT_ID, ia(1, "fd00::100")], rig.own), []);
  assert.equal(rig.store.leases6.list().length, 0);
});

test("Rapid Commit is answered in two messages where it is on, and only then", async () => {
  const options = [CLIENT_ID, ia(1), option("rapidCommit", true)];
  await using off = new Rig();
  assert.equal((await off.ask("solicit", options))[0]?.type, "advertise");
  await using on = new Rig({ rapidCommit: true });
  const [reply] = await on.ask("solicit", options);
  assert.equal(reply?.type, "reply");
  assert.equal(readOption(reply.options, "rapidCommit"), true);
  assert.equal(on.store.leases6.byAddress(addressOf(reply) ?? OURS)?.state, "bound");
});

test("RENEW and REBIND extend the lease, RELEASE ends it, a second RELEASE says NoBinding", async () => {
  await using rig = new Rig();
  const address = await rig.lease();
  const until = rig.store.leases6.byAddress(address)?.expiresAt ?? 0;
  await rig.clock.advance(seconds(100));
  assert.equal(addressOf((await rig.ask("renew", [CLIENT_ID, SERVER_ID, ia(1, address)]))[0]), address);
  await rig.clock.advance(seconds(100));
  assert.equal(addressOf((await rig.ask("rebind", [CLIENT_ID, ia(1, address)]))[0]), address);
  assert.equal(rig.store.leases6.byAddress(address)?.expiresAt, until + 200_000);
  const [released] = await rig.ask("release", [CLIENT_ID, SERVER_ID, ia(1, address)]);
  assert.equal(statusOf(released?.options), "success");
  assert.equal(rig.store.leases6.byAddress(address)?.state, "released");
  const [again] = await rig.ask("release", [CLIENT_ID, SERVER_ID, ia(1, address)]);
  assert.equal(statusOf(readOption(again?.options ?? [], "nonTemporaryAddresses")?.options), "noBinding");
});

test("a DECLINEd address is not given out again — RFC 8415 §18.3.8", async () => {
  await using rig = new Rig();
  const address = await rig.lease();
  const [reply] = await rig.ask("decline", [CLIENT_ID, SERVER_ID, ia(1, address)]);
  assert.equal(statusOf(reply?.options), "success");
  assert.equal(rig.store.leases6.byAddress(address)?.state, "declined");
  assert.notEqual(await rig.lease(), address);
});

test("CONFIRM is Success for addresses of the link, NotOnLink for others — RFC 8415 §18.3.3", async () => {
  await using rig = new Rig();
  assert.equal(statusOf((await rig.ask("confirm", [CLIENT_ID, ia(1, "fd00::9")]))[0]?.options), "success");
  const both = [CLIENT_ID, ia(1, "fd00::9"), ia(2, "fd99::9")];
  assert.equal(statusOf((await rig.ask("confirm", both))[0]?.options), "notOnLink");
});

test("INFORMATION-REQUEST gets options and no address, also without a DUID", async () => {
  await using rig = new Rig();
  const [reply] = await rig.ask("informationRequest", [ASKED]);
  assert.deepEqual(readOption(reply?.options ?? [], "nameServers"), [OURS]);
  assert.deepEqual(readOptions(reply?.options ?? [], "nonTemporaryAddresses"), []);
  assert.equal(readOption(reply?.options ?? [], "clientIdentifier"), undefined);
});

test("IA_PD gets NoPrefixAvail and IA_TA NoAddrsAvail, beside the address", async () => {
  await using rig = new Rig();
  const prefix = option("delegatedPrefixes", { iaid: 3, t1: 0, t2: 0, options: [] });
  const temporary = option("temporaryAddresses", { iaid: 4, options: [] });
  const [advertise] = await rig.ask("solicit", [CLIENT_ID, ia(1), prefix, temporary]);
  const options = advertise?.options ?? [];
  assert.ok(addressOf(advertise) !== undefined);
  assert.equal(statusOf(readOption(options, "delegatedPrefixes")?.options), "noPrefixAvail");
  assert.equal(statusOf(readOption(options, "temporaryAddresses")?.options), "noAddrsAvail");
});

test("several associations of one client get an address each, too many and repeated ones NoAddrsAvail", async () => {
  await using rig = new Rig();
  const many = [...Array.from({ length: 10 }, (_, at) => ia(at)), ia(0)];
  const [advertise] = await rig.ask("solicit", [CLIENT_ID, ...many]);
  const [reply] = await rig.ask("request", [CLIENT_ID, SERVER_ID, ...many]);
  for (const message of [advertise, reply]) {
    const answered = readOptions(message?.options ?? [], "nonTemporaryAddresses");
    const addresses = answered.flatMap((one) => readOptions(one.options, "address").map(({ address }) => address));
    assert.equal(new Set(addresses).size, 8);
    assert.equal(answered.filter((one) => statusOf(one.options) === "noAddrsAvail").length, 3);
  }
});

test("UEFI's PXE is told the loader's URL, HTTP boot with HTTPClient again, iPXE its script, others nothing — RFC 5970", async () => {
  await using rig = new Rig();
  await rig.enroll();
  const url = async (...signs: readonly RawOption[]): Promise<readonly [string | undefined, string | undefined]> => {
    const [reply] = await rig.ask("request", [CLIENT_ID, SERVER_ID, ia(1), ASKED, ...signs]);
    const options = reply?.options ?? [];
    const [data] = readOption(options, "vendorClass")?.data ?? [];
    return [readOption(options, "bootFileUrl"), data === undefined ? undefined : Buffer.from(data).toString("latin1")];
  };
  assert.deepEqual(await url(...PXE), ["tftp://[fd00::1]/snponly.efi", undefined]);
  const http = { enterprise: 343, data: [Buffer.from("HTTPClient:Arch:00016:UNDI:003016")] };
  assert.deepEqual(await url(option("clientArchitecture", [16]), option("vendorClass", http)), [
    "http://[fd00::1]:8080/loader/snponly.efi",
    "HTTPClient",
  ]);
  assert.deepEqual(await url(...PXE, option("userClass", [Buffer.from("iPXE")])), [
    "http://[fd00::1]:8080/boot/52-54-00-12-34-56.ipxe",
    undefined,
  ]);
  assert.deepEqual(await url(), [undefined, undefined]);
});

test("preference stands in ADVERTISE where it is set", async () => {
  await using rig = new Rig({ preference: 255 });
  assert.equal(readOption((await rig.ask("solicit", [CLIENT_ID, ia(1)]))[0]?.options ?? [], "preference"), 255);
});

test("through two relays the answer goes back in both, with their interface ids, to the first one's port — RFC 8415 §19.3", async () => {
  await using rig = new Rig();
  const solicit = encodeMessage({
    kind: "client-server",
    type: "solicit",
    transactionId: 5,
    options: [CLIENT_ID, ia(1)],
  });
  const relay = (hopCount: number, link: string, peer: string, id: number, inner: Uint8Array): Uint8Array =>
    encodeMessage({
      kind: "relay",
      type: "relayForward",
      hopCount,
      linkAddress: parseIpv6Address(link),
      peerAddress: parseIpv6Address(peer),
      options: [option("interfaceId", Uint8Array.of(id)), option("relayMessage", inner)],
    });
  const inner = relay(0, "fd00::fe", "fe80::5054:ff:fe12:3456", 1, solicit);
  rig.own.arrive(relay(1, "::", "fd00::fe", 2, inner), { address: "fd00::ff", port: 1234 });
  const [posted] = rig.own.posted;
  assert.deepEqual(posted?.to, { address: "fd00::ff", port: 547 });
  const outer = decodeMessage(posted.bytes) as RelayMessage;
  assert.deepEqual([outer.type, outer.hopCount, readOption(outer.options, "interfaceId")?.[0]], ["relayReply", 1, 2]);
  const second = decodeMessage(readOption(outer.options, "relayMessage") ?? new Uint8Array()) as RelayMessage;
  assert.deepEqual(
    [second.hopCount, second.peerAddress, readOption(second.options, "interfaceId")?.[0]],
    [0, "fe80::5054:ff:fe12:3456", 1],
  );
  const answer = decodeMessage(readOption(second.options, "relayMessage") ?? new Uint8Array());
  assert.ok(answer.kind === "client-server" && answer.type === "advertise");
});

test("a client behind a relay on a link that is not configured gets no answer", async () => {
  await using rig = new Rig();
  const inner = encodeMessage({
    kind: "client-server",
    type: "solicit",
    transactionId: 5,
    options: [CLIENT_ID, ia(1)],
  });
  const relayed = encodeMessage({
    kind: "relay",
    type: "relayForward",
    hopCount: 0,
    linkAddress: parseIpv6Address("fd77::1"),
    peerAddress: parseIpv6Address("fe80::1"),
    options: [option("relayMessage", inner)],
  });
  assert.deepEqual(await rig.raw(relayed, rig.own, { address: "fd77::1", port: 547 }), []);
});

test("whatever arrives, the service lives, holds no more than its pool, and serves on", async () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 8415);
  const rounds = Number(process.env["FUZZ_ROUNDS"] ?? 20_000);
  const random = new SeededRandom(seed);
  const datagram = anyDhcp6({ duid: DUID, pool: parseIpv6Address("fd00::100") });
  await using rig = new Rig({ rapidCommit: true });
  for (let round = 0; round < rounds; round += 1) {
    (random.below(4) === 0 ? rig.own : rig.group).arrive(datagram(random), {
      address: `fe80::${random.below(65_536).toString(16)}%eth0`,
      port: 546,
    });
    if (round % 500 === 0) await rig.raw(new Uint8Array(0));
  }
  await rig.raw(new Uint8Array(0));
  const { failed, malformed, received, offersHeld } = rig.service.counters();
  assert.equal(failed, 0, `seed ${seed}`);
  assert.ok(malformed > 0 && malformed < received, `seed ${seed}`);
  assert.ok(offersHeld <= 256 && rig.store.leases6.list().length <= 256, `seed ${seed}`);
  await rig.clock.advance(seconds(3600));
  assert.ok((await rig.lease()).startsWith("fd00::1"));
});
