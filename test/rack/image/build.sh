#!/bin/bash
# Makes the Debian image that the virtual rack's machines are given: a whole disk that boots by BIOS and by UEFI.
#
#   build.sh OUTDIR   writes OUTDIR/debian.qcow2 and OUTDIR/debian.qcow2.sha256
#   build.sh --key    prints the hash of what decides its content (the recipe; not Debian's state of the day)
#
# GPT: 1 BIOS boot partition with GRUB's core, 2 EFI system partition, 3 root (ext4). Packages come from the system's
# own apt sources. No loop device, no mount of ours; needs root for mmdebstrap, and mmdebstrap, apt, dpkg, fdisk,
# mtools, dosfstools, e2fsprogs, qemu-utils, python3.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
die() { echo "image: $*" >&2; exit 1; }

if [ "${1:-}" = --key ]; then
    (cd "$here" && find . -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c 1-16
    exit
fi
[ $# -eq 1 ] || die "usage: build.sh OUTDIR | --key"
[ "$(id -u)" = 0 ] || die "must run as root"
[ "$(dpkg --print-architecture)" = amd64 ] || die "the image is built on amd64 only"

mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ironrack-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
root=$work/root
# Fixed, so that boot loaders, fstab and file systems agree without asking; derived, so that two recipes differ.
digest=$(bash "$here/build.sh" --key | sha256sum)
uuid=${digest:0:8}-${digest:8:4}-4${digest:13:3}-8${digest:17:3}-${digest:20:12}

packages=linux-image-cloud-amd64,initramfs-tools,zstd,systemd-sysv,udev,iproute2,openssh-server,jq

# The system's own sources for Debian itself, whichever of the two forms they have.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mkdir -p "$work/sources"
cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2> /dev/null |
    grep -E "^deb .*[[:space:]]$suite[^[:space:]]*[[:space:]]+main" > "$work/sources/debian.list" || rm -f "$work/sources/debian.list"
for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    sed -e '/^[[:space:]]*#/d' "$file" | awk -v suite="$suite" -v RS= -v ORS='\n\n' \
        '$0 ~ "(^|\n)Suites:[^\n]*[ \t]" suite && /(^|\n)Components:[^\n]*[ \t]main([ \t]|\n|$)/ && !/Enabled: *no/'
done > "$work/sources/debian.sources"
[ -s "$work/sources/debian.sources" ] || rm -f "$work/sources/debian.sources"
ls "$work/sources"/debian.* > /dev/null 2>&1 || die "apt's sources name no Debian $suite main"

echo "image: installing Debian $suite into a folder"
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --setup-hook="'$here/initramfs/install' \"\$1\"" \
    --dpkgopt='force-confold' \
    "$suite" "$root" "$work/sources"/debian.* > "$work/mmdebstrap.log" 2>&1 || { tail -n 20 "$work/mmdebstrap.log" >&2; die "mmdebstrap failed"; }

echo "image: setting it up"
cp -r --no-preserve=ownership "$here/root/." "$root/"
chmod 755 "$root/usr/local/sbin/config-drive"
echo "UUID=$uuid / ext4 defaults,errors=remount-ro 0 0" > "$root/etc/fstab"
echo debian > "$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' > "$root/etc/hosts"
chroot "$root" useradd -m -s /bin/bash debian
rm -f "$root"/etc/ssh/ssh_host_*           # each machine makes its own
: > "$root/etc/machine-id"                 # likewise
rm -f "$root/var/lib/dbus/machine-id" "$root"/var/log/*.log "$root"/var/log/apt/*
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
chroot "$root" systemctl -q enable systemd-networkd ssh ssh-host-key config-drive
chroot "$root" systemctl -q mask $(sed -e 's/#.*//' "$here/masked.units") 2> /dev/null
mkdir -p "$root/etc/systemd/system-generators"
sed -e 's/#.*//' "$here/masked.generators" | while read -r generator; do
    [ -z "$generator" ] || ln -s /dev/null "$root/etc/systemd/system-generators/$generator"
done
# systemd would otherwise rebuild its caches at the first boot.
touch -d '1 hour' "$root/etc/.updated" "$root/var/.updated"
mkdir -p "$root/boot/grub"
kernel=$(basename "$root"/boot/vmlinuz-*)
sed -e "s/@UUID@/$uuid/g" -e "s/@KERNEL@/$kernel/g" -e "s/@INITRD@/initrd.img-${kernel#vmlinuz-}/g" "$here/grub.cfg" > "$root/boot/grub/grub.cfg"

echo "image: building GRUB's cores"
mkdir -p "$work/debs" "$work/grub"
chown _apt "$work/debs"
(cd "$work/debs" && apt-get -qq download grub-common grub-pc-bin grub-efi-amd64-bin libdevmapper1.02.1)
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/grub"; done
cat > "$work/early.cfg" <<END
search.fs_uuid $uuid root
set prefix=(\$root)/boot/grub
END
core() {
    LD_LIBRARY_PATH=$work/grub/lib/x86_64-linux-gnu "$work/grub/usr/bin/grub-mkimage" -d "$work/grub/usr/lib/grub/$1" \
        -O "$1" -c "$work/early.cfg" -p /boot/grub -o "$2" part_gpt ext2 search_fs_uuid normal configfile linux serial terminal echo test "${@:3}"
}
core i386-pc "$work/core.img" biosdisk
core x86_64-efi "$work/grubx64.efi" fat efi_gop

echo "image: laying out the disk"
mib=1048576
esp_mib=16
root_mib=1000
disk=$work/disk.raw
truncate -s $(((2 + esp_mib + root_mib + 1) * mib)) "$disk"
sfdisk -q "$disk" <<END
label: gpt
label-id: ${uuid}
first-lba: 34
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name="bios"
start=2MiB, size=${esp_mib}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="esp"
start=$((2 + esp_mib))MiB, size=${root_mib}MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name="root"
END
python3 "$here/embed-grub.py" "$disk" "$work/grub/usr/lib/grub/i386-pc/boot.img" "$work/core.img"

truncate -s "${esp_mib}M" "$work/esp"
mkfs.vfat -n ESP -i "${digest:0:8}" "$work/esp" > /dev/null
# Shim's fallback list: file, label, arguments, description, in UTF-16.
printf 'grubx64.efi,debian,,This is the boot entry for debian\n' | iconv -t UCS-2LE > "$work/BOOTX64.CSV"
mmd -i "$work/esp" ::/EFI ::/EFI/debian ::/EFI/BOOT
mcopy -i "$work/esp" "$work/grubx64.efi" "$work/BOOTX64.CSV" ::/EFI/debian/
mcopy -i "$work/esp" "$work/grubx64.efi" ::/EFI/BOOT/BOOTX64.EFI
dd if="$work/esp" of="$disk" bs=1M seek=2 conv=notrunc,sparse status=none

mkfs.ext4 -q -F -L root -U "$uuid" -E lazy_itable_init=1,hash_seed="$uuid" -d "$root" "$work/rootfs" "${root_mib}M"
dd if="$work/rootfs" of="$disk" bs=1M seek=$((2 + esp_mib)) conv=notrunc,sparse status=none

echo "image: compressing"
qemu-img convert -c -O qcow2 "$disk" "$work/debian.qcow2"
(cd "$work" && sha256sum debian.qcow2 > debian.qcow2.sha256)
# The checksum comes last: who finds it finds the image.
for file in debian.qcow2 debian.qcow2.sha256; do
    cp "$work/$file" "$out/.$file.new"
    mv "$out/.$file.new" "$out/$file"
done
echo "image: $(stat -c %s "$out/debian.qcow2") bytes in $out/debian.qcow2"
