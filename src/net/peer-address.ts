/** A socket's address of IPv4 as such, though the socket speaks IPv6 too; empty when it has none any more. */
export function ipv4Of(address: string | undefined): string {
  return (address ?? "").replace(/^::ffff:/, "");
}
