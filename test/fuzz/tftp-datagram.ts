import type { Random } from "../../src/core/random.ts";
import { encodeTftp } from "../../src/protocol/tftp/packet.ts";

/** A file that the server has. */
export const FILE = "undionly.kpxe";

const NAMES = [
  FILE,
  `/${FILE}`,
  "absent",
  "../../etc/passwd",
  "/etc/passwd",
  "pxelinux.cfg/01-52-54-00-79-00-01",
  "%s%n",
  "",
];
const MODES = ["octet", "netascii", "OCTET", "mail", "octet "];
const OPTIONS = ["blksize", "tsize", "timeout", "windowsize", "BLKSIZE", "rollover", ""];
const VALUES = ["0", "1", "8", "512", "1468", "65464", "65535", "65536", "-1", "1e3", "18446744073709551616", "x", ""];

/** What may come to port 69: requests with wild names, options and values, some of them damaged, other packets, noise. */
export function anyTftpRequest(random: Random): Uint8Array {
  if (random.below(6) === 0) return anyTftpReply(random);
  const options = new Map(Array.from({ length: random.below(5) }, () => [one(random, OPTIONS), one(random, VALUES)]));
  const request = {
    kind: random.below(8) === 0 ? "wrq" : "rrq",
    file: one(random, NAMES),
    mode: one(random, MODES),
    options,
  } as const;
  return damaged(encodeTftp(request), random);
}

/** What may come to a transfer's port: acknowledgements of any block, refusals, packets of the other direction, noise. */
export function anyTftpReply(random: Random): Uint8Array {
  const block = random.below(2) === 0 ? random.below(4) : random.below(65536);
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.below(1500));
    case 1:
      return damaged(encodeTftp({ kind: "data", block, bytes: random.bytes(random.below(600)) }), random);
    case 2:
      return damaged(
        encodeTftp({ kind: "oack", options: new Map([[one(random, OPTIONS), one(random, VALUES)]]) }),
        random,
      );
    default:
      return damaged(encodeTftp({ kind: "ack", block }), random);
  }
}

/** Sometimes cut short or with other bytes in it. */
function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (let change = random.below(8) - 5; change > 0; change -= 1) copy[random.below(copy.length)] = random.below(256);
  return random.below(6) === 0 ? copy.subarray(0, random.below(copy.length + 1)) : copy;
}

function one(random: Random, of: readonly string[]): string {
  return of[random.below(of.length)] ?? "";
}
