/** What is streamed as it is. gzip, zstd, xz and bzip2 hold a raw disk; nothing else is looked for in them. */
export const STREAMED_FORMATS = ["raw", "qcow2", "gzip", "zstd", "xz", "bzip2"] as const;

/** What is made a qcow2 image first. */
export const CONVERTED_FORMATS = ["vmdk", "vhdx", "vdi"] as const;

/** What an image file may be. */
export const IMAGE_FORMATS = [...STREAMED_FORMATS, ...CONVERTED_FORMATS] as const;

export type StreamedFormat = (typeof STREAMED_FORMATS)[number];
export type ConvertedFormat = (typeof CONVERTED_FORMATS)[number];
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

export function isImageFormat(value: unknown): value is ImageFormat {
  return IMAGE_FORMATS.some((format) => format === value);
}

export function isStreamed(format: ImageFormat): format is StreamedFormat {
  return STREAMED_FORMATS.some((streamed) => streamed === format);
}

const BY_ENDING: readonly (readonly [RegExp, ImageFormat])[] = [
  [/\.qcow2$/, "qcow2"],
  [/\.(raw|img)$/, "raw"],
  [/\.gz$/, "gzip"],
  [/\.zst$/, "zstd"],
  [/\.xz$/, "xz"],
  [/\.bz2$/, "bzip2"],
  [/\.vmdk$/, "vmdk"],
  [/\.vhdx$/, "vhdx"],
  [/\.vdi$/, "vdi"],
];

/** What a path or URL that ends so is taken for when nobody says; an image whose content is something else is refused. */
export function formatByName(source: string): ImageFormat | undefined {
  const name = source.replace(/[?#].*$/, "").toLowerCase();
  return BY_ENDING.find(([ending]) => ending.test(name))?.[1];
}
