import { realpath, stat } from "node:fs/promises";
import { sep } from "node:path";
import { fileURLToPath } from "node:url";
import { Fault, invalid } from "../core/fault.ts";

const FIELD = "instance_info.image_source";

/** An image as an operator names it. */
export interface ImageReference {
  /** A path, file:// or http(s)://. */
  readonly source: string;
  readonly checksum?: ImageChecksum | undefined;
}

export interface ImageChecksum {
  readonly algorithm: "md5" | "sha256" | "sha512";
  /** Lower-case hexadecimal. */
  readonly value: string;
}

export type ImageLocation =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "http"; readonly url: URL };

/** Where the bytes of an image are. @throws Fault invalid (names instance_info.image_source) */
export function locateImage(source: string): ImageLocation {
  if (source.startsWith("/")) return { kind: "file", path: source };
  if (!URL.canParse(source)) throw invalid(FIELD, `"${source}" is neither an absolute path nor a URL`);
  const url = new URL(source);
  if (url.protocol === "http:" || url.protocol === "https:") return { kind: "http", url };
  if (url.protocol !== "file:")
    throw invalid(FIELD, `${url.protocol}// is not supported; use a path, file://, http:// or https://`);
  try {
    return { kind: "file", path: fileURLToPath(url) };
  } catch (error) {
    throw invalid(FIELD, `"${source}" names no local file: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * The real path of a regular file that lies, symbolic links followed, in one of `directories`.
 * @throws Fault invalid; the answer for a file outside does not tell whether it exists
 */
export async function allowedFile(path: string, directories: readonly string[]): Promise<string> {
  const real = await realpath(path).catch(() => undefined);
  const roots = await Promise.all(directories.map((directory) => realpath(directory).catch(() => undefined)));
  const inside = (candidate: string): boolean =>
    roots.some((root) => root !== undefined && candidate.startsWith(root.endsWith(sep) ? root : root + sep));
  if (real === undefined || !inside(real)) {
    throw invalid(
      FIELD,
      `${path} is not a file in one of the directories of image.file_dirs (${directories.join(", ") || "none"})`,
    );
  }
  if (!(await stat(real)).isFile()) throw invalid(FIELD, `${path} is not a regular file`);
  return real;
}

/** A URL without user name, password and query, which may hold secrets. */
export function shownSource(location: ImageLocation): string {
  return location.kind === "file" ? location.path : `${location.url.origin}${location.url.pathname}`;
}

export function checksumFault(source: string, wanted: ImageChecksum, found: string): Fault {
  return new Fault(
    "invalid",
    "image.checksum",
    `the ${wanted.algorithm} of ${source} is ${found}, not ${wanted.value}`,
    {
      detail: {
        field: "instance_info.image_checksum",
        algorithm: wanted.algorithm,
        expected: wanted.value,
        actual: found,
      },
    },
  );
}
