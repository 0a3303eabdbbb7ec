import type { IscsiVolume } from "./volume.ts";

/** What iPXE, GRUB or PXELINUX is told to do. */
export type BootScript =
  | {
      readonly kind: "linux";
      readonly of: "ramdisk" | "instance";
      readonly kernel: string;
      readonly initrd: string | null;
      readonly arguments: readonly string[];
    }
  /** Leave the network, boot the machine's own disk. */
  | { readonly kind: "local-disk" }
  /** A disk image in ISO 9660, read over HTTP as it is needed. */
  | { readonly kind: "iso"; readonly url: string }
  /** Disks of a storage system, logged in to by iPXE, which leaves word of them (iBFT) to the system on the first. */
  | {
      readonly kind: "volumes";
      /** null: iPXE's own name. */
      readonly initiator: string | null;
      readonly boot: IscsiVolume;
      readonly others: readonly IscsiVolume[];
    }
  /** memtest86+: a program for each firmware. */
  | {
      readonly kind: "memory-test";
      readonly bios: string;
      readonly efi: string;
      readonly arguments: readonly string[];
    };
