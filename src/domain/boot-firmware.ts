/** iPXE's words for processors. */
export type Processor = "i386" | "x86_64" | "arm32" | "arm64" | "riscv64" | "loong64";

/** What Ironic's property `cpu_arch` calls them; no x86 machine of ours is told from another. @source Ironic: uname -m of the ramdisk */
const PROCESSORS_BY_CPU_ARCH: ReadonlyMap<string, Processor> = new Map([
  ["x86_64", "x86_64"],
  ["i386", "x86_64"],
  ["i686", "x86_64"],
  ["aarch64", "arm64"],
  ["riscv64", "riscv64"],
  ["loongarch64", "loong64"],
]);

/** null: one that no firmware of ours names. */
export function processorOfCpuArch(cpuArch: string): Processor | null {
  return PROCESSORS_BY_CPU_ARCH.get(cpuArch) ?? null;
}

/** A 32-bit BIOS starts kernels of both. */
export function runsOn(program: Processor, processor: Processor): boolean {
  return program === processor || (program === "x86_64" && processor === "i386");
}

/** Who asks to be booted, as far as its messages say. */
export interface Firmware {
  /** `system`: an operating system, a BMC or anything else that wants an address and no boot file. */
  readonly program: "ipxe" | "pxe" | "uefi-http" | "u-boot" | "system";
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
