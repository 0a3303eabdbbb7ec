import type { AddressPool } from "./address-pool.ts";
import type { FreeAddresses } from "./free-addresses.ts";
import type { Lease } from "./lease.ts";
import { type Claimant, type HolderView, isHeld, isOurs, isSeizable } from "./lease-holder.ts";
import type { OfferReader } from "./offer-table.ts";
import { hashOf } from "./pool-hash.ts";
import type { LeaseReader } from "./store.ts";

export interface SearchView<Address extends string> extends HolderView<Address> {
  /** Of the pool. */
  readonly free: FreeAddresses;
  readonly leases: LeaseReader<Address>;
  readonly offers: Pick<OfferReader<Address>, "byAddress" | "oldest">;
  /** Addresses that are not to be taken from those who have them: they answered. */
  readonly alive: ReadonlySet<Address>;
}

export interface FoundAddress<Address extends string> {
  readonly address: Address;
  /** It is leased to a machine that nobody enrolled. */
  readonly seized: boolean;
  readonly reason: string;
}

/** So many addresses from where the client's name points are looked at whatever was found there before. */
const LOOK_NEAR = 16;
/** How many more addresses are looked at once one is found that only used to be somebody's. */
const LOOK_FURTHER = 64;

/**
 * An address for a client that has a claim to none, beginning where its name points, so that it gets the same one again:
 * first one that never was anybody's, then the one whose lease ended first, then the one that was offered longest ago (so
 * that a flood of offers cannot use up the pool), then, for an enrolled machine, one that is leased to another.
 */
export function searchPool<Address extends string>(
  claimant: Claimant,
  view: SearchView<Address>,
  pool: AddressPool<Address>,
): FoundAddress<Address> | undefined {
  if (pool.size === 0) return undefined;
  const start = hashOf(claimant.client) % pool.size;
  return (
    searchFree(start, view, pool) ??
    (view.free.refill(view.now) ? searchFree(start, view, pool) : undefined) ??
    searchOffered(view, pool) ??
    seize(claimant, start, view, pool)
  );
}

function searchFree<Address extends string>(
  start: number,
  view: SearchView<Address>,
  pool: AddressPool<Address>,
): FoundAddress<Address> | undefined {
  let ended: Lease<Address> | undefined;
  let further = LOOK_FURTHER;
  const free = (index: number): FoundAddress<Address> | undefined => {
    const address = pool.at(index);
    const seen = address === null ? "held" : lookAt(address, view);
    if (address !== null && seen === "free") return { address, seized: false, reason: "free" };
    if (typeof seen === "string") view.free.pass(index);
    else if (ended === undefined || seen.expiresAt < ended.expiresAt) ended = seen;
    return undefined;
  };
  const near = Math.min(LOOK_NEAR, pool.size);
  for (let step = 0; step < near; step += 1) {
    const found = free((start + step) % pool.size);
    if (found !== undefined) return found;
  }
  let gone = near - 1;
  let index = view.free.next((start + near) % pool.size);
  while (index !== undefined && further > 0) {
    const steps = (index - start + pool.size) % pool.size;
    if (steps <= gone) break; // once round
    gone = steps;
    const found = free(index);
    if (found !== undefined) return found;
    if (ended !== undefined) further -= 1;
    index = view.free.next((index + 1) % pool.size);
  }
  return ended === undefined ? undefined : { address: ended.address, seized: false, reason: "free again" };
}

/** Who has an address of the pool: nobody, one who must not lose it, one whom it is offered to, or the one of a lease that has ended. */
function lookAt<Address extends string>(
  address: Address,
  view: SearchView<Address>,
): "free" | "held" | "offered" | Lease<Address> {
  const lease = view.leases.byAddress(address);
  if (lease !== undefined && isHeld(lease, view)) return "held";
  if (view.offers.byAddress(address, view.now) !== undefined) return "offered";
  return lease ?? "free";
}

function searchOffered<Address extends string>(
  view: SearchView<Address>,
  pool: AddressPool<Address>,
): FoundAddress<Address> | undefined {
  const offer = view.offers.oldest(
    pool.network,
    view.now,
    ({ address }) => pool.has(address) && lookAt(address, view) === "offered",
  );
  if (offer === undefined) return undefined;
  return { address: offer.address, seized: false, reason: "offered to another that did not come back" };
}

/**
 * When every address is leased, an enrolled machine gets one that is leased to a machine which nobody enrolled: invented
 * clients that go as far as a lease cannot keep ours out. The one whose lease ends first, of those found first.
 */
function seize<Address extends string>(
  { mac }: Claimant,
  start: number,
  view: SearchView<Address>,
  pool: AddressPool<Address>,
): FoundAddress<Address> | undefined {
  if (!isOurs(mac, view)) return undefined;
  let soonest: Lease<Address> | undefined;
  let further = LOOK_FURTHER;
  for (let step = 0; step < pool.size && further > 0; step += 1) {
    const address = pool.at((start + step) % pool.size);
    if (address === null || view.alive.has(address)) continue;
    const lease = view.leases.byAddress(address);
    if (lease === undefined || !isSeizable(lease, view)) continue;
    if (view.offers.byAddress(address, view.now) !== undefined) continue;
    further -= 1;
    if (soonest === undefined || lease.expiresAt < soonest.expiresAt) soonest = lease;
  }
  if (soonest === undefined) return undefined;
  return {
    address: soonest.address,
    seized: true,
    reason: "every address is in use: taken from a machine that is not enrolled",
  };
}
