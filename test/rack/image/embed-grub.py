"""embed-grub.py DISK BOOT_IMG CORE_IMG: makes a GPT disk image bootable by BIOS, as grub-bios-setup does to a device.

boot.img goes to the master boot record around the partition table, core.img to the partition of type "BIOS boot".
Offsets are those of GRUB 2.06, include/grub/i386/pc/boot.h and include/grub/offsets.h.
"""
import struct
import sys

SECTOR = 512
BIOS_BOOT = b"Hah!IdontNeedEFI"  # 21686148-6449-6E6F-744E-656564454649 as it is stored
PARTITION_TABLE = 0x1B8  # from the disk signature on, the record keeps what sfdisk wrote
KERNEL_SECTOR = 0x5C  # u64: where boot.img finds core.img
DRIVE_CHECK = 0x66  # a jump for floppies; two NOPs on a hard disk
BLOCK_LIST = SECTOR - 12  # the last entry of core.img's first sector: u64 start, u16 sectors, u16 segment


def main() -> None:
    disk_path, boot_path, core_path = sys.argv[1:]
    with open(boot_path, "rb") as file:
        boot = bytearray(file.read())
    with open(core_path, "rb") as file:
        core = bytearray(file.read())
    assert len(boot) == SECTOR, "boot.img is one sector"
    with open(disk_path, "r+b") as disk:
        record = disk.read(SECTOR)
        header = disk.read(SECTOR)
        assert header[:8] == b"EFI PART", "the disk has no GPT"
        table, count, size = struct.unpack_from("<QII", header, 72)
        disk.seek(table * SECTOR)
        entries = [disk.read(size) for _ in range(count)]
        first, last = next(struct.unpack_from("<QQ", entry, 32) for entry in entries if entry[:16] == BIOS_BOOT)
        assert len(core) <= (last - first + 1) * SECTOR, "core.img does not fit into the BIOS boot partition"

        struct.pack_into("<Q", boot, KERNEL_SECTOR, first)
        boot[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
        boot[PARTITION_TABLE:] = record[PARTITION_TABLE:]
        # grub-mkimage has set the number of sectors and the segment; only it cannot know where the rest will be.
        struct.pack_into("<Q", core, BLOCK_LIST, first + 1)

        disk.seek(0)
        disk.write(boot)
        disk.seek(first * SECTOR)
        disk.write(core)


main()
