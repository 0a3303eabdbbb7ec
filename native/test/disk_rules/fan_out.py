"""Several targets, and stopping."""

import json
import signal
import subprocess

from disk_bench.setting import IMAGE_BYTES, TOOL, path, rule, spawn
from disk_bench.targets import TestTarget
from disk_bench.tool import expect_same, garbage, stream


@rule("eight targets at once, one slow, one dead, one that errs: the others get every byte and theirs alone fail")
def _():
    good = TestTarget(delay_us=100)
    slow = TestTarget(delay_us=20000, window=2)
    bad = TestTarget(fault=["check:3/11/0@7"])
    try:
        names = [f"disk{i}" for i in range(5)]
        for name in names:
            garbage(good.disk(name))
        for target in (slow, bad):
            garbage(target.disk())
        urls = [good.url(name) for name in names] + [slow.url(), bad.url(), "iscsi://127.0.0.1:1/iqn.2026-01.test:disk/1"]
        status, answer, errors = stream("qcow2-zlib", *urls, options=["--policy", "write-zeroes"])
        assert status == 1, errors
        for result in answer["targets"][:6]:
            assert result["ok"] and result["bytes"] + result["skipped"] == IMAGE_BYTES, result
        assert answer["targets"][6]["fault"]["code"] == "scsi.medium-error" and answer["targets"][7]["fault"]["kind"] == "unreachable", answer
        for name in names:
            expect_same("qcow2-zlib", good.disk(name))
        expect_same("qcow2-zlib", slow.disk())
        fast = max(result["seconds"] for result in answer["targets"][:5])
        assert fast < answer["targets"][5]["seconds"], "the slow target held the others up"
    finally:
        for target in (good, slow, bad):
            target.close()


@rule("a cancel ends the stream and closes its socket while the target stays silent")
def _():
    # It would be silent for an hour, and only after 120 s would its command be given up.
    target = TestTarget(fault=["silent@5"])
    try:
        process = spawn(TOOL, "--json", path("raw"), target.url(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert target.process.stdout.readline() == "silent\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 130 and json.loads(output)["fault"]["kind"] == "cancelled"
    finally:
        target.close()
