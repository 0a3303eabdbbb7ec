#!/bin/bash
# Makes the part of the ramdisk that changes only with Debian: the kernel, its modules, busybox and the disk tools.
#
#   base.sh OUTDIR   writes OUTDIR/kernel, OUTDIR/base.cpio.zst and OUTDIR/base.json
#   base.sh --key    prints the hash of everything that decides their content
#
# All of it are files of Debian packages, fetched with the system's own apt configuration and unpacked beside; nothing
# is installed and root is not needed. The same packages and sources give the same bytes.
# IRONRACK_FIRMWARE=DIR adds what the included drivers ask for from a tree laid out like /lib/firmware.
# Needs: apt, dpkg, kmod, cpio, zstd.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ironrack

die() { echo "ramdisk: $*" >&2; exit 1; }

# The lines of a list without comments.
rows() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$1"; }

# NAME=VERSION of every package, as apt would fetch it now. The kernel is what linux-image-amd64 depends on.
# apt takes a second to say so: its answer is kept until its lists or sources change.
package_versions() {
    local kernel kept="$cache/package-versions"
    if [ "$kept" -nt /var/lib/apt/lists ] && [ "$kept" -nt "$here/packages.list" ] && [ -z "$(find /etc/apt -newer "$kept" -print -quit)" ]; then
        cat "$kept"
        return
    fi
    kernel=$(apt-cache depends linux-image-amd64 2> /dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$kernel" ] || die "apt knows no linux-image-amd64: run 'apt-get update' as root and try again"
    mkdir -p "$cache"
    # shellcheck disable=SC2046 # one word per package
    apt-cache policy "$kernel" $(rows "$here/packages.list") |
        awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } $1 == "Candidate:" { print name "=" $2 }' > "$kept.$$"
    if grep '(none)' "$kept.$$" >&2; then die "apt has no candidate for these: run 'apt-get update' as root and try again"; fi
    mv "$kept.$$" "$kept"
    cat "$kept"
}

if [ "${1:-}" = --key ]; then
    {
        cat "$here/base.sh" "$here/modules.list" "$here/packages.list"
        package_versions
        if [ -n "${IRONRACK_FIRMWARE:-}" ]; then (cd "$IRONRACK_FIRMWARE" && find . -type f -printf '%p %s\n' | sort); fi
    } | sha256sum | cut -c 1-16
    exit
fi
[ $# -eq 1 ] || die "usage: base.sh OUTDIR | --key"
[ "$(dpkg --print-architecture)" = amd64 ] || die "the ramdisk is built on amd64 only"

mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ironrack-ramdisk.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree # the packages' files
root=$work/root # the ramdisk's
mkdir -p "$work/debs" "$tree" "$root"

echo "ramdisk: fetching packages"
versions=$(package_versions)
# As root apt fetches as user _apt, who must be able to write here.
if [ "$(id -u)" = 0 ]; then chmod 755 "$work" && chown _apt "$work/debs"; fi
# shellcheck disable=SC2086 # one word per package
(cd "$work/debs" && apt-get -qq download $versions)
for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$tree"; done

echo "ramdisk: gathering tools"
mkdir -p "$root"/{bin,sbin,dev,etc,lib,lib64,mnt,proc,root,run,sys,tmp,var/log}
ln -s . "$root/usr"
cp "$tree/bin/busybox" "$root/bin/busybox"
"$root/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
ln -s ../bin/modprobe "$root/sbin/modprobe" # where the kernel's request_module looks
loader=$tree/lib64/ld-linux-x86-64.so.2
cp -L "$loader" "$root/lib64/ld-linux-x86-64.so.2"
for tool in sfdisk blkdiscard hdparm; do
    program=$tree/sbin/$tool
    [ -e "$program" ] || program=$tree/usr/sbin/$tool
    cp "$program" "$root/sbin/$tool"
    rm -f "$root/bin/$tool" # the whole tool, not busybox's small one
    "$loader" --library-path "$tree/lib/x86_64-linux-gnu:$tree/usr/lib/x86_64-linux-gnu" --list "$program" > "$work/needed"
    if grep '=>' "$work/needed" | grep -v "=> $tree/" > "$work/missing"; then
        die "$tool needs a library that no package of packages.list has: $(cat "$work/missing")"
    fi
    sed -n 's/.*=> \([^ ]*\).*/\1/p' "$work/needed" | while read -r library; do
        cp -L "$library" "$root/lib/$(basename "$library")"
    done
done
echo "root:x:0:0:root:/root:/bin/sh" > "$root/etc/passwd"
echo "root:x:0:" > "$root/etc/group"

echo "ramdisk: gathering kernel modules"
release=$(basename "$tree"/lib/modules/*)
depmod -b "$tree" "$release"
rows "$here/modules.list" | while read -r module; do
    modprobe -d "$tree" -S "$release" --show-depends "$module" 2> "$work/modprobe.log" || die "no module $module in $release: $(cat "$work/modprobe.log")"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u > "$work/modules"
while read -r file; do
    path=${file#"$tree"/}
    mkdir -p "$root/$(dirname "$path")"
    cp "$file" "$root/$path"
done < "$work/modules"
cp "$tree/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$release/"
depmod -b "$root" "$release"
# busybox reads modules.alias, modules.dep and modules.builtin; the other indices are kmod's.
rm -f "$root/lib/modules/$release"/modules.{*.bin,order,builtin.modinfo,builtin.alias,devname,symbols,softdep}

firmware=0
if [ -n "${IRONRACK_FIRMWARE:-}" ]; then
    echo "ramdisk: adding firmware"
    while read -r module; do modinfo -F firmware "$module"; done < "$work/modules" | sort -u > "$work/firmware"
    while read -r blob; do
        if [ -e "$IRONRACK_FIRMWARE/$blob" ]; then
            mkdir -p "$root/lib/firmware/$(dirname "$blob")"
            cp -L "$IRONRACK_FIRMWARE/$blob" "$root/lib/firmware/$blob"
            firmware=$((firmware + 1))
        fi
    done < "$work/firmware"
fi

echo "ramdisk: packing"
find "$root" -exec touch -h -d @0 {} +
(cd "$root" && find . | sort | cpio --quiet --reproducible -R 0:0 -H newc -o) > "$work/base.cpio"
# zstd: xz would be 15 % smaller and take ten seconds to unpack on a slow machine.
zstd -q -19 --long=25 -T0 "$work/base.cpio" -o "$work/base.cpio.zst"
{
    echo '{'
    echo "  \"kernel_release\": \"$release\","
    echo "  \"modules\": $(wc -l < "$work/modules"),"
    echo "  \"firmware_files\": $firmware,"
    echo "  \"unpacked_bytes\": $(stat -c %s "$work/base.cpio"),"
    echo '  "packages": {'
    sed -e 's/\(.*\)=\(.*\)/    "\1": "\2",/' -e '$ s/,$//' <<< "$versions"
    echo '  }'
    echo '}'
} > "$work/base.json"
cp "$tree/boot/vmlinuz-$release" "$work/kernel"
for file in kernel base.cpio.zst base.json; do
    cp "$work/$file" "$out/.$file.new"
    mv "$out/.$file.new" "$out/$file"
done
