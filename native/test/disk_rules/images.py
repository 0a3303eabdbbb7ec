"""Images that err."""

import os
import random
import shutil

from disk_bench.setting import MIB, SEED, path, rule, run
from disk_bench.images import PACKED, SKIPPED
from disk_bench.targets import TestTarget, with_target
from disk_bench.proxy import through
from disk_bench.tool import expect_fault, expect_same, garbage, stream


@rule("a wrong checksum fails the job before a byte is written, a right one is reported")
def _():
    def test(target):
        for algorithm in ("md5", "sha256", "sha512"):
            value = run(algorithm + "sum", path("qcow2-zlib")).stdout.split()[0].decode()
            garbage(target.disk())
            status, answer, errors = stream("qcow2-zlib", target.url(), options=["--checksum", f"{algorithm}:{value}"])
            assert status == 0 and answer["checksum"] == {"algorithm": algorithm, "value": value}, errors
            expect_same("qcow2-zlib", target.disk())
            wrong = ("0" if value[0] != "0" else "1") + value[1:]
            expect_fault("image.checksum-mismatch", "qcow2-zlib", target, ["--checksum", f"{algorithm}:{wrong}"], untouched=True, where="job")
    with_target(test)


@rule("an image that is not what it was said to be is refused, whichever way")
def _():
    def test(target):
        shutil.copy(path("qcow2"), path("raw-in-disguise"))
        expect_fault("image.format-mismatch", "raw-in-disguise", target, untouched=True, where="job")
        shutil.copy(path("raw"), path("qcow2-in-disguise"))
        expect_fault("image.format-mismatch", "qcow2-in-disguise", target, untouched=True, where="job")
        run("qemu-img", "convert", "-O", "vmdk", path("raw"), path("raw-vmdk"))
        expect_fault("image.format-mismatch", "raw-vmdk", target, untouched=True, where="job")
    with_target(test)


@rule("an image that has to be converted first is refused with the way to do it")
def _():
    def test(target):
        for format in ("vmdk", "vhdx", "vdi"):
            run("qemu-img", "convert", "-O", format, path("raw"), path(format))
            fault = expect_fault("image.convert-first", format, target, untouched=True, where="job")
            assert f"qemu-img convert -f {format} -O qcow2" in fault["message"], fault
    with_target(test)


@rule("a compressed image that is cut off, changed, or has something behind it is refused by name")
def _():
    def test(target):
        rng = random.Random(SEED + 6)
        for image in ("gzip", "zstd", "zstd-frames", "xz-large-blocks", "bzip2"):
            with open(path(image), "rb") as file:
                whole = file.read()
            name = image.split("-")[0] + "-damaged"

            def refused(data, codes):
                with open(path(name), "wb") as file:
                    file.write(data)
                status, answer, errors = stream(name, target.url())
                assert status == 2 and answer["fault"]["code"] in codes, f"{image}: {answer} {errors}"

            for length in [20, len(whole) - 1, rng.randrange(100, len(whole))]:
                refused(whole[:length], ("image.truncated", "image.corrupt"))
            for garbage in (b"x", bytes(3) + b"behind"):
                refused(whole + garbage, ("image.trailing-garbage", "image.truncated", "image.corrupt"))
            changed = bytearray(whole)
            # What stands in a skippable frame is nobody's.
            longest = max(whole.split(SKIPPED), key=len)
            changed[whole.index(longest) + len(longest) // 2] ^= 0x20
            refused(changed, ("image.corrupt", "image.truncated", "image.window"))
    with_target(test)


@rule("a compressed image must be called what it is, and hold a raw disk")
def _():
    def test(target):
        shutil.copy(path("gzip"), path("raw-gzip"))
        expect_fault("image.format-mismatch", "raw-gzip", target, untouched=True, where="job")
        shutil.copy(path("xz"), path("zstd-xz"))
        expect_fault("image.format-mismatch", "zstd-xz", target, untouched=True, where="job")
        with open(path("qcow2"), "rb") as file:
            inner = file.read(100_000)
        for format in ("gzip", "zstd", "xz", "bzip2"):
            with open(path(format + "-qcow2"), "wb") as file:
                file.write(PACKED[format](inner))
            expect_fault("image.inner-format", format + "-qcow2", target, untouched=True, where="job")
            with open(path(format + "-nothing"), "wb") as file:
                file.write(PACKED[format](b""))
            expect_fault("image.empty", format + "-nothing", target, untouched=True, where="job")
    with_target(test)


@rule("a compressed image that is larger than the disk fails before the first byte where it tells its size, else when it comes to it")
def _():
    def test(target):
        for image in ("xz", "zstd-frames"):
            expect_fault("disk.too-small", image, target, untouched=True)
        for image in ("gzip", "zstd", "bzip2"):
            expect_fault("disk.too-small", image, target)
    with_target(test, size=8 * MIB)


@rule("a compressed image onto a wire that is cut, and onto a slow target beside a fast one: every byte arrives")
def _():
    def meddle(data, towards, total, connection):
        return None if towards and connection <= 3 and total > 700_000 * connection else data
    for image in ("gzip", "xz-large-blocks"):
        assert through(meddle, image) > 1, "the wire was never cut"
    fast, slow = TestTarget(), TestTarget(delay_us=20000, window=1)
    try:
        for target in (fast, slow):
            garbage(target.disk())
        status, answer, errors = stream("gzip", fast.url(), slow.url())
        assert status == 0, f"{errors} {answer}"
        for target in (fast, slow):
            expect_same("gzip", target.disk())
    finally:
        fast.close()
        slow.close()


@rule("images that need another file, a key, or an unknown feature are refused by name")
def _():
    def test(target):
        run("qemu-img", "create", "-f", "qcow2", "-b", path("qcow2"), "-F", "qcow2", path("qcow2-backed"))
        expect_fault("qcow2.backing-file", "qcow2-backed", target, untouched=True, where="job")
        run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={path('data')}", path("qcow2-data"), "16M")
        expect_fault("qcow2.data-file", "qcow2-data", target, untouched=True, where="job")
        run("qemu-img", "create", "-f", "qcow2", "--object", "secret,id=s,data=secretsecret", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path("qcow2-luks"), "4M")
        expect_fault("qcow2.encrypted", "qcow2-luks", target, untouched=True, where="job")
    with_target(test)


@rule("an image that is cut off anywhere never counts as written")
def _():
    def test(target):
        rng = random.Random(SEED + 4)
        for image in ("qcow2", "qcow2-zlib", "qcow2-zstd"):
            size = os.path.getsize(path(image))
            for length in [0, 3, 80, 200, 65536, size // 2, size - 70000, rng.randrange(size)]:
                with open(path(image), "rb") as source, open(path("qcow2-cut"), "wb") as cut:
                    cut.write(source.read(length))
                status, answer, errors = stream("qcow2-cut", target.url())
                assert status == 2 and answer["fault"]["kind"] in ("malformed", "invalid"), f"{image} cut at {length}: {answer} {errors}"
    with_target(test)


@rule("an image with random bytes changed never crashes the stream, and is refused or written whole")
def _():
    def test(target):
        rng = random.Random(SEED + 5)
        for round in range(30):
            image = rng.choice(["qcow2", "qcow2-zlib", "qcow2-zstd", "qcow2-patches"])
            with open(path(image), "rb") as source:
                data = bytearray(source.read())
            for _ in range(rng.choice([1, 5, 50])):
                data[rng.choice([rng.randrange(200), rng.randrange(len(data)), rng.randrange(196608, min(len(data), 262144))]) % len(data)] = rng.randrange(256)
            with open(path("qcow2-changed"), "wb") as out:
                out.write(data)
            status, answer, errors = stream("qcow2-changed", target.url())
            assert status in (0, 1, 2) and answer is not None, f"round {round}: status {status} {errors}"
    with_target(test)
