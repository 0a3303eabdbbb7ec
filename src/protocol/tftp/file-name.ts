/**
 * The name of a file below the root, or null for one that is refused: empty, over-long, with control characters, or with
 * a part that begins with a dot, so that none leads upwards. A leading slash means the root, as most firmware expects;
 * backslashes separate, as Windows' boot manager writes them. What stands before `::`, and itself, does not count: in a
 * PXELINUX configuration it means the root, but U-Boot takes it for a part of the name and puts the configuration's own
 * directory before it (U-Boot 2023.01 boot/pxe_utils.c get_relfile).
 */
export function rootedName(name: string): string | null {
  if (name.length > 255 || !/^[\x20-\x7e]+$/.test(name)) return null;
  const parts = name
    .replace(/^.*::/, "")
    .replaceAll("\\", "/")
    .split("/")
    .filter((part) => part !== "");
  if (parts.length === 0 || parts.some((part) => part.startsWith("."))) return null;
  return parts.join("/");
}
