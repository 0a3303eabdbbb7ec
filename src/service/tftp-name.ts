import type { BootServices } from "../domain/boot-plan.ts";

/** What our own HTTP gives at this URL, by its name on our TFTP; null: it is somebody else's, or only HTTP has it. */
export function tftpName(url: string, services: BootServices): string | null {
  const own = `${services.http}/`;
  if (!url.startsWith(own)) return null;
  const path = url.slice(own.length);
  if (path.startsWith("loader/")) return path.slice("loader/".length);
  return path.startsWith("ramdisk/") ? path : null;
}
