#!/bin/bash
# Makes a volume of the virtual rack's Debian image: the same disk, whose initrd finds it again as an iSCSI initiator by the iBFT.
#
#   build.sh IMAGE.qcow2 VOLUME.raw TOOLS   TOOLS: open-iscsi and libopeniscsiusr, unpacked
#
# The image's own initrd stays as it is, and small; what an initiator needs comes behind it as an archive of its own, which Linux
# unpacks over it. No mount: e2fsprogs reads and writes the root file system where it lies. Also needs qemu-utils, fdisk, cpio, zstd.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 3 ] || { echo "usage: build.sh IMAGE VOLUME TOOLS" >&2; exit 2; }
image=$1 volume=$2 tools=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/ironrack-volume.XXXXXX")
trap 'rm -rf "$work"' EXIT

qemu-img convert -O raw "$image" "$volume"
first=$(sfdisk -d "$volume" | sed -n 's/.*start= *\([0-9]*\),.*name="root".*/\1/p')
root="$volume?offset=$((first * 512))"
on_root() { debugfs -R "$1" "$root" 2> /dev/null; }

kernel=$(on_root "ls -p /boot" | sed -n 's#.*/vmlinuz-\([^/]*\)/.*#\1#p')
[ -n "$kernel" ] || { echo "volume: $image has no kernel in /boot" >&2; exit 1; }
modules=/usr/lib/modules/$kernel
initrd=/boot/initrd.img-$kernel

add=$work/add
mkdir -p "$add$modules" "$add/usr/sbin" "$add/usr/lib" "$add/scripts/local-top"
fetch() { mkdir -p "$(dirname "$add$1")" && on_root "dump $1 $add$1" && [ -s "$add$1" ] || { echo "volume: no $1 in the image" >&2; exit 1; }; }
# modprobe's index in the initrd knows only what is there already.
for file in modules.dep modules.dep.bin; do fetch "$modules/$file"; done
wanted() { sed -n "s#^\([^:]*/$1\.ko\): *\(.*\)#\1 \2#p" "$add$modules/modules.dep"; }
for name in iscsi_ibft iscsi_tcp virtio_net crc32c-intel crc32c_generic; do
    for file in $(wanted "$name"); do [ -e "$add$modules/$file" ] || fetch "$modules/$file"; done
done
cp "$tools/sbin/iscsistart" "$add/usr/sbin/"
find "$tools" -name 'libopeniscsiusr.so.*' -type f -exec cp {} "$add/usr/lib/" \; # the others are there, for kmod
install -m 755 "$here/local-top" "$add/scripts/local-top/iscsi"
printf '/scripts/local-top/iscsi "$@"\n' > "$add/scripts/local-top/ORDER"

on_root "dump $initrd $work/initrd"
(cd "$add" && find . | cpio --quiet -o -H newc | zstd -q) >> "$work/initrd"
# The address that the machine has is the one that its disk comes over.
printf '[Network]\nKeepConfiguration=yes\n' > "$work/keep.conf"
debugfs -w -f - "$root" > "$work/log" 2>&1 << END
rm $initrd
write $work/initrd $initrd
mkdir /etc/systemd/network/50-dhcp.network.d
write $work/keep.conf /etc/systemd/network/50-dhcp.network.d/keep.conf
END
# debugfs says nothing by its exit status.
on_root "dump $initrd $work/written"
cmp "$work/initrd" "$work/written" || { cat "$work/log" >&2; exit 1; }
