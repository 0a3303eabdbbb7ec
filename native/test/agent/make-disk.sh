#!/bin/sh
# make-disk.sh gpt|mbr FILE: a disk of 24 MiB with an EFI system partition (FAT) at 1 MiB and a second partition, made with
# sfdisk, mkfs.vfat and mtools, as an installer would leave it.
set -eu
kind=$1
disk=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

truncate -s 24M "$work/disk"
if [ "$kind" = gpt ]; then
    sfdisk -q "$work/disk" << 'TABLE'
label: gpt
label-id: 8F2A5C0E-0F3B-4D6B-9D0C-5A1B2C3D4E5F
start=2048, size=32768, type=uefi, uuid=11223344-5566-7788-99AA-BBCCDDEEFF00, name=ESP
start=34816, size=4096, type=linux, name=root
TABLE
else
    sfdisk -q "$work/disk" << 'TABLE'
label: dos
label-id: 0xdeadbeef
start=2048, size=32768, type=ef
start=34816, size=4096, type=83
TABLE
fi

truncate -s 16M "$work/esp"
mkfs.vfat -n ESP "$work/esp" > /dev/null
mmd -i "$work/esp" ::/EFI ::/EFI/debian ::/EFI/BOOT
printf 'shim' > "$work/shimx64.efi"
printf 'fallback' > "$work/BOOTX64.EFI"
printf 'shimx64.efi,debian,,This is the boot entry for debian\n' | iconv -f ASCII -t UTF-16 > "$work/BOOTX64.CSV"
mcopy -i "$work/esp" "$work/shimx64.efi" "$work/BOOTX64.CSV" ::/EFI/debian/
mcopy -i "$work/esp" "$work/BOOTX64.EFI" ::/EFI/BOOT/
dd if="$work/esp" of="$work/disk" bs=1M seek=1 conv=notrunc status=none
mv "$work/disk" "$disk"
