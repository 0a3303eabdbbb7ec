/** iPXE's words for processors. */
export type Processor = "i386" | "x86_64" | "arm32" | "arm64" | "riscv64" | "loong64";

/** Who asks to be booted, as far as its messages say. */
export interface Firmware {
  /** `system`: an operating system, a BMC or anything else that wants an address and no boot file. */
  readonly program: "ipxe" | "pxe" | "uefi-http" | "system";
  readonly platform: "bios" | "efi" | "other";
  readonly processor: Processor | null;
  /** For the log: "x64 UEFI", or the number that is not known. */
  readonly architecture: string;
  /** The program can load from http: URLs. */
  readonly http: boolean;
  /** It may be able to load from https: URLs; UEFI firmware does not say. */
  readonly https: boolean;
}

export const systemFirmware: Firmware = {
  program: "system",
  platform: "other",
  processor: null,
  architecture: "none",
  http: false,
  https: false,
};
