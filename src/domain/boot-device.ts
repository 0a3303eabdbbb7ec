/** Ironic's boot devices. */
export type BootDevice = "pxe" | "disk" | "cdrom" | "bios" | "safe" | "wanboot" | "floppy";

export type BootMode = "bios" | "uefi";

/**
 * What the three boot services give a machine that asks: nothing of ours, the ramdisk, its own disk, what its
 * instance names (an ISO, a kernel), or its iSCSI volume.
 */
export type BootTarget = "none" | "ramdisk" | "disk" | "network" | "volume";
