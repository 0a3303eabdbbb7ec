import type { MacAddress } from "../core/brand.ts";
import type { Millis } from "../core/units.ts";
import type { Lease } from "./lease.ts";
import type { OfferReader } from "./offer-table.ts";

/** Who asks, as far as an address may be taken from somebody else for it. */
export interface Claimant {
  /** As in a lease. */
  readonly client: string;
  readonly mac: MacAddress | null;
}

export interface HolderView<Address extends string> {
  readonly offers: Pick<OfferReader<Address>, "byAddress">;
  /** Monotonic, for offers. */
  readonly now: Millis;
  /** UTC milliseconds, for leases. */
  readonly wall: number;
  /** Whether the machine is one of ours. */
  readonly enrolled: (mac: MacAddress) => boolean;
}

/** Whether the address is nobody else's to have. */
export function isHeld(lease: Lease<string>, { wall }: { readonly wall: number }): boolean {
  return lease.state !== "released" && lease.expiresAt > wall;
}

export function isOurs(mac: MacAddress | null, { enrolled }: Pick<HolderView<string>, "enrolled">): boolean {
  return mac !== null && enrolled(mac);
}

/** Whether a lease may be taken from its machine for one of ours: nobody enrolled that machine. */
export function isSeizable(lease: Lease<string>, view: Pick<HolderView<string>, "enrolled">): boolean {
  return lease.state === "bound" && !isOurs(lease.mac, view);
}

/** Whether somebody else's lease was offered to this client, as a search of a full pool does. */
export function isSeized<Address extends string>(
  { client, mac }: Claimant,
  view: HolderView<Address>,
  lease: Lease<Address>,
): boolean {
  if (!isSeizable(lease, view) || !isOurs(mac, view)) return false;
  return view.offers.byAddress(lease.address, view.now)?.client === client;
}

/** The client's former address, which it gives up with a lease of `address`. */
export function givenUpFor<Address extends string>(
  address: Address,
  former: Lease<Address> | undefined,
): Address | null {
  return former !== undefined && former.address !== address && former.state !== "declined" ? former.address : null;
}
