/** What an image file may be. gzip, zstd, xz and bzip2 hold a raw disk; nothing else is looked for in them. */
export const IMAGE_FORMATS = ["raw", "qcow2", "gzip", "zstd", "xz", "bzip2"] as const;

export type ImageFormat = (typeof IMAGE_FORMATS)[number];

export function isImageFormat(value: unknown): value is ImageFormat {
  return IMAGE_FORMATS.some((format) => format === value);
}

const BY_ENDING: readonly (readonly [RegExp, ImageFormat])[] = [
  [/\.qcow2$/, "qcow2"],
  [/\.(raw|img)$/, "raw"],
  [/\.gz$/, "gzip"],
  [/\.zst$/, "zstd"],
  [/\.xz$/, "xz"],
  [/\.bz2$/, "bzip2"],
];

/** What a path or URL that ends so is taken for when nobody says; an image whose content is something else is refused. */
export function formatByName(source: string): ImageFormat | undefined {
  const name = source.replace(/[?#].*$/, "").toLowerCase();
  return BY_ENDING.find(([ending]) => ending.test(name))?.[1];
}
