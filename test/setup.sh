#!/bin/bash
# Sets up what is missing, says what on standard error, and skips what is there.
#   bash test/setup.sh PROFILE...
#     npm          npm packages as package-lock.json says
#     build        TypeScript → build/
#     addon        the native addon and image2iscsi → build/native/
#     native-test  what the native tests are compiled with and run against
#     lab          the programs of the virtual rack and the independent clients
#     ramdisk      kernel and initrd → the cache
#     image        the Debian image of the virtual rack → the cache
# The cache is ${XDG_CACHE_HOME:-~/.cache}/ironrack; products lie there under a hash of what they are made of.
# For Debian 12 with Node and npm. Debian packages and the image need root: sudo is used where it is needed.
# IRONRACK_BUILD_ANYWAY=1 goes on when TypeScript reports errors.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
umask 022

readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/ironrack
readonly logs=$cache/log

say() { echo "set-up: $*" >&2; }
die() { say "$*"; exit 1; }

declare -A packages=(
    [npm]=""
    [build]=""
    [addon]="g++ make libssl-dev libzstd-dev libdeflate-dev liblzma-dev libbz2-dev libisal-dev libcurl4-openssl-dev"
    [native-test]="g++ make libssl-dev libzstd-dev libdeflate-dev liblzma-dev libbz2-dev libisal-dev libcurl4-openssl-dev zlib1g-dev libboost1.81-dev nlohmann-json3-dev qemu-utils qemu-block-extra tgt libiscsi-bin fdisk mtools dosfstools e2fsprogs iproute2 python3 xz-utils bzip2 zstd"
    [lab]="qemu-system-x86 qemu-system-arm qemu-utils ovmf ipxe openipmi ipmitool freeipmi-tools mosquitto mosquitto-clients tgt libiscsi-bin iproute2 openssh-client busybox-static isc-dhcp-client dhcpcd-base tftp-hpa atftp curl dnsmasq-base kea-common nftables radvd genisoimage xorriso openssl mtools dosfstools procps systemd python3 cpio"
    [ramdisk]="g++ make libssl-dev zlib1g-dev libboost1.81-dev nlohmann-json3-dev kmod cpio zstd"
    [image]="mmdebstrap fdisk mtools dosfstools e2fsprogs qemu-utils python3"
)

# Services of the packages above. The rack starts its own processes; none of these shall start by itself, ever.
readonly services="mosquitto tgt openipmi radvd"

[ $# -gt 0 ] || die "name what to set up: npm, build, addon, native-test, lab, ramdisk, image"
for profile in "$@"; do
    [ -n "${packages[$profile]+known}" ] || die "there is no profile \"$profile\"; profiles are npm, build, addon, native-test, lab, ramdisk, image"
done
asked() { [[ " $profiles " == *" $1 "* ]]; }
readonly profiles="$*"

mkdir -p "$logs" || die "cannot write to $cache: set XDG_CACHE_HOME to a directory of yours"

# alone WHAT: from here to `done_alone` no other set-up does WHAT. Looking whether it is missing comes after.
alone() {
    exec 9> "$cache/$1.lock"
    if ! flock -n 9; then
        say "waiting for another set-up that does the same ($1)"
        flock 9
    fi
}
done_alone() { exec 9>&-; }
checkout=$(pwd | sha256sum | cut -c 1-8)

# step NAME COMMAND... : runs it with its output in a log; if it fails, ends with a sentence that says what and where.
step() {
    local name=$1 log="$logs/$1.log"
    shift
    "$@" > "$log" 2>&1 9>&- < /dev/null && return
    tail -n 15 "$log" >&2
    die "step \"$name\" failed; everything it said is in $log. Mend what it names and run the same command again."
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

# Needed once per run, before anything is asked of root.
root_possible() {
    [ "$(id -u)" = 0 ] && return
    command -v sudo > /dev/null || die "$1 needs root and there is no sudo: run \"bash test/setup.sh $profiles\" as root"
    say "$1 needs root: using sudo"
    sudo -v || die "$1 needs root and sudo refused: run \"bash test/setup.sh $profiles\" as root"
}

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2> /dev/null | grep -qx installed; }

# apt with services refused for as long as it runs. A policy of the machine's own is left as it is.
install_packages() {
    local policy=/usr/sbin/policy-rc.d made=no status=0 ours
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy > /dev/null && as_root chmod 755 $policy && made=yes
    fi
    # shellcheck disable=SC2064 # the value of now
    if [ $made = yes ]; then trap "$([ "$(id -u)" = 0 ] || echo sudo) rm -f $policy" EXIT; fi
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -y --no-install-recommends)
    if ! as_root "${apt[@]}" install "$@"; then
        echo "set-up: trying again with fresh package lists"
        as_root "${apt[@]}" update && as_root "${apt[@]}" install "$@" || status=1
    fi
    for ours in $services; do
        if [[ " $* " == *" $ours "* ]] && command -v systemctl > /dev/null; then as_root systemctl disable "$ours.service"; fi
    done
    if [ $made = yes ]; then as_root rm -f $policy && trap - EXIT; fi
    return $status
}

alone packages
missing=()
for profile in "$@"; do
    for package in ${packages[$profile]}; do
        if [[ " ${missing[*]} " != *" $package "* ]] && ! installed "$package"; then missing+=("$package"); fi
    done
done
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get > /dev/null || die "these Debian packages are missing and there is no apt-get: ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    root_possible "installing packages"
    step packages install_packages "${missing[@]}"
fi
# ramdisk and image fetch packages without installing them: apt must know them.
if { asked ramdisk || asked image; } && ! apt-cache show linux-image-amd64 > /dev/null 2>&1; then
    say "fetching Debian's package lists"
    root_possible "apt-get update"
    step package-lists as_root apt-get update
fi
done_alone

if asked npm || asked build || asked addon; then
    command -v npm > /dev/null || die "Node.js with npm is not there: install Node 20.19 or newer and run the same command again"
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
        die "Node $(node -v) is too old: install Node 20.19 or newer and run the same command again"
fi

if asked npm; then
    alone "npm-$checkout"
    stamp=node_modules/.ironrack-lock
    lock=$(sha256sum < package-lock.json)
    if [ "$(cat "$stamp" 2> /dev/null)" != "$lock" ]; then
        if ! node test/node-modules-current.mjs; then
            say "installing npm packages"
            step npm npm ci --no-audit --no-fund --prefer-offline
        fi
        echo "$lock" > "$stamp"
    fi
    done_alone
fi

if asked build; then
    alone "build-$checkout"
    # What has no source any more must not run as a test.
    for folder in src test bench; do
        [ -d "build/$folder" ] || continue
        find "build/$folder" -name '*.js' | while IFS= read -r product; do
            source=${product#build/}
            [ -e "${source%.js}.ts" ] || rm -f "$product" "$product.map"
        done
    done
    [ -e build/src/main.js ] || rm -f build/.tsbuildinfo # tsc would think that its products are there
    if [ ! -e build/.tsbuildinfo ] || [ ! -e build/.compiled ] ||
        [ -n "$(find src test bench tsconfig.json package.json node_modules/.ironrack-lock \( -name '*.ts' -o -name '*.json' -o -name .ironrack-lock \) -newer build/.compiled -print -quit 2> /dev/null)" ]; then
        say "compiling TypeScript"
        mkdir -p build
        touch build/.compiling
        if [ -n "${IRONRACK_BUILD_ANYWAY:-}" ]; then
            npx tsc -p . > "$logs/build.log" 2>&1 9>&- || say "TypeScript reports errors, going on; see $logs/build.log"
        else
            step build npx tsc -p .
        fi
        mv build/.compiling build/.compiled
    fi
    done_alone
fi

# The hash of everything that decides what the addon and image2iscsi are.
addon_key() {
    {
        node -p 'process.version + process.arch'
        g++ --version | head -n 1
        dpkg-query -W -f '${Package} ${Version}\n' libssl-dev libzstd-dev libdeflate-dev liblzma-dev libbz2-dev libisal-dev libcurl4-openssl-dev
        grep '"version"' node_modules/node-addon-api/package.json
        find native/Makefile native/build.sh native/addon native/bytes native/http native/iscsi native/image native/pipeline native/serve native/tool -type f -print0 | sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c 1-16
}

if asked addon; then
    alone "addon-$checkout"
    key=$(addon_key)
    if [ "$(cat build/native/.key 2> /dev/null)" != "$key" ] || [ ! -e build/native/ironrack.node ]; then
        mkdir -p build/native
        if [ ! -e "$cache/addon/$key/ironrack.node" ]; then
            # Objects of an earlier build may be of another compiler, other libraries or flags, which make does not see:
            # what they are linked into goes to no other checkout.
            if [ -e build/native/obj ]; then whole=no; else whole=yes; fi
            say "building the native addon (about a minute)"
            step addon bash native/build.sh
            [ "$(addon_key)" = "$key" ] || die "the addon's sources changed while it was built: run the same command again"
            if [ $whole = yes ]; then
                mkdir -p "$cache/addon/$key.new"
                cp build/native/ironrack.node build/native/image2iscsi "$cache/addon/$key.new/"
                rm -rf "$cache/addon/$key" && mv "$cache/addon/$key.new" "$cache/addon/$key"
            fi
        else
            # Renamed into place: a running process may have the old one open.
            for product in ironrack.node image2iscsi; do
                cp "$cache/addon/$key/$product" "build/native/$product.new" && mv "build/native/$product.new" "build/native/$product"
            done
        fi
        echo "$key" > build/native/.key
    fi
    done_alone
fi

if asked ramdisk; then
    key=$(bash native/ramdisk/build.sh --key) || die "the ramdisk's recipe cannot tell what it needs; see the line above"
    if [ ! -e "$cache/ramdisk/$key/manifest.json" ]; then
        alone ramdisk
        if [ ! -e "$cache/ramdisk/$key/manifest.json" ]; then
            say "building the ramdisk (about two minutes)"
            step ramdisk bash native/ramdisk/build.sh "$cache/ramdisk/$key.new"
            # Whoever edits while it builds would get a product under the wrong name.
            [ "$(bash native/ramdisk/build.sh --key)" = "$key" ] || die "the ramdisk's sources changed while it was built: run the same command again"
            rm -rf "$cache/ramdisk/$key" && mv "$cache/ramdisk/$key.new" "$cache/ramdisk/$key"
        fi
        done_alone
    fi
fi

if asked image; then
    key=$(bash test/rack/image/build.sh --key)
    if [ ! -e "$cache/image/$key/debian.qcow2.sha256" ]; then
        alone image
        if [ ! -e "$cache/image/$key/debian.qcow2.sha256" ]; then
            say "building the Debian image of the virtual rack (about two minutes)"
            root_possible "building the image"
            step image as_root bash test/rack/image/build.sh "$cache/image/$key"
        fi
        done_alone
    fi
fi

# Products of sources that are long gone; what is in use was touched a moment ago.
for product in ramdisk ramdisk-base image addon; do
    find "$cache/$product" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} + 2> /dev/null
done
exit 0
