import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Ipv4Address,
  ipv4FromNumber,
  ipv4ToNumber,
  parseIpv4Address,
  parseMacAddress,
} from "../../../src/core/brand.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { millis, seconds } from "../../../src/core/units.ts";
import {
  type AddressDecision,
  type AddressQuery,
  type AddressView,
  decideAddress,
} from "../../../src/domain/address-policy.ts";
import { FreeAddresses } from "../../../src/domain/free-addresses.ts";
import type { Lease } from "../../../src/domain/lease.ts";
import { OfferTable } from "../../../src/domain/offer-table.ts";
import type { LeaseReader } from "../../../src/domain/store.ts";
import { prepareSubnet, selectSubnet, type Subnet } from "../../../src/domain/subnet.ts";

const SERVER = parseIpv4Address("10.0.0.1");
const mac = parseMacAddress("52:54:00:00:00:01");
const ip = (last: number): Ipv4Address => parseIpv4Address(`10.0.0.${last}`);
const NETWORK = ipv4ToNumber(parseIpv4Address("10.0.0.0"));
const at = (index: number): Ipv4Address => ipv4FromNumber(NETWORK + index);
const WALL = Date.parse("2026-01-01T00:00:00Z");

const subnet: Subnet = {
  network: parseIpv4Address("10.0.0.0"),
  prefixLength: 24,
  interface: "eth1",
  pools: [{ first: ip(10), last: ip(14) }],
  reservations: [
    { key: { kind: "mac", mac: parseMacAddress("52:54:00:00:00:99") }, address: ip(12), hostname: "reserved" },
  ],
  excluded: [SERVER, ip(14)],
  leaseTime: seconds(3600),
  maximumLeaseTime: seconds(7200),
};

/** Leases in memory; what the store does, without the store. */
class Leases implements LeaseReader {
  readonly rows = new Map<Ipv4Address, Lease>();

  byAddress(address: Ipv4Address): Lease | undefined {
    return this.rows.get(address);
  }

  byClient(client: string): Lease | undefined {
    return [...this.rows.values()].find((lease) => lease.client === client);
  }

  list(): readonly Lease[] {
    return [...this.rows.values()];
  }

  put(address: Ipv4Address, client: string, changes: Partial<Lease> = {}): void {
    this.rows.set(address, {
      address,
      client,
      mac,
      hostname: null,
      state: "bound",
      expiresAt: WALL + 1_000_000,
      ...changes,
    });
  }
}

interface World {
  readonly leases: Leases;
  readonly offers: OfferTable;
  readonly free: FreeAddresses;
  readonly changes: Partial<AddressView>;
}

function world(changes: Partial<AddressView> = {}): World {
  const { pool } = changes.subnet ?? prepareSubnet(subnet);
  return { leases: new Leases(), offers: new OfferTable(), free: new FreeAddresses(pool.size), changes };
}

function ask(
  { leases, offers, free, changes }: World,
  query: Partial<AddressQuery> & Pick<AddressQuery, "kind">,
): AddressDecision {
  const view: AddressView = {
    subnet: prepareSubnet(subnet),
    free,
    leases,
    offers,
    now: millis(0),
    wall: WALL,
    servers: [SERVER],
    authoritative: true,
    rapidCommit: false,
    quarantine: seconds(600),
    enrolled: () => false,
    alive: new Set(),
    ...changes,
  };
  return decideAddress(
    {
      client: `mac:${mac}`,
      mac,
      keys: [{ kind: "mac", mac }],
      hostname: null,
      requested: null,
      ciaddr: null,
      server: null,
      leaseTime: null,
      rapidCommit: false,
      ...query,
    },
    view,
  );
}

function addressOf(decision: AddressDecision): Ipv4Address | string {
  return decision.kind === "offer" || decision.kind === "ack"
    ? decision.address
    : `${decision.kind}: ${decision.reason}`;
}

test("answers a DISCOVER with a free address of the pool, the same each time", () => {
  const first = ask(world(), { kind: "discover" });
  assert.equal(first.kind, "offer");
  assert.equal(addressOf(ask(world(), { kind: "discover" })), addressOf(first));
  assert.ok([ip(10), ip(11), ip(13)].includes(addressOf(first) as Ipv4Address));
});

test("offers the present address, then the former one, then the one offered before, then the one asked for — RFC 2131 §4.3.1", () => {
  const present = world();
  present.leases.put(ip(11), `mac:${mac}`);
  present.offers.hold({ address: ip(13), network: NETWORK, client: `mac:${mac}`, until: millis(10) });
  assert.equal(addressOf(ask(present, { kind: "discover", requested: ip(10) })), ip(11));
  const former = world();
  former.leases.put(ip(11), `mac:${mac}`, { state: "released", expiresAt: WALL - 5 });
  assert.equal(addressOf(ask(former, { kind: "discover", requested: ip(10) })), ip(11));
  const offered = world();
  offered.offers.hold({ address: ip(13), network: NETWORK, client: `mac:${mac}`, until: millis(10) });
  assert.equal(addressOf(ask(offered, { kind: "discover", requested: ip(10) })), ip(13));
  assert.equal(addressOf(ask(world(), { kind: "discover", requested: ip(10) })), ip(10));
});

test("never offers an excluded or reserved address, one outside of the pool, or one that somebody holds", () => {
  for (const requested of [ip(14), ip(12), ip(1), ip(0), ip(255), ip(200), parseIpv4Address("10.9.9.9")]) {
    assert.notEqual(addressOf(ask(world(), { kind: "discover", requested })), requested);
  }
  const held = world();
  held.leases.put(ip(10), "mac:other");
  held.leases.put(ip(11), "declined:10.0.0.11", { state: "declined" });
  assert.equal(addressOf(ask(held, { kind: "discover" })), ip(13));
  held.leases.put(ip(13), "mac:third");
  assert.deepEqual(ask(held, { kind: "discover" }), { kind: "silent", reason: "every address of the pool is in use" });
});

test("prefers an address that never was anybody's, then the one whose lease ended first", () => {
  const one = world();
  one.leases.put(ip(10), "mac:a", { expiresAt: WALL - 10 });
  one.leases.put(ip(11), "mac:b", { expiresAt: WALL - 20 });
  assert.equal(addressOf(ask(one, { kind: "discover" })), ip(13));
  one.leases.put(ip(13), "mac:c", { state: "released", expiresAt: WALL - 1 });
  assert.equal(addressOf(ask(one, { kind: "discover" })), ip(11));
});

test("a flood of DISCOVERs cannot use up the pool: the oldest offer gives way", () => {
  const flooded = world();
  [10, 11, 13].forEach((last, at) =>
    flooded.offers.hold({ address: ip(last), network: NETWORK, client: `mac:${at}`, until: millis(100 + last) }),
  );
  assert.equal(addressOf(ask(flooded, { kind: "discover" })), ip(10));
});

test("finds the one address that is free in a large pool, and the one that becomes free later", () => {
  const large = prepareSubnet({
    ...subnet,
    prefixLength: 16,
    pools: [{ first: ip(10), last: at(3009) }],
    reservations: [],
  });
  const state = world({ subnet: large });
  for (let index = 0; index < 3000; index += 1) state.leases.put(at(10 + index), `mac:${index}`);
  state.leases.rows.delete(at(1234));
  assert.equal(addressOf(ask(state, { kind: "discover" })), at(1234));
  state.offers.hold({ address: at(1234), network: NETWORK, client: "mac:other", until: millis(60_000) });
  assert.equal(addressOf(ask(state, { kind: "discover" })), at(1234), "is only offered");
  state.leases.put(at(1234), "mac:other");
  assert.equal(addressOf(ask(state, { kind: "discover" })), "silent: every address of the pool is in use");
  state.leases.rows.delete(at(2345));
  const later = { ...state, changes: { ...state.changes, now: millis(2000) } };
  assert.equal(addressOf(ask(later, { kind: "discover" })), at(2345));
});

test("gives a reserved address to whom it is reserved for, and to nobody else", () => {
  const reserved = {
    client: "mac:52:54:00:00:00:99",
    keys: [{ kind: "mac", mac: parseMacAddress("52:54:00:00:00:99") }],
  } as const;
  const offer = ask(world(), { kind: "discover", ...reserved, requested: ip(10) });
  assert.equal(addressOf(offer), ip(12));
  assert.equal(offer.kind === "offer" && offer.hostname, "reserved");
  assert.equal(ask(world(), { kind: "request", server: SERVER, requested: ip(10), ...reserved }).kind, "nak");
  assert.equal(ask(world(), { kind: "request", server: SERVER, requested: ip(12) }).kind, "nak");
  // Somebody had the address before it was reserved: the machine is not left without one.
  const taken = world();
  taken.leases.put(ip(12), "mac:other");
  const instead = addressOf(ask(taken, { kind: "discover", ...reserved }));
  assert.ok([ip(10), ip(11), ip(13)].includes(instead as Ipv4Address));
  assert.equal(
    addressOf(ask(taken, { kind: "request", server: SERVER, requested: instead as Ipv4Address, ...reserved })),
    instead,
  );
});

test("acknowledges a REQUEST for its offer and gives the lease to store — SELECTING, RFC 2131 §4.3.2", () => {
  const offered = world();
  offered.offers.hold({ address: ip(11), network: NETWORK, client: `mac:${mac}`, until: millis(10) });
  const decision = ask(offered, { kind: "request", server: SERVER, requested: ip(11), hostname: "n1" });
  assert.deepEqual(decision.kind === "ack" && decision.lease, {
    address: ip(11),
    client: `mac:${mac}`,
    mac,
    hostname: "n1",
    state: "bound",
    expiresAt: WALL + 3_600_000,
  });
});

test("acknowledges an offer that was forgotten over a restart, as long as the address is free", () => {
  assert.equal(ask(world(), { kind: "request", server: SERVER, requested: ip(11) }).kind, "ack");
});

test("answers a REQUEST for another server with silence — RFC 2131 §4.3.2", () => {
  const decision = ask(world(), { kind: "request", server: ip(2), requested: ip(11) });
  assert.deepEqual(decision, { kind: "silent", reason: "the client took the offer of 10.0.0.2" });
});

test("refuses an address that somebody else got in between", () => {
  const raced = world();
  raced.leases.put(ip(11), "mac:faster");
  assert.equal(ask(raced, { kind: "request", server: SERVER, requested: ip(11) }).kind, "nak");
  const offered = world();
  offered.offers.hold({ address: ip(11), network: NETWORK, client: "mac:other", until: millis(10) });
  assert.equal(ask(offered, { kind: "request", server: SERVER, requested: ip(11) }).kind, "nak");
});

test("INIT-REBOOT: confirms the lease it knows, refuses a wrong network, and leaves strangers to other servers", () => {
  const known = world({ authoritative: false });
  known.leases.put(ip(11), `mac:${mac}`);
  assert.equal(addressOf(ask(known, { kind: "request", requested: ip(11) })), ip(11));
  assert.equal(ask(known, { kind: "request", requested: parseIpv4Address("192.0.2.1") }).kind, "silent");
  assert.equal(ask(world(), { kind: "request", requested: parseIpv4Address("192.0.2.1") }).kind, "nak");
  assert.equal(ask(world({ authoritative: false }), { kind: "request", requested: ip(11) }).kind, "silent");
  assert.equal(ask(world(), { kind: "request", requested: ip(11) }).kind, "ack");
  const other = world();
  other.leases.put(ip(11), "mac:other");
  assert.equal(ask(other, { kind: "request", requested: ip(11) }).kind, "nak");
});

test("RENEWING and REBINDING: extends the lease, also one that had ended, and refuses an address that is somebody else's", () => {
  const known = world();
  known.leases.put(ip(11), `mac:${mac}`, { expiresAt: WALL - 1 });
  const decision = ask(known, { kind: "request", ciaddr: ip(11) });
  assert.equal(decision.kind === "ack" && decision.lease.expiresAt, WALL + 3_600_000);
  known.leases.put(ip(11), "mac:other");
  assert.equal(ask(known, { kind: "request", ciaddr: ip(11) }).kind, "nak");
  assert.equal(ask(world({ authoritative: false }), { kind: "request", ciaddr: ip(11) }).kind, "silent");
});

test("a client that moves to another address gives up its former one", () => {
  const known = world();
  known.leases.put(ip(11), `mac:${mac}`);
  const decision = ask(known, { kind: "request", server: SERVER, requested: ip(13) });
  assert.equal(decision.kind === "ack" && decision.instead, ip(11));
});

test("a lease is as long as the client asks, within bounds", () => {
  const time = (leaseTime: number): number | false => {
    const decision = ask(world(), { kind: "discover", leaseTime: millis(leaseTime) });
    return decision.kind === "offer" && decision.leaseTime;
  };
  assert.equal(time(1_800_000), 1_800_000);
  assert.equal(time(1), 60_000);
  assert.equal(time(1e12), 7_200_000);
});

test("DECLINE: only the holder may, and then nobody gets the address until the quarantine is over — RFC 2131 §4.3.3", () => {
  const known = world();
  assert.equal(ask(known, { kind: "decline", requested: ip(11), server: SERVER }).kind, "silent");
  known.leases.put(ip(11), `mac:${mac}`);
  const decision = ask(known, { kind: "decline", requested: ip(11), server: SERVER });
  assert.ok(decision.kind === "returned");
  assert.equal(decision.lease.state, "declined");
  known.leases.rows.set(ip(11), decision.lease);
  assert.notEqual(addressOf(ask(known, { kind: "discover", requested: ip(11) })), ip(11));
  assert.equal(
    addressOf(ask({ ...known, changes: { wall: WALL + 601_000 } }, { kind: "discover", requested: ip(11) })),
    ip(11),
  );
});

test("RELEASE: only by the holder; the address stays its former one — RFC 2131 §4.3.4", () => {
  const known = world();
  known.leases.put(ip(11), `mac:${mac}`);
  assert.equal(ask(known, { kind: "release", ciaddr: ip(11), client: "mac:other" }).kind, "silent");
  const decision = ask(known, { kind: "release", ciaddr: ip(11), server: SERVER });
  assert.ok(decision.kind === "returned");
  assert.equal(decision.lease.state, "released");
  known.leases.rows.set(ip(11), decision.lease);
  assert.equal(addressOf(ask(known, { kind: "discover" })), ip(11));
  assert.equal(
    addressOf(ask(known, { kind: "request", client: "mac:other", requested: ip(11), server: SERVER })),
    ip(11),
  );
});

test("BOOTP: who has a reservation gets it for ever, nobody else is answered", () => {
  assert.equal(ask(world(), { kind: "bootp" }).kind, "silent");
  const decision = ask(world(), { kind: "bootp", keys: [{ kind: "mac", mac: parseMacAddress("52:54:00:00:00:99") }] });
  assert.equal(addressOf(decision), ip(12));
});

test("rapid commit: a DISCOVER is acknowledged at once where it is allowed — RFC 4039", () => {
  assert.equal(ask(world({ rapidCommit: true }), { kind: "discover", rapidCommit: true }).kind, "ack");
  assert.equal(ask(world(), { kind: "discover", rapidCommit: true }).kind, "offer");
});

test("a link without a subnet is answered with silence", () => {
  assert.equal(ask(world({ subnet: undefined }), { kind: "discover" }).kind, "silent");
});

test("whatever clients do, no address is held by two of them", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? 7);
  const random = new SeededRandom(seed);
  const state = world();
  const prepared = prepareSubnet(subnet);
  const held = new Map<Ipv4Address, { client: string; until: number }>();
  let now = 0;
  for (let round = 0; round < 30_000; round += 1) {
    now += random.below(120_000);
    const kinds = ["discover", "request", "request", "decline", "release", "inform", "bootp"] as const;
    const kind = kinds[random.below(kinds.length)] ?? "discover";
    const client = `mac:${random.below(9)}`;
    const some = (): Ipv4Address | null =>
      random.below(3) === 0 ? null : ipv4FromNumber(0x0a000000 + 9 + random.below(7));
    const query = {
      kind,
      client,
      keys: [],
      requested: some(),
      ciaddr: random.below(2) === 0 ? null : some(),
      server: random.below(2) === 0 ? SERVER : null,
    };
    const decision = ask({ ...state, changes: { now: millis(now), wall: WALL + now, subnet: prepared } }, query);
    if (decision.kind === "offer")
      state.offers.hold({ address: decision.address, network: NETWORK, client, until: millis(now + 60_000) });
    if (decision.kind === "ack") {
      const holder = held.get(decision.address);
      assert.ok(
        holder === undefined || holder.client === client || holder.until <= now,
        `seed ${seed}, round ${round}: ${decision.address} twice`,
      );
      if (decision.instead !== null) state.leases.rows.delete(decision.instead);
      state.leases.rows.set(decision.address, decision.lease);
      for (const [address, one] of held) if (one.client === client) held.delete(address);
      held.set(decision.address, { client, until: now + 3_600_000 });
    }
    if (decision.kind === "returned") {
      state.leases.rows.set(decision.lease.address, decision.lease);
      held.delete(decision.lease.address);
    }
  }
});

test("the subnet of a client: option 82 before option 118 before giaddr before the interface — RFC 3527, RFC 3011", () => {
  const far = prepareSubnet({
    ...subnet,
    network: parseIpv4Address("10.1.0.0"),
    interface: null,
    pools: [],
    reservations: [],
    excluded: [],
  });
  const near = prepareSubnet(subnet);
  const other = prepareSubnet({
    ...subnet,
    network: parseIpv4Address("10.2.0.0"),
    interface: "eth2",
    pools: [],
    reservations: [],
    excluded: [],
  });
  const hints = { interface: "eth1", linkSelection: null, subnetSelection: null, giaddr: null, ciaddr: null };
  const all = [near, far, other];
  assert.equal(selectSubnet(all, hints), near);
  assert.equal(selectSubnet(all, { ...hints, giaddr: parseIpv4Address("10.1.0.9") }), far);
  assert.equal(selectSubnet(all, { ...hints, giaddr: ip(9), linkSelection: parseIpv4Address("10.1.0.0") }), far);
  assert.equal(selectSubnet(all, { ...hints, giaddr: parseIpv4Address("172.16.0.1") }), undefined);
  assert.equal(selectSubnet(all, { ...hints, ciaddr: parseIpv4Address("10.1.0.9") }), far);
  assert.equal(selectSubnet(all, { ...hints, ciaddr: parseIpv4Address("10.2.0.9") }), near); // it has moved here
});

test("a subnet that contradicts itself is refused", () => {
  assert.throws(() => prepareSubnet({ ...subnet, pools: [{ first: ip(20), last: ip(10) }] }), /not a range/);
  assert.throws(
    () => prepareSubnet({ ...subnet, pools: [{ first: ip(20), last: parseIpv4Address("10.0.1.4") }] }),
    /not a range/,
  );
  const reservation = subnet.reservations[0];
  assert.ok(reservation !== undefined);
  assert.throws(
    () => prepareSubnet({ ...subnet, reservations: [reservation, { ...reservation, address: ip(13) }] }),
    /two reservations/,
  );
  assert.throws(
    () => prepareSubnet({ ...subnet, reservations: [{ ...reservation, address: parseIpv4Address("10.0.1.4") }] }),
    /not in/,
  );
});

/** Every address of the pool that is nobody's by reservation. */
const POOL = [ip(10), ip(11), ip(13)];
const stranger = parseMacAddress("02:00:00:00:00:01");

function crowded(changes: Partial<AddressView> = {}): World {
  const full = world({ enrolled: (one) => one === mac, ...changes });
  for (const address of POOL) full.leases.put(address, `id:${address}`, { mac: stranger });
  return full;
}

test("when every address is leased, an enrolled machine gets a stranger's, and the lease of it", () => {
  const full = crowded();
  full.leases.put(ip(11), "id:soonest", { mac: stranger, expiresAt: WALL + 1000 });
  const offer = ask(full, { kind: "discover" });
  assert.ok(offer.kind === "offer" && offer.seized && offer.fresh);
  assert.equal(offer.address, ip(11));
  full.offers.hold({ address: offer.address, network: NETWORK, client: `mac:${mac}`, until: millis(60_000) });
  const ack = ask(full, { kind: "request", server: SERVER, requested: offer.address });
  assert.ok(ack.kind === "ack");
  assert.equal(ack.lease.client, `mac:${mac}`);
});

test("nothing is taken from enrolled machines, from those that answer, or for strangers", () => {
  const ours = crowded({ enrolled: () => true });
  assert.equal(ask(ours, { kind: "discover" }).kind, "silent");
  assert.equal(ask(crowded({ alive: new Set(POOL) }), { kind: "discover" }).kind, "silent");
  assert.equal(ask(crowded(), { kind: "discover", client: "id:other", mac: stranger }).kind, "silent");
  const declined = crowded();
  for (const address of POOL) declined.leases.put(address, `declined:${address}`, { mac: stranger, state: "declined" });
  assert.equal(ask(declined, { kind: "discover" }).kind, "silent");
});

test("a REQUEST for a stranger's address that was not offered is refused, to enrolled machines too", () => {
  const refused = ask(crowded(), { kind: "request", server: SERVER, requested: ip(10) });
  assert.equal(refused.kind, "nak");
});

test("a clock that jumps a year takes no address from who renews it, and gives it to others last", () => {
  for (const jump of [365 * 86_400_000, -365 * 86_400_000]) {
    const there = world({ wall: WALL + jump });
    there.leases.put(ip(10), `mac:${mac}`);
    const renewed = ask(there, { kind: "request", ciaddr: ip(10) });
    assert.ok(renewed.kind === "ack", `${jump}`);
    assert.equal(renewed.address, ip(10));
    assert.equal(renewed.lease.expiresAt, WALL + jump + 3_600_000);
    for (const client of ["id:aa", "id:bb", "id:cc", "id:dd"]) {
      const offer = ask(there, { kind: "discover", client, mac: stranger });
      assert.ok(offer.kind === "offer" && offer.fresh, `${jump} ${client}`);
      assert.notEqual(offer.address, ip(10));
    }
  }
});

test("two servers on one wire: each leaves alone who took the other's offer or has the other's lease", () => {
  const other = parseIpv4Address("10.0.0.2");
  const beside = world({ authoritative: false });
  const took = ask(beside, { kind: "request", server: other, requested: ip(11) });
  assert.equal(took.kind, "silent");
  for (const address of [ip(11), ip(200), parseIpv4Address("192.0.2.7")]) {
    assert.equal(ask(beside, { kind: "request", requested: address }).kind, "silent", address);
    assert.equal(ask(beside, { kind: "request", ciaddr: address }).kind, "silent", address);
  }
  assert.equal(ask(beside, { kind: "release", ciaddr: ip(11), server: other }).kind, "silent");
  assert.equal(ask(beside, { kind: "decline", requested: ip(11), server: other }).kind, "silent");
});
