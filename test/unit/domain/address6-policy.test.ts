import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMacAddress } from "../../../src/core/brand.ts";
import { isFault } from "../../../src/core/fault.ts";
import { type Ipv6Address, ipv6FromNumber, ipv6ToNumber, parseIpv6Address } from "../../../src/core/ipv6-address.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { type Millis, seconds } from "../../../src/core/units.ts";
import {
  type AssociationDecision,
  type AssociationQuery,
  decideAssociation,
} from "../../../src/domain/address6-policy.ts";
import { FreeAddresses } from "../../../src/domain/free-addresses.ts";
import type { Lease6 } from "../../../src/domain/lease.ts";
import { OfferTable } from "../../../src/domain/offer-table.ts";
import { type PreparedSubnet6, prepareSubnet6, type Subnet6 } from "../../../src/domain/subnet6.ts";

const OURS = parseMacAddress("52:54:00:00:00:01");
const STRANGER = parseMacAddress("52:54:00:00:00:99");
const at = (text: string): Ipv6Address => parseIpv6Address(text);

const subnet: Subnet6 = {
  prefix: at("fd00::1"),
  prefixLength: 64,
  interface: "eth0",
  pool: { first: at("fd00::10"), last: at("fd00::13") },
  reservations: [],
  excluded: [at("fd00::1"), at("fd00::12")],
  preferredLifetime: seconds(60),
  validLifetime: seconds(120),
};

/** Leases in a map, as the store has them. */
class Bench {
  readonly leases = new Map<Ipv6Address, Lease6>();
  readonly offers = new OfferTable<Ipv6Address>();
  wall = 1_000_000;
  now = 0 as Millis;
  readonly #subnet: PreparedSubnet6;
  readonly #free: FreeAddresses;

  constructor(changes: Partial<Subnet6> = {}) {
    this.#subnet = prepareSubnet6({ ...subnet, ...changes });
    this.#free = new FreeAddresses(this.#subnet.pool.size);
  }

  decide(query: Partial<AssociationQuery> & Pick<AssociationQuery, "kind">): AssociationDecision {
    const byClient = (client: string): Lease6 | undefined =>
      [...this.leases.values()].find((one) => one.client === client);
    return decideAssociation(
      { client: "duid:aa/1", mac: OURS, keys: [], addresses: [], ...query },
      {
        subnet: this.#subnet,
        free: this.#free,
        leases: { byAddress: (one) => this.leases.get(one), byClient, list: () => [...this.leases.values()] },
        offers: this.offers,
        now: this.now,
        wall: this.wall,
        quarantine: seconds(600),
        enrolled: (mac) => mac === OURS,
        alive: new Set(),
      },
    );
  }

  /** As the service does: what is granted is stored, or for an ADVERTISE held. */
  act(query: Partial<AssociationQuery> & Pick<AssociationQuery, "kind">): AssociationDecision {
    const decision = this.decide(query);
    if (decision.kind === "granted" && query.kind === "solicit") {
      const { address, lease } = decision;
      this.offers.hold({ address, network: 0, client: lease.client, until: (this.now + 60_000) as Millis });
    } else if (decision.kind === "granted") {
      if (decision.instead !== null) this.leases.delete(decision.instead);
      this.leases.set(decision.address, decision.lease);
      this.offers.forget(decision.lease.client);
    }
    if (decision.kind === "returned") for (const lease of decision.leases) this.leases.set(lease.address, lease);
    return decision;
  }

  granted(query: Partial<AssociationQuery> & Pick<AssociationQuery, "kind">): Ipv6Address {
    const decision = this.act(query);
    assert.equal(decision.kind, "granted", JSON.stringify(decision));
    return decision.kind === "granted" ? decision.address : at("::");
  }
}

test("what was advertised is what a REQUEST gets, and what it has it keeps", () => {
  const bench = new Bench();
  const offered = bench.granted({ kind: "solicit" });
  assert.equal(bench.granted({ kind: "solicit" }), offered);
  assert.equal(bench.granted({ kind: "request", addresses: [offered] }), offered);
  assert.equal(bench.granted({ kind: "renew", addresses: [offered] }), offered);
  assert.equal(bench.granted({ kind: "rebind", addresses: [offered] }), offered);
  assert.equal(bench.granted({ kind: "solicit" }), offered);
});

test("a pool gives each address once, none that is excluded, then NoAddrsAvail", () => {
  const bench = new Bench();
  const given = ["a", "b", "c"].map((client) => bench.granted({ kind: "request", client, mac: STRANGER }));
  assert.deepEqual(given.toSorted(), ["fd00::10", "fd00::11", "fd00::13"]);
  const none = bench.act({ kind: "request", client: "d", mac: STRANGER });
  assert.deepEqual([none.kind, none.kind === "refused" && none.status], ["refused", "noAddrsAvail"]);
});

test("in a full pool an enrolled machine gets an address of one that is not, a stranger none", () => {
  const bench = new Bench();
  for (const client of ["a", "b", "c"]) bench.granted({ kind: "request", client, mac: STRANGER });
  const offered = bench.granted({ kind: "solicit" });
  assert.equal(bench.granted({ kind: "request", addresses: [offered] }), offered);
  assert.equal(bench.leases.get(offered)?.mac, OURS);
});

test("a clock that jumps a year takes no address from who renews it, and gives it to others last", () => {
  for (const jump of [365 * 86_400_000, -365 * 86_400_000]) {
    const bench = new Bench();
    const own = bench.granted({ kind: "request" });
    bench.wall += jump;
    for (const client of ["a", "b"])
      assert.notEqual(bench.granted({ kind: "request", client, mac: STRANGER }), own, `${jump}`);
    assert.equal(bench.granted({ kind: "renew", addresses: [own] }), own, `${jump}`);
    assert.equal(bench.leases.get(own)?.expiresAt, bench.wall + 120_000);
  }
});

test("an address of another link is NotOnLink for a REQUEST — RFC 8415 §18.3.2, and told with lifetimes of 0 for a RENEW — §18.3.4", () => {
  const bench = new Bench();
  const requested = bench.decide({ kind: "request", addresses: [at("fd99::5")] });
  assert.ok(requested.kind === "refused" && requested.status === "notOnLink");
  const renewed = bench.decide({ kind: "renew", addresses: [at("fd99::5")] });
  assert.ok(renewed.kind === "invalid");
  assert.deepEqual(renewed.invalid, ["fd99::5"]);
});

test("a RENEW of a binding that is lost makes it anew where the address is free, else NoBinding — RFC 8415 §18.3.4", () => {
  const bench = new Bench();
  assert.equal(bench.granted({ kind: "renew", addresses: [at("fd00::11")] }), "fd00::11");
  const taken = bench.decide({ kind: "renew", client: "b", mac: STRANGER, addresses: [at("fd00::11")] });
  assert.ok(taken.kind === "refused" && taken.status === "noBinding");
  const outside = bench.decide({ kind: "rebind", client: "b", mac: STRANGER, addresses: [at("fd00::77")] });
  assert.ok(outside.kind === "refused" && outside.status === "noBinding");
});

test("an address besides the client's own is told with lifetimes of 0 when it renews", () => {
  const bench = new Bench();
  const own = bench.granted({ kind: "request" });
  const other = own === "fd00::10" ? at("fd00::11") : at("fd00::10");
  const renewed = bench.decide({ kind: "renew", addresses: [own, other] });
  assert.ok(renewed.kind === "granted");
  assert.deepEqual([renewed.address, renewed.invalid], [own, [other]]);
});

test("only its holder may RELEASE or DECLINE an address; a declined one is nobody's for a while", () => {
  const bench = new Bench();
  const own = bench.granted({ kind: "request" });
  const foreign = bench.act({ kind: "release", client: "b", addresses: [own] });
  assert.ok(foreign.kind === "refused" && foreign.status === "noBinding");
  assert.equal(bench.act({ kind: "decline", addresses: [own] }).kind, "returned");
  assert.notEqual(bench.granted({ kind: "request", addresses: [own] }), own);
  bench.wall += 600_001;
  assert.equal(bench.granted({ kind: "request", client: "c", mac: STRANGER, addresses: [own] }), own);
});

test("a released address is the former holder's again, or another's who asks for it", () => {
  const bench = new Bench();
  const own = bench.granted({ kind: "request" });
  assert.equal(bench.act({ kind: "release", addresses: [own] }).kind, "returned");
  assert.equal(bench.granted({ kind: "solicit" }), own);
  bench.now = 60_001 as Millis;
  assert.equal(bench.granted({ kind: "request", client: "b", addresses: [own] }), own);
});

test("a reserved address goes with the machine: from firmware to iPXE to system, whatever DUID each has", () => {
  const fixed = at("fd00::4242");
  const bench = new Bench({ reservations: [{ key: { kind: "mac", mac: OURS }, address: fixed }] });
  const keys = [{ kind: "mac", mac: OURS } as const];
  for (const client of ["firmware", "ipxe", "system"]) {
    assert.equal(bench.granted({ kind: "solicit", client, keys }), fixed);
    assert.equal(bench.granted({ kind: "request", client, keys, addresses: [fixed] }), fixed);
  }
  const thief = bench.decide({ kind: "request", client: "thief", mac: STRANGER, addresses: [fixed] });
  assert.ok(thief.kind === "granted" && thief.address !== fixed);
});

test("a pool or reservation outside of the prefix, two for one machine, or too large a pool is refused", () => {
  const wrong: readonly Partial<Subnet6>[] = [
    { pool: { first: at("fd01::1"), last: at("fd01::2") } },
    { pool: { first: at("fd00::2"), last: at("fd00::1") } },
    { pool: { first: at("fd00::"), last: at("fd00::4000") } },
    { reservations: [{ key: { kind: "duid", hex: "00" }, address: at("fd01::1") }] },
    {
      reservations: [
        { key: { kind: "mac", mac: OURS }, address: at("fd00::5") },
        { key: { kind: "mac", mac: OURS }, address: at("fd00::6") },
      ],
    },
  ];
  for (const changes of wrong)
    assert.throws(
      () => prepareSubnet6({ ...subnet, ...changes }),
      (error) => isFault(error) && error.kind === "invalid",
    );
});

test("whatever clients ask in whatever order, no address that is in force is given to two of them", () => {
  const seed = 20_260_415;
  const random = new SeededRandom(seed);
  const bench = new Bench({ pool: { first: at("fd00::10"), last: at("fd00::1f") } });
  const kinds = ["solicit", "request", "renew", "rebind", "release", "decline"] as const;
  /** What each client was told it has, and until when. */
  const told = new Map<Ipv6Address, { readonly client: string; readonly until: number }>();
  for (let step = 0; step < 20_000; step += 1) {
    const client = `c${random.below(24)}`;
    const kind = kinds[random.below(kinds.length)] ?? "solicit";
    const mac = random.below(4) === 0 ? null : STRANGER;
    const address = ipv6FromNumber(ipv6ToNumber(at("fd00::0e")) + BigInt(random.below(20)));
    const decision = bench.act({ kind, client, mac, addresses: random.below(3) === 0 ? [] : [address] });
    if (decision.kind === "granted" && kind !== "solicit") {
      const holder = told.get(decision.address);
      const free = holder === undefined || holder.client === client || holder.until <= bench.wall;
      assert.ok(
        free,
        `seed ${seed}, step ${step}: ${decision.address} is ${holder?.client}'s and was given to ${client}`,
      );
      told.set(decision.address, { client, until: bench.wall + 120_000 });
      if (decision.instead !== null) told.delete(decision.instead);
      for (const ended of decision.invalid) if (told.get(ended)?.client === client) told.delete(ended);
    }
    if (decision.kind === "returned") for (const lease of decision.leases) told.delete(lease.address);
    assert.ok(bench.leases.size <= 16, "records are bounded by the pool");
    bench.wall += random.below(4000);
    bench.now = (bench.now + random.below(4000)) as Millis;
  }
});
