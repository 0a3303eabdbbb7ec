import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import { isFault } from "../core/fault.ts";
import { type Ipv6Address, parseZonedIpv6Address } from "../core/ipv6-address.ts";
import type { LeaseReader } from "../domain/store.ts";

/** Which machine was given an address, of either family. */
export interface AddressOwners {
  byAddress(address: string): { readonly mac: MacAddress | null } | undefined;
}

export interface Leases {
  readonly leases: Pick<LeaseReader, "byAddress">;
  readonly leases6: Pick<LeaseReader<Ipv6Address>, "byAddress">;
}

/** By the leases of DHCP and of DHCPv6. */
export function addressOwners({ leases, leases6 }: Leases): AddressOwners {
  return {
    byAddress: (address) => {
      if (!address.includes(":")) return leases.byAddress(address as Ipv4Address);
      const parsed = ipv6Of(address);
      return parsed === null ? undefined : leases6.byAddress(parsed);
    },
  };
}

function ipv6Of(text: string): Ipv6Address | null {
  try {
    return parseZonedIpv6Address(text);
  } catch (error) {
    if (!isFault(error)) throw error;
    return null;
  }
}
