import { nativeAddon } from "../core/native-addon.ts";
import type { ImageChecksum } from "./image-source.ts";
import { type JobOptions, runJob } from "./native-job.ts";

/**
 * The digest of a file in lower-case hexadecimal, computed in the addon: no byte of the file comes here.
 * @throws Fault not-found, storage, invalid (no file), cancelled
 */
export async function fileDigest(
  path: string,
  algorithm: ImageChecksum["algorithm"],
  options: JobOptions<{ readonly bytes: number; readonly total: number }>,
): Promise<string> {
  const { value } = await runJob<{ bytes: number; total: number }, { readonly value: string }>(
    (onProgress, onEnd) => nativeAddon().startFileDigest({ path, algorithm }, onProgress, onEnd),
    options,
  );
  return value;
}
