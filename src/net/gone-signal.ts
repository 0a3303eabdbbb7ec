import type { Socket } from "node:net";
import { Fault } from "../core/fault.ts";

/** Says when a connection has ended. */
export interface Gone extends Disposable {
  /** Aborts then. It is made when it is asked for: most answers are out before anybody has to wait. */
  readonly signal: AbortSignal;
}

export function goneSignal(socket: Socket): Gone {
  let controller: AbortController | null = null;
  const onClose = (): void => controller?.abort(new Fault("cancelled", "http.aborted", "the client went away"));
  return {
    get signal() {
      if (controller === null) {
        controller = new AbortController();
        socket.setMaxListeners(0); // as many as requests wait on it
        socket.once("close", onClose);
        if (socket.destroyed) onClose();
      }
      return controller.signal;
    },
    [Symbol.dispose]: () => {
      if (controller !== null) socket.off("close", onClose);
    },
  };
}
