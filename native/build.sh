#!/bin/bash
# Builds the native addon and image2iscsi: bash native/build.sh [OUT]   (OUT: build/native under the checkout)
# Works offline; needs g++, make, Node's own headers and the Debian packages named in native/Makefile.
set -euo pipefail
native=$(cd "$(dirname "$0")" && pwd)
out=${1:-$native/../build/native}
mkdir -p "$out"
out=$(cd "$out" && pwd)
exec make -C "$native" --no-print-directory -j "${IRONRACK_BUILD_JOBS:-2}" OUT="$out" addon tool
