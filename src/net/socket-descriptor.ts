import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

/**
 * The descriptor of a plain TCP socket, or null where there is none or writing to it would go past TLS. Node has no
 * official way to it; `_handle.fd` has been there since libuv. Node closes it when it closes the socket: duplicate it to keep it.
 */
export function descriptorOf(socket: Socket): number | null {
  if (socket instanceof TLSSocket || socket.destroyed) return null;
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: unknown } | null };
  return typeof handle?.fd === "number" && handle.fd >= 0 ? handle.fd : null;
}
