/** Runs on the clients' side of the wire: `COUNT SEED`. Ends with status 0 when the server has given the file after each hundred. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { SystemClock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { millis } from "../../src/core/units.ts";
import { decodeTftp, encodeTftp } from "../../src/protocol/tftp/packet.ts";
import { SERVER } from "../peer/boot-lab.ts";
import { anyTftpReply, anyTftpRequest, FILE } from "./tftp-datagram.ts";

const EACH = 100;
/** They take turns, so that the allowance of one does not end the run. */
const CLIENTS = 200;
const PATIENCE = 30;
const clock = new SystemClock();
const request = encodeTftp({ kind: "rrq", file: FILE, mode: "octet", options: new Map([["blksize", "1468"]]) });

async function main(count: number, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  for (let sent = 0; sent < count; sent += EACH) {
    const address = `10.79.1.${1 + ((sent / EACH) % CLIENTS)}`;
    const wild = await open(address);
    for (let at = 0; at < EACH / 2; at += 1) await send(wild, anyTftpRequest(random), 69);
    wild.close();
    const transfer = await open(address);
    const answer = nextMessage(transfer);
    await send(transfer, request, 69);
    const port = await answer;
    if (port !== null) for (let at = 0; at < EACH / 2; at += 1) await send(transfer, anyTftpReply(random), port);
    transfer.close();
    await fetchFile(address, `${sent} datagrams of seed ${seed}`);
  }
}

async function open(address: string): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.on("error", () => {});
  socket.bind(0, address);
  await once(socket, "listening");
  return socket;
}

/** The port that the next datagram comes from; null when none comes, which a client that asked too much must expect. */
async function nextMessage(socket: Socket): Promise<number | null> {
  let port: number | null = null;
  socket.once("message", (_bytes, from) => {
    port = from.port;
  });
  for (let wait = 0; wait < 200 && port === null; wait += 1) await clock.sleep(millis(1));
  return port;
}

/** The whole file, in lockstep, asked for again while the server keeps silent. */
async function fetchFile(address: string, after: string): Promise<void> {
  const socket = await open(address);
  let blocks = 0;
  let whole = false;
  socket.on("message", (bytes, from) => {
    const packet = decodeTftp(bytes);
    if (packet.kind === "error") throw new Error(`refused after ${after}: ${packet.message}`);
    if (packet.kind === "data") {
      if (packet.block !== blocks + 1) return;
      blocks += 1;
      whole = packet.bytes.length < 1468;
    }
    socket.send(encodeTftp({ kind: "ack", block: blocks }), from.port, from.address);
  });
  for (let attempt = 0; attempt < PATIENCE && !whole; attempt += 1) {
    if (blocks === 0) await send(socket, request, 69);
    for (let wait = 0; wait < 1000 && !whole; wait += 1) await clock.sleep(millis(1));
  }
  socket.close();
  if (!whole) throw new Error(`no file after ${after}`);
}

async function send(socket: Socket, bytes: Uint8Array, port: number): Promise<void> {
  await new Promise<void>((resolve) => socket.send(bytes, port, SERVER, () => resolve()));
}

const [count, seed] = process.argv.slice(2);
await main(Number(count), Number(seed));
