#!/bin/sh
# run.sh OUT HERE: runs the agent's test programs and adds up what they counted.
out=$1
here=$2
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
export AGENT_TEST_GPT_DISK="$out/gpt.img" AGENT_TEST_MBR_DISK="$out/mbr.img"
passed=0
failed=0

run() {
    "$@" > "$out/output" 2>&1
    status=$?
    cat "$out/output"
    count=$(sed -n 's/^[a-z]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$out/output" | tail -n 1)
    if [ -z "$count" ]; then
        echo "FAILED $1 ended with status $status before it had counted"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + ${count% *}))
    failed=$((failed + ${count#* }))
    # A sanitizer's report at the end (leaks) fails a program whose rules all held.
    if [ "$status" -ne 0 ] && [ "${count#* }" -eq 0 ]; then
        echo "FAILED $1 ended with status $status"
        failed=$((failed + 1))
    fi
}

run "$out/unit_test"
run "$out/fuzz_test"
run python3 "$here/life_test.py" "$out/agent/ironrack-agent" "$out"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
