import { createHmac, timingSafeEqual } from "node:crypto";
import type { MacAddress } from "../core/brand.ts";
import { stringProperty } from "../core/json.ts";
import type { Node } from "../domain/node.ts";

/** Makes the part of a URL that nobody can guess: one for each machine and instance, the same over restarts of the daemon. */
export type BootSecrets = (mac: MacAddress, node: Node) => string;

/** 128 bits, in characters that a URL takes. */
const LENGTH = 22;

export function bootSecrets(key: Uint8Array): BootSecrets {
  return (mac, node) =>
    createHmac("sha256", key)
      .update(
        JSON.stringify([
          "boot",
          mac,
          node.uuid,
          node.instanceUuid,
          stringProperty(node.instanceInfo, "boot_iso") ?? "",
        ]),
      )
      .digest("base64url")
      .slice(0, LENGTH);
}

export function isSameSecret(given: string, right: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A path or URL as logs show it. */
export function withoutBootSecret(url: string): string {
  return url.replace(/\/own\/[^/]+/, "/own/***");
}
