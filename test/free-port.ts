import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

/**
 * Below the ports that the kernel gives to whoever asks for any, so that no other test gets it before it is used, or while the
 * server on it is down.
 * @source Linux Documentation/networking/ip-sysctl.rst: ip_local_port_range 32768 60999
 */
const PORTS = [20_000, 32_768] as const;
const TRIES = 100;

/** A TCP port of 127.0.0.1 on which nobody listens at the moment. */
export async function freePort(): Promise<number> {
  return await firstFree(async (port) => {
    const server = createServer();
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    server.close();
    await once(server, "close");
  });
}

/** The same for UDP. */
export async function freeUdpPort(): Promise<number> {
  return await firstFree(async (port) => {
    const socket = createSocket("udp4");
    socket.bind(port, "127.0.0.1");
    await once(socket, "listening");
    socket.close();
    await once(socket, "close");
  });
}

async function firstFree(take: (port: number) => Promise<void>): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const port = randomInt(...PORTS);
    try {
      await take(port);
      return port;
    } catch (error) {
      if (attempt === TRIES) throw error;
    }
  }
}
