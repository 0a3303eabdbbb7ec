import type { Ipv4Address, MacAddress } from "../core/brand.ts";
import type { Ipv6Address } from "../core/ipv6-address.ts";

/** A binding of an address to a client. @source RFC 2131 §2.2, §4.3 */
export interface Lease<Address extends string = Ipv4Address> {
  readonly address: Address;
  /** `id:` and the client identifier in hex, or `mac:` and the hardware address (RFC 2131 §4.2, RFC 6842). */
  readonly client: string;
  readonly mac: MacAddress | null;
  readonly hostname: string | null;
  /** `declined`: some other machine uses the address; nobody gets it until it expires. */
  readonly state: "bound" | "released" | "declined";
  /** UTC milliseconds since 1970: the end of the valid lifetime, in DHCPv6. */
  readonly expiresAt: number;
}

/** `client` is `duid:` and the DUID in hex, a slash, and the IAID in hex. @source RFC 8415 §4.2 (binding) */
export type Lease6 = Lease<Ipv6Address>;
