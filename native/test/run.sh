#!/usr/bin/env bash
# The native core's tests: rules and fuzzers under ASan and UBSan, real disks under ASan, and again in part under TSan.
#   bash native/test/run.sh          everything; the last line is `N passed, M failed`
#   IRONRACK_FUZZ_SECONDS=600        how long the fuzzers run (default 8)
# Needs tgt, qemu-utils, xz-utils, bzip2, zstd and python3. Loopback only.
set -uo pipefail
native=$(cd "$(dirname "$0")/.." && pwd)
build=$native/../build
jobs=${IRONRACK_BUILD_JOBS:-2}
passed=0
failed=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# suite NAME COMMAND...: its output ends with a line of the same form as ours
suite() {
  local name=$1 log status line
  shift
  log=$(mktemp)
  echo "== $name"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
  rm -f "$log"
  if [ -z "$line" ]; then line="0 passed, 1 failed"; fi
  passed=$((passed + $(echo "$line" | cut -d' ' -f1)))
  failed=$((failed + $(echo "$line" | cut -d' ' -f3)))
  if [ "$status" -ne 0 ] && [ "$(echo "$line" | cut -d' ' -f3)" -eq 0 ]; then failed=$((failed + 1)); fi
}

fuzz() {
  if "$build/native-asan/fuzz" "${IRONRACK_FUZZ_SECONDS:-8}"; then echo "1 passed, 0 failed"; else echo "0 passed, 1 failed"; fi
}

mkdir -p "$build/native" "$build/native-asan" "$build/native-tsan"
make -s -C "$native" -j "$jobs" OUT="$build/native" target >&2 &&
  make -s -C "$native" -j "$jobs" OUT="$build/native-asan" SANITIZE=address,undefined unit fuzz tool >&2 &&
  make -s -C "$native" -j "$jobs" OUT="$build/native-tsan" SANITIZE=thread tool >&2 || {
  echo "0 passed, 1 failed"
  exit 1
}
suite "rules (ASan, UBSan)" "$build/native-asan/unit-tests"
suite "fuzzers (ASan, UBSan)" fuzz
suite "disks (ASan, UBSan)" python3 "$native/test/disks.py" "$build/native-asan/image2iscsi" "$build/native/test-target"
suite "disks (TSan)" python3 "$native/test/disks.py" "$build/native-tsan/image2iscsi" "$build/native/test-target" "digests and read back" "tgtd with" thinly killed wire targets checksum "connection cut" cancel "blocks: zeroes" gzip-members "compressed image onto"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
