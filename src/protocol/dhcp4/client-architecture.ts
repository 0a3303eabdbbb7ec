/** What a client's firmware runs and by which protocol it loads: one row per value of option 93. */
export interface ClientArchitecture {
  readonly name: string;
  readonly platform: "bios" | "efi" | "other";
  /** iPXE's word for the processor (`${buildarch}`), or null where there is none of ours. */
  readonly processor: "i386" | "x86_64" | "arm32" | "arm64" | "riscv64" | "loong64" | null;
  readonly by: "tftp" | "http";
}

/**
 * @source RFC 4578 §2.1 with erratum 4625 (7 and 9: both x86-64), IANA "Processor Architecture Types" as RFC 5970 §3.3 keeps them
 */
export const clientArchitectures: ReadonlyMap<number, ClientArchitecture> = new Map<number, ClientArchitecture>([
  [0, { name: "x86 BIOS", platform: "bios", processor: "i386", by: "tftp" }],
  [1, { name: "NEC/PC98", platform: "other", processor: null, by: "tftp" }],
  [2, { name: "Itanium", platform: "efi", processor: null, by: "tftp" }],
  [3, { name: "DEC Alpha", platform: "other", processor: null, by: "tftp" }],
  [4, { name: "Arc x86", platform: "other", processor: null, by: "tftp" }],
  [5, { name: "Intel Lean Client", platform: "other", processor: null, by: "tftp" }],
  [6, { name: "x86 UEFI", platform: "efi", processor: "i386", by: "tftp" }],
  [7, { name: "x64 UEFI", platform: "efi", processor: "x86_64", by: "tftp" }],
  [8, { name: "EFI Xscale", platform: "efi", processor: null, by: "tftp" }],
  [9, { name: "EBC", platform: "efi", processor: "x86_64", by: "tftp" }],
  [10, { name: "ARM 32-bit UEFI", platform: "efi", processor: "arm32", by: "tftp" }],
  [11, { name: "ARM 64-bit UEFI", platform: "efi", processor: "arm64", by: "tftp" }],
  [12, { name: "PowerPC Open Firmware", platform: "other", processor: null, by: "tftp" }],
  [13, { name: "PowerPC ePAPR", platform: "other", processor: null, by: "tftp" }],
  [14, { name: "POWER OPAL v3", platform: "other", processor: null, by: "tftp" }],
  [15, { name: "x86 UEFI, HTTP", platform: "efi", processor: "i386", by: "http" }],
  [16, { name: "x64 UEFI, HTTP", platform: "efi", processor: "x86_64", by: "http" }],
  [17, { name: "EBC, HTTP", platform: "efi", processor: "x86_64", by: "http" }],
  [18, { name: "ARM 32-bit UEFI, HTTP", platform: "efi", processor: "arm32", by: "http" }],
  [19, { name: "ARM 64-bit UEFI, HTTP", platform: "efi", processor: "arm64", by: "http" }],
  [20, { name: "x86 BIOS, HTTP", platform: "bios", processor: "i386", by: "http" }],
  [21, { name: "ARM 32-bit U-Boot", platform: "other", processor: "arm32", by: "tftp" }],
  [22, { name: "ARM 64-bit U-Boot", platform: "other", processor: "arm64", by: "tftp" }],
  [23, { name: "ARM 32-bit U-Boot, HTTP", platform: "other", processor: "arm32", by: "http" }],
  [24, { name: "ARM 64-bit U-Boot, HTTP", platform: "other", processor: "arm64", by: "http" }],
  [25, { name: "RISC-V 32-bit UEFI", platform: "efi", processor: null, by: "tftp" }],
  [26, { name: "RISC-V 32-bit UEFI, HTTP", platform: "efi", processor: null, by: "http" }],
  [27, { name: "RISC-V 64-bit UEFI", platform: "efi", processor: "riscv64", by: "tftp" }],
  [28, { name: "RISC-V 64-bit UEFI, HTTP", platform: "efi", processor: "riscv64", by: "http" }],
  [37, { name: "LoongArch 32-bit UEFI", platform: "efi", processor: null, by: "tftp" }],
  [38, { name: "LoongArch 32-bit UEFI, HTTP", platform: "efi", processor: null, by: "http" }],
  [39, { name: "LoongArch 64-bit UEFI", platform: "efi", processor: "loong64", by: "tftp" }],
  [40, { name: "LoongArch 64-bit UEFI, HTTP", platform: "efi", processor: "loong64", by: "http" }],
]);
