#!/bin/bash
# Makes the ramdisk that the rack's machines boot over the network: the base (base.sh) and over it init and the agent.
#
#   build.sh OUTDIR   writes OUTDIR/kernel, OUTDIR/initrd and OUTDIR/manifest.json
#   build.sh --key    prints the hash of everything that decides their content
#
# The base is kept in the cache, so that a change of the agent costs only the agent. The initrd is two archives, one
# after the other; the kernel unpacks both.
# Needs what base.sh and `make -C native/agent` need.
set -euo pipefail
export LC_ALL=C
umask 022

here=$(cd "$(dirname "$0")" && pwd)
native=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ironrack
limit=$((40 * 1024 * 1024))

die() { echo "ramdisk: $*" >&2; exit 1; }

base_key=$(bash "$here/base.sh" --key)

if [ "${1:-}" = --key ]; then
    {
        echo "$base_key"
        cd "$native"
        find ramdisk agent bytes -type f ! -path '*/build/*' -print0 2> /dev/null | sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c 1-16
    exit
fi
[ $# -eq 1 ] || die "usage: build.sh OUTDIR | --key"

base=$cache/ramdisk-base/$base_key
[ -e "$base/base.json" ] || bash "$here/base.sh" "$base"

mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/ironrack-ramdisk.XXXXXX")
trap 'rm -rf "$work"' EXIT
top=$work/top
mkdir -p "$top/sbin"
install -m 755 "$here/init" "$top/init"
install -m 755 "$here/dhcp-event" "$here/net-watch" "$top/sbin/"

agent=false
if [ -e "$native/agent/Makefile" ]; then
    echo "ramdisk: building the agent"
    objects=$(dirname "$native")/build/native/ramdisk-agent
    mkdir -p "$objects"
    make -j2 -C "$native/agent" OUT="$objects" > "$work/agent.log" 2>&1 || { tail -n 30 "$work/agent.log" >&2; die "the agent does not build"; }
    install -m 755 "$objects/ironrack-agent" "$top/sbin/ironrack-agent"
    agent=true
else
    echo "ramdisk: native/agent cannot be built: this ramdisk has no agent" >&2
fi

find "$top" -exec touch -h -d @0 {} +
(cd "$top" && find . | sort | cpio --quiet --reproducible -R 0:0 -H newc -o) | zstd -q -19 > "$work/top.cpio.zst"
cat "$base/base.cpio.zst" "$work/top.cpio.zst" > "$work/initrd"
size=$(stat -c %s "$work/initrd")
[ "$size" -le "$limit" ] || die "the initrd has $size bytes, more than $limit"
cp "$base/kernel" "$work/kernel"

hash() { sha256sum < "$1" | cut -d ' ' -f 1; }
{
    echo '{'
    echo "  \"kernel\": {\"bytes\": $(stat -c %s "$work/kernel"), \"sha256\": \"$(hash "$work/kernel")\"},"
    echo "  \"initrd\": {\"bytes\": $size, \"sha256\": \"$(hash "$work/initrd")\"},"
    echo "  \"agent\": $agent,"
    echo "  \"base\": $(cat "$base/base.json")"
    echo '}'
} > "$work/manifest.json"
# The manifest comes last: who finds it finds what it lists.
for file in kernel initrd manifest.json; do
    cp "$work/$file" "$out/.$file.new"
    mv "$out/.$file.new" "$out/$file"
done
echo "ramdisk: kernel $(stat -c %s "$out/kernel") bytes, initrd $size bytes in $out"
