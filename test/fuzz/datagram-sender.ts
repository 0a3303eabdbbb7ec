/** Runs on the clients' side of the wire: `dhcp4|dhcp6 COUNT SEED`. Ends with status 0 when the server has answered to the last. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { macAddressToBytes, parseIpv4Address, parseMacAddress } from "../../src/core/brand.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { parseIpv6Address } from "../../src/core/ipv6-address.ts";
import { type Random, SeededRandom } from "../../src/core/random.ts";
import { millis } from "../../src/core/units.ts";
import * as dhcp4 from "../../src/protocol/dhcp4/message.ts";
import * as dhcp6 from "../../src/protocol/dhcp6/message.ts";
import { option } from "../../src/protocol/dhcp6/options.ts";
import { serverDuid } from "../../src/service/dhcp6-duid.ts";
import { SERVER } from "../peer/boot-lab.ts";
import { IPV6, SERVER6 } from "../peer/ipv6-lab.ts";
import { anyDhcp4, damagedDhcp4, relayedRequest } from "./dhcp4-datagram.ts";
import { anyDhcp6 } from "./dhcp6-datagram.ts";

/** What a family of DHCP needs to be fuzzed. */
interface Family {
  readonly socket: "udp4" | "udp6";
  readonly from: { readonly address: string; readonly port: number };
  /** One of them is drawn for each datagram. */
  readonly to: readonly { readonly address: string; readonly port: number }[];
  readonly datagram: (random: Random) => Uint8Array;
  /** What a well-formed client sends, and by which number its answer is known. */
  readonly question: (id: number) => Uint8Array;
  readonly idOf: (answer: Uint8Array) => number;
}

const RELAY = parseIpv4Address("10.79.0.9");
const MAC = parseMacAddress("52:54:00:79:00:01");
const damaged = damagedDhcp4(RELAY);

const FAMILIES: Readonly<Record<string, Family>> = {
  dhcp4: {
    socket: "udp4",
    from: { address: RELAY, port: 67 },
    to: [{ address: SERVER, port: 67 }],
    datagram: (random) => (random.below(3) === 0 ? anyDhcp4(random) : damaged(random)),
    question: (xid) => {
      const options = { messageType: "discover", parameterRequestList: [1, 3] } as const;
      return dhcp4.encodeMessage(relayedRequest(RELAY, MAC, xid, options)).bytes;
    },
    idOf: (answer) => Buffer.from(answer).readUInt32BE(4),
  },
  dhcp6: {
    socket: "udp6",
    from: { address: "fe80::5054:ff:fe79:1%eth0", port: 546 },
    to: [
      { address: "ff02::1:2%eth0", port: 547 },
      { address: SERVER6, port: 547 },
    ],
    datagram: anyDhcp6({ duid: serverDuid(new Uint8Array(32).fill(7)), pool: parseIpv6Address(IPV6.pool[0]) }),
    question: (transactionId) =>
      dhcp6.encodeMessage({
        kind: "client-server",
        type: "solicit",
        transactionId: transactionId & 0xffffff,
        options: [
          option("clientIdentifier", Uint8Array.of(0, 3, 0, 1, ...macAddressToBytes(MAC))),
          option("nonTemporaryAddresses", { iaid: 1, t1: 0, t2: 0, options: [] }),
        ],
      }),
    idOf: (answer) => Buffer.from(answer).readUIntBE(1, 3),
  },
};

const EACH = 100;
const PATIENCE = 100;
const clock = new SystemClock();

async function main(family: Family, count: number, seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const socket = createSocket(family.socket);
  socket.bind(family.from.port, family.from.address);
  await once(socket, "listening");
  const answered = new Set<number>();
  socket.on("message", (bytes) => answered.add(family.idOf(bytes)));
  for (let sent = 0; sent < count; sent += EACH) {
    for (let at = 0; at < EACH; at += 1) {
      const to = family.to[random.below(family.to.length)] ?? family.from;
      await send(socket, family.datagram(random), to);
    }
    await ask(socket, family, sent + 1, answered, seed);
    answered.clear();
  }
  socket.close();
}

/** The datagrams may have filled the server's buffer: the client asks again, as clients do. */
async function ask(
  socket: Socket,
  family: Family,
  id: number,
  answered: ReadonlySet<number>,
  seed: number,
): Promise<void> {
  for (let attempt = 0; attempt < PATIENCE; attempt += 1) {
    await send(socket, family.question(id), family.to[0] ?? family.from);
    for (let wait = 0; wait < 100; wait += 1) {
      if (answered.has(id)) return;
      await clock.sleep(millis(wait < 20 ? 1 : 10));
    }
  }
  throw new Error(`no answer after ${id} datagrams of seed ${seed}`);
}

async function send(socket: Socket, bytes: Uint8Array, to: { readonly address: string; readonly port: number }) {
  await new Promise<void>((resolve) => socket.send(bytes, to.port, to.address, () => resolve()));
}

const [name = "", count, seed] = process.argv.slice(2);
const family = FAMILIES[name];
if (family === undefined) throw new Error(`"${name}" is not known`);
await main(family, Number(count), Number(seed));
