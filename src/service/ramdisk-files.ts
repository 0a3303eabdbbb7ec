/** Kernel and initrd of a ramdisk. */
export interface RamdiskFiles {
  readonly kernel: string;
  readonly initrd: string;
  /** Of the one for arm64, where there is one. */
  readonly arm64: { readonly kernel: string; readonly initrd: string } | null;
}

/** The file that a ramdisk has under this name on TFTP and HTTP; undefined: none. */
export function ramdiskPath({ kernel, initrd, arm64 }: RamdiskFiles, name: string): string | undefined {
  switch (name) {
    case "ramdisk/kernel":
      return kernel;
    case "ramdisk/initrd":
      return initrd;
    case "ramdisk/arm64/kernel":
      return arm64?.kernel;
    case "ramdisk/arm64/initrd":
      return arm64?.initrd;
    default:
      return undefined;
  }
}
