import type { Socket } from "node:net";
import { Fault } from "../core/fault.ts";

/** Aborts when the connection ends. */
export function goneSignal(socket: Socket): Disposable & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  const onClose = (): void => controller.abort(new Fault("cancelled", "http.aborted", "the client went away"));
  socket.setMaxListeners(0); // as many as requests wait on it
  socket.once("close", onClose);
  if (socket.destroyed) onClose();
  return { signal: controller.signal, [Symbol.dispose]: () => void socket.off("close", onClose) };
}
