import type { BootIndexes } from "./boot-order.ts";

export type Firmware = "bios" | "uefi";
export type DiskBus = "virtio" | "scsi" | "sata" | "nvme";

export interface Disk {
  readonly path: string;
  readonly serial: string;
  readonly bus: DiskBus;
}

export interface Hardware {
  readonly name: string;
  readonly firmware: Firmware;
  readonly uuid: string;
  readonly memoryMb: number;
  readonly cpus: number;
  readonly mac: string;
  readonly tap: string;
  readonly disks: readonly Disk[];
  /** The copy of OVMF's variables that this machine writes to; unused under BIOS. */
  readonly variables: string;
  readonly consoleLog: string;
  /** TCP port on the rack's loopback where the serial line can be picked up. */
  readonly consolePort: number;
  readonly qmpSocket: string;
}

export const OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd";
export const OVMF_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/** The ids under which QMP finds the devices of the boot order. */
export const NIC_ID = "nic0";
export const FIRST_DISK_ID = "disk0";

/**
 * QEMU's command line for one machine, stopped before its first instruction (-S).
 * TCG and not KVM: under nested virtualization iPXE's ROM stops at its prompt.
 */
export function qemuArguments(hardware: Hardware, boot: BootIndexes): readonly string[] {
  const uefi = hardware.firmware === "uefi";
  const options: readonly (readonly string[])[] = [
    ["-name", hardware.name],
    ["-uuid", hardware.uuid],
    ["-S"],
    ["-machine", "q35,smm=off,usb=off,graphics=off"],
    ["-accel", "tcg,thread=multi"],
    ["-cpu", "max"],
    ["-m", String(hardware.memoryMb)],
    ["-smp", String(hardware.cpus)],
    ["-nodefaults"],
    ["-no-user-config"],
    ["-display", "none"],
    ["-vga", "none"],
    [
      "-smbios",
      `type=1,manufacturer=ironrack,product=Virtual Rack ${uefi ? "UEFI" : "BIOS"},serial=RACK-${hardware.name},uuid=${hardware.uuid}`,
    ],
    ...(uefi ? flash(hardware.variables) : []),
    ["-object", "rng-random,id=rng0,filename=/dev/urandom"],
    ["-device", "virtio-rng-pci,rng=rng0"],
    ["-netdev", `tap,id=net0,ifname=${hardware.tap},script=no,downscript=no`],
    // Under UEFI without a ROM, so that OVMF's own PXE and HTTP boot run.
    [
      "-device",
      `virtio-net-pci,id=${NIC_ID},netdev=net0,mac=${hardware.mac},bootindex=${boot.nic}${uefi ? ",romfile=" : ""}`,
    ],
    ...controllers(hardware.disks),
    ...hardware.disks.flatMap((disk, index) => diskOptions(disk, index, index === 0 ? boot.disk : undefined)),
    [
      "-chardev",
      `socket,id=serial0,host=127.0.0.1,port=${hardware.consolePort},server=on,wait=off,logfile=${commas(hardware.consoleLog)},logappend=on`,
    ],
    ["-serial", "chardev:serial0"],
    ["-qmp", `unix:${commas(hardware.qmpSocket)},server=on,wait=off`],
  ];
  return ["qemu-system-x86_64", ...options.flat()];
}

function flash(variables: string): readonly (readonly string[])[] {
  return [
    ["-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF_CODE}`],
    ["-drive", `if=pflash,format=raw,unit=1,file=${commas(variables)}`],
  ];
}

function controllers(disks: readonly Disk[]): readonly (readonly string[])[] {
  return disks.some((disk) => disk.bus === "scsi") ? [["-device", "virtio-scsi-pci,id=scsi0"]] : [];
}

const DISK_DEVICE: Readonly<Record<DiskBus, string>> = {
  virtio: "virtio-blk-pci",
  scsi: "scsi-hd,bus=scsi0.0",
  sata: "ide-hd",
  nvme: "nvme",
};

function diskOptions(disk: Disk, index: number, bootIndex: number | undefined): readonly (readonly string[])[] {
  const drive = `drive${index}`;
  const place = disk.bus === "sata" ? `,bus=ide.${index}` : "";
  const boot = bootIndex === undefined ? "" : `,bootindex=${bootIndex}`;
  return [
    // A rack is thrown away after the test: flushes may be ignored.
    [
      "-drive",
      `if=none,id=${drive},file=${commas(disk.path)},format=raw,cache=unsafe,aio=threads,discard=unmap,detect-zeroes=unmap`,
    ],
    ["-device", `${DISK_DEVICE[disk.bus]}${place},id=disk${index},drive=${drive},serial=${disk.serial}${boot}`],
  ];
}

/** A comma in a value of QEMU's option lists is written twice. */
function commas(value: string): string {
  return value.replaceAll(",", ",,");
}
