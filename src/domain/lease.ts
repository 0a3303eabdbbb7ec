import type { Ipv4Address, MacAddress } from "../core/brand.ts";

/** A binding of an address to a client. @source RFC 2131 §2.2, §4.3 */
export interface Lease {
  readonly address: Ipv4Address;
  /** `id:` and the client identifier in hex, or `mac:` and the hardware address (RFC 2131 §4.2, RFC 6842). */
  readonly client: string;
  readonly mac: MacAddress | null;
  readonly hostname: string | null;
  /** `declined`: some other machine uses the address; nobody gets it until it expires. */
  readonly state: "bound" | "released" | "declined";
  /** UTC milliseconds since 1970. */
  readonly expiresAt: number;
}
