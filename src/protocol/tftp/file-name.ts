/**
 * The name of a file below the root, or null for one that is refused: empty, over-long, with control characters, or with
 * a part that begins with a dot, so that none leads upwards. A leading slash means the root, as most firmware expects;
 * backslashes separate, as Windows' boot manager writes them.
 */
export function rootedName(name: string): string | null {
  if (name.length > 255 || !/^[\x20-\x7e]+$/.test(name)) return null;
  const parts = name
    .replaceAll("\\", "/")
    .split("/")
    .filter((part) => part !== "");
  if (parts.length === 0 || parts.some((part) => part.startsWith("."))) return null;
  return parts.join("/");
}
