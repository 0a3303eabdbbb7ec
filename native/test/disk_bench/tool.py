"""Runs of the tool, and what is expected of them."""

import json
import os
import subprocess

from .images import format_of, reference
from .setting import DISK_BYTES, IMAGE_BYTES, TOOL, path, spawn


def garbage(file, size=DISK_BYTES):
    with open(file, "wb") as out:
        out.write(b"\xa5garbage" * (size // 8))


def stream(image, *targets, options=(), env=None, timeout=120, format=None):
    """Runs the tool; returns its exit status and JSON."""
    file = path(image) if "/" not in image else image
    process = spawn(TOOL, "--json", "--format", format or format_of(image), *options, file, *targets, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    if process.returncode < 0 or "Sanitizer" in errors or "runtime error" in errors:
        raise AssertionError(f"ended with {process.returncode}: {errors[-4000:]}")
    return process.returncode, json.loads(output) if output else None, errors


def expect_written(image, target, options=(), blank=False, name="disk", **more):
    if blank:
        with open(target.disk(name), "wb") as file:
            file.truncate(DISK_BYTES)
    else:
        garbage(target.disk(name))
    status, answer, errors = stream(image, target.url(name), options=options, **more)
    assert status == 0, f"exit status {status}: {errors} {answer}"
    expect_same(image, target.disk(name), blank)
    result = answer["targets"][0]
    assert result["bytes"] + result["skipped"] == IMAGE_BYTES, result
    return result


def expect_same(image, disk, blank=False):
    with open(reference(image), "rb") as left, open(disk, "rb") as right:
        at = 0
        while at < IMAGE_BYTES:
            a, b = left.read(min(65536, IMAGE_BYTES - at)), right.read(min(65536, IMAGE_BYTES - at))
            if a != b:
                offset = at + next(i for i in range(len(a)) if i >= len(b) or a[i] != b[i])
                raise AssertionError(f"the disk differs at byte {offset}")
            at += len(a)
        right.seek((IMAGE_BYTES + 4095) // 4096 * 4096)  # the last sector is filled up with zeroes
        rest = right.read()
        assert rest == (bytes(len(rest)) if blank else (b"\xa5garbage" * (len(rest) // 8 + 1))[: len(rest)]), "bytes behind the image were touched"


def expect_fault(code, image, target, options=(), untouched=False, where="target", **more):
    garbage(target.disk())
    status, answer, errors = stream(image, target.url(), options=options, **more)
    fault = (answer["targets"][0] if where == "target" else answer)["fault"]
    assert fault["code"] == code, f"{fault} {errors}"
    assert status == (1 if where == "target" else 2), status
    if untouched:
        with open(target.disk(), "rb") as file:
            assert file.read() == b"\xa5garbage" * (DISK_BYTES // 8), "something was written"
    return fault
