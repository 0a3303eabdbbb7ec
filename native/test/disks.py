#!/usr/bin/env python3
"""Streams real images onto real targets with image2iscsi and compares the disks byte by byte.

usage: disks.py TOOL TEST_TARGET [WORD...]     runs the rules whose title contains one of the WORDs
Targets: tgtd (package tgt), and the test target, which errs on request. Everything on loopback, in a temporary directory.
Two rules run side by side; IRONRACK_TEST_JOBS names another number.
With IRONRACK_TEST_RAMDISK, a directory with kernel and initrd, also the kernel's target (LIO) in a QEMU machine; that takes minutes.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
if len(sys.argv) < 3:
    sys.exit(__doc__)

from disk_bench import setting
from disk_bench.images import make_images
from disk_rules import fan_out, faults, formats, images, logins, matrix, resumption, tgtd, wires  # noqa: F401, each registers its rules

JOBS = int(os.environ.get("IRONRACK_TEST_JOBS", "2"))
telling = threading.Lock()


def holds(rule):
    """Runs the rule and says how it went."""
    begun = time.monotonic()
    try:
        rule.run()
        trouble = None
    except subprocess.CalledProcessError as error:
        trouble = f"{error} {error.stderr.decode()}"
    except (AssertionError, KeyError, OSError, ValueError, TypeError, subprocess.TimeoutExpired) as error:
        trouble = f"{type(error).__name__} {error}"
    with telling:
        if not setting.ending:
            print(f"ok {rule.title} ({time.monotonic() - begun:.1f} s)" if trouble is None else f"not ok {rule.title}: {trouble}", flush=True)
    return trouble is None


def side_by_side(rules, jobs):
    """How many of the rules hold."""
    left = queue.SimpleQueue()
    for rule in rules:
        left.put(rule)
    held = []

    def work():
        while not setting.ending:
            try:
                rule = left.get_nowait()
            except queue.Empty:
                return
            if holds(rule):
                held.append(rule)

    workers = [threading.Thread(target=work) for _ in range(jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return len(held)


def main():
    print(f"seed {setting.SEED} (IRONRACK_TEST_SEED repeats it)", flush=True)
    make_images()
    chosen = [rule for rule in setting.rules if not setting.WORDS or any(word in rule.title for word in setting.WORDS)]
    passed = side_by_side([rule for rule in chosen if not rule.alone], JOBS)
    passed += side_by_side([rule for rule in chosen if rule.alone], 1)
    print(f"{passed} passed, {len(chosen) - passed} failed")
    return 0 if 0 < passed == len(chosen) else 1


try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    status = main()
finally:
    setting.end()
sys.exit(status)
