import { Fault, isFault, toFault } from "../core/fault.ts";

const DISK_ERRORS = new Set(["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "ENOENT", "EFBIG", "EEXIST"]);

/** A failure of our own disk as a storage fault; everything else as it is. */
export function storageFault(error: unknown): unknown {
  if (isFault(error) || !(error instanceof Error) || !("syscall" in error) || !("code" in error)) return error;
  if (!DISK_ERRORS.has(String(error.code))) return error;
  return new Fault("storage", "image.storage", `the image cannot be kept: ${toFault(error).message}`, {
    cause: error,
    retry: "never",
  });
}
