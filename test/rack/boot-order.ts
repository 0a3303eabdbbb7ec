/** What the operator's hand on the BMC asks the firmware to try first. */
export type BootDevice = "pxe" | "disk";

/** QEMU's bootindex of each device: the firmware (SeaBIOS and OVMF alike) tries the lower first. */
export interface BootIndexes {
  readonly nic: number;
  readonly disk: number;
}

export function bootIndexes(first: BootDevice): BootIndexes {
  return first === "pxe" ? { nic: 1, disk: 2 } : { nic: 2, disk: 1 };
}

/**
 * The boot order of a machine: its firmware's own, and at most one override that holds for the next start only.
 * ipmi_sim tells the chassis program the device alone, so every override is taken as IPMI's default, "next boot only"
 * (IPMI 2.0 table 28-14, boot flags data 1 bit 6 clear), and lapses when the machine has started with it.
 */
export class BootOrder {
  readonly usual: BootDevice;
  #override: BootDevice | undefined;

  constructor(usual: BootDevice) {
    this.usual = usual;
  }

  /** What the next start will try first. */
  get next(): BootDevice {
    return this.#override ?? this.usual;
  }

  get override(): BootDevice | undefined {
    return this.#override;
  }

  request(device: BootDevice | undefined): void {
    this.#override = device;
  }
}
