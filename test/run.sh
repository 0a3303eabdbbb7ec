#!/usr/bin/env bash
# Runs the test suites and ends with one line `N passed, M failed`.
#   bash test/run.sh [unit|native|peer|e2e|checks]...   without a name: all of them
#   bash test/run.sh arm64                              boots arm64 machines; not among those
# Sets up what the chosen suites need first. Exit status 0 only when something ran and nothing failed.
set -uo pipefail
cd "$(dirname "$0")/.."
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(checks unit native peer e2e)

passed=0
failed=0
declare -A children began
logs=$(mktemp -d "${TMPDIR:-/tmp}/ironrack-tests.XXXXXX")

# The running suites get the signal and clean up after themselves; then we end as interrupted.
interrupted() {
  local child
  trap '' INT TERM HUP
  for child in "${children[@]}"; do kill -TERM -- "-$child" 2>/dev/null; done
  for child in "${children[@]}"; do
    ended "$child" 10 || kill -KILL -- "-$child" 2>/dev/null
  done
  echo "interrupted; logs are in $logs"
  echo "$passed passed, $((failed + 1)) failed"
  exit 130
}
trap interrupted INT TERM HUP

# start NAME COMMAND... : in a process group of its own, output kept. It is told to end when we are killed.
start() {
  local name=$1
  shift
  setsid setpriv --pdeathsig=TERM "$@" >"$logs/$name.log" 2>&1 </dev/null &
  children[$name]=$!
  began[$name]=$SECONDS
}

# ended PROCESS-GROUP SECONDS : whether all of it is gone within that time.
ended() {
  local group=$1 tenths
  for ((tenths = $2 * 10; tenths > 0; tenths--)); do
    pgrep -g "$group" --runstates D,R,S,T,t >/dev/null || return 0
    sleep 0.1
  done
  return 1
}

# finish NAME : shows the output of what was started until it ends; its status. What it leaves running is killed, and a failure.
finish() {
  local name=$1 child=${children[$1]} status
  echo "== $name"
  tail -n +1 -f --pid="$child" "$logs/$name.log" 2>/dev/null &
  local tail=$!
  wait "$child"
  status=$?
  wait "$tail" 2>/dev/null
  if ! ended "$child" 5; then
    failed=$((failed + 1))
    echo "FAILED: $name left processes running, now killed:"
    ps -o pid=,args= -p "$(pgrep -d, -g "$child")"
    kill -KILL -- "-$child" 2>/dev/null
  fi
  unset "children[$name]"
  echo "== $name: $((SECONDS - began[$name])) s"
  return "$status"
}

run() {
  start "$@"
  finish "$1"
}

# One yes-or-no check counts as one test.
check() {
  if run "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1 (log: $logs/$1.log)"; fi
}

# node's runner says how many passed; a suite that ran none or died early has failed.
node_suite() {
  local name=$1 concurrency=$2 status ok bad
  shift 2
  local files=()
  while IFS= read -r file; do files+=("$file"); done < <(find "$@" -name '*.test.js' 2>/dev/null | sort)
  if [ ${#files[@]} -eq 0 ]; then failed=$((failed + 1)); echo "FAILED: $name has no tests"; return; fi
  run "$name" node --enable-source-maps --test --test-reporter=spec --test-concurrency="$concurrency" "${files[@]}"
  status=$?
  ok=$(sed -n 's/^ℹ pass //p' "$logs/$name.log" | tail -n 1)
  bad=$(sed -n 's/^ℹ \(fail\|cancelled\) //p' "$logs/$name.log" | tail -n 2 | awk "{ sum += \$1 } END { print sum + 0 }")
  count "$name" "$status" "${ok:-0}" "${bad:-0}"
}

# The native suites close with a line of the same form as ours.
native_suite() {
  local name=$1 status line
  finish "$name"
  status=$?
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$logs/$name.log" | tail -n 1)
  count "$name" "$status" "$(echo "${line:-0 passed, 0 failed}" | cut -d' ' -f1)" "$(echo "${line:-0 passed, 0 failed}" | cut -d' ' -f3)"
}

count() {
  local name=$1 status=$2 ok=$3 bad=$4
  passed=$((passed + ok))
  failed=$((failed + bad))
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then failed=$((failed + 1)); echo "FAILED: $name ended with status $status (log: $logs/$name.log)"; fi
  if [ "$ok" -eq 0 ] && [ "$status" -eq 0 ]; then failed=$((failed + 1)); echo "FAILED: $name ran no test"; fi
}

profiles=(npm)
for suite in "${suites[@]}"; do
  case $suite in
    checks) ;;
    unit) profiles+=(addon) ;;
    native) profiles+=(native-test lab) ;;
    peer) profiles+=(addon lab ramdisk) ;;
    e2e) profiles+=(addon lab ramdisk image) ;;
    arm64) profiles+=(addon lab) ;;
    *) echo "there is no suite \"$suite\"; suites are checks, unit, native, peer, e2e, arm64" >&2; exit 2 ;;
  esac
done
# Peer and end-to-end tests start machines: two files at a time where there are processors and memory for them.
at_once=1
if [ "$(nproc)" -ge 2 ] && [ "$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)" -ge 6 ]; then at_once=2; fi

bash test/setup.sh "${profiles[@]}" build || { echo "FAILED: set-up"; echo "0 passed, 1 failed"; exit 1; }

for suite in "${suites[@]}"; do
  case $suite in
    checks)
      check types npx tsc -p . --noEmit
      check lint npx oxlint --type-aware
      check format npx biome format .
      ;;
    unit) node_suite unit 3 build/test/unit ;;
    native)
      # One waits while the other compiles.
      start native bash native/test/run.sh
      start agent make -s -j1 -C native/test/agent check
      native_suite native
      native_suite agent
      ;;
    peer) node_suite peer $at_once build/test/peer build/test/conformance ;;
    e2e) node_suite e2e $at_once build/test/e2e ;;
    arm64) node_suite arm64 1 build/test/arm64 ;;
  esac
done

[ "$failed" -eq 0 ] && rm -rf "$logs" || echo "logs are in $logs"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
