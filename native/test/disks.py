#!/usr/bin/env python3
"""Streams real images onto real targets with image2iscsi and compares the disks byte by byte.

usage: disks.py TOOL TEST_TARGET [WORD...]     runs the rules whose title contains one of the WORDs
Targets: tgtd (package tgt), and the test target, which errs on request. Everything on loopback, in a temporary directory.
With IRONRACK_TEST_RAMDISK, a directory with kernel and initrd, also the kernel's target (LIO) in a QEMU machine; that takes minutes.
"""

import gzip
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOOL, TEST_TARGET = sys.argv[1], sys.argv[2]
WORDS = sys.argv[3:]
SEED = int(os.environ.get("IRONRACK_TEST_SEED", random.randrange(1 << 32)))
MIB = 1 << 20
IMAGE_BYTES = 12 * MIB + 512  # not a multiple of 4096
DISK_BYTES = 16 * MIB

directory = tempfile.mkdtemp(prefix="ironrack-disks.")
children = []
rules = []


def rule(title):
    def register(function):
        rules.append((title, function))
        return function

    return register


def path(name):
    return os.path.join(directory, name)


def run(*arguments, **options):
    return subprocess.run([str(a) for a in arguments], check=True, capture_output=True, **options)


# ---- images ----


def make_raw():
    """Data, runs of zeroes that are stored, and holes of all sizes, at odd offsets."""
    rng = random.Random(SEED)
    with open(path("raw"), "wb") as file:
        file.truncate(IMAGE_BYTES)
        at = 0
        while at < IMAGE_BYTES:
            length = min(rng.choice([1, 511, 4096, 5000, 70000, 300000, 900000]), IMAGE_BYTES - at)
            file.seek(at)
            kind = rng.random()
            file.write(rng.randbytes(length) if kind < 0.5 else b"ironrack" * (length // 8 + 1) if kind < 0.8 else bytes(length))
            file.truncate(IMAGE_BYTES)
            at += length + rng.choice([0, 100, 4096, 65536, 200000, 1500000])
        file.seek(IMAGE_BYTES - 700)
        file.write(rng.randbytes(700))


QCOW2 = {
    "qcow2": [],
    "qcow2-v2": ["-o", "compat=0.10"],
    "qcow2-zlib": ["-c"],
    "qcow2-zstd": ["-c", "-o", "compression_type=zstd"],
    "qcow2-512": ["-o", "cluster_size=512"],
    "qcow2-512-zlib": ["-c", "-o", "cluster_size=512"],
    "qcow2-2M-zlib": ["-c", "-o", "cluster_size=2M"],
    "qcow2-2M-zstd": ["-c", "-o", "cluster_size=2M,compression_type=zstd"],
    "qcow2-extended": ["-o", "extended_l2=on,cluster_size=128k"],
    "qcow2-allocated": ["-o", "preallocation=metadata"],
}


# Raw images under compression: how each is made from the raw one.
PACKED = {
    "gzip": lambda raw: gzip.compress(raw, 6),
    "gzip-members": lambda raw: b"".join(gzip.compress(raw[at : at + 777_777], 1) for at in range(0, len(raw), 777_777)) + gzip.compress(b"") + bytes(700),
    "zstd": lambda raw: piped(["zstd", "-q"], raw),
    "zstd-frames": lambda raw: SKIPPED + b"".join(sized_frame(raw[at : at + MIB]) + SKIPPED for at in range(0, len(raw), MIB)),
    "zstd-askew": lambda raw: b"".join(sized_frame(raw[at : at + 5_000_001]) for at in range(0, len(raw), 5_000_001)),
    "xz": lambda raw: piped(["xz", "-1"], raw),
    "xz-blocks": lambda raw: piped(["xz", "-1", "-T2", "--block-size=1MiB"], raw),
    "xz-large-blocks": lambda raw: piped(["xz", "-1", "-T2", "--block-size=4MiB"], raw),
    "xz-askew": lambda raw: piped(["xz", "-1", "-T2", "--block-size=4500001"], raw),
    "xz-streams": lambda raw: piped(["xz", "-1"], raw[: 5 * MIB]) + piped(["xz", "-1", "--check=sha256"], raw[5 * MIB : 10 * MIB]) + bytes(8) + piped(["xz", "-1"], raw[10 * MIB :]),
    "bzip2": lambda raw: piped(["bzip2", "-1"], raw),
    "bzip2-streams": lambda raw: b"".join(piped(["bzip2"], raw[at : at + 3_000_000]) for at in range(0, len(raw), 3_000_000)),
}
SKIPPED = b"\x53\x2a\x4d\x18" + struct.pack("<I", 1000) + bytes(1000)


def piped(command, data):
    return run(*command, "-c", input=data).stdout


def sized_frame(data):
    with open(path("piece"), "wb") as file:
        file.write(data)
    return run("zstd", "-q", "-c", path("piece")).stdout


def make_images():
    make_raw()
    with open(path("raw"), "rb") as file:
        raw = file.read()
    for name, pack in PACKED.items():
        with open(path(name), "wb") as file:
            file.write(pack(raw))
    for name, options in QCOW2.items():
        run("qemu-img", "convert", "-O", "qcow2", *options, path("raw"), path(name))
    # Subclusters: written one by one, some zeroed explicitly.
    run("qemu-img", "create", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=64k", path("qcow2-patches"), str(IMAGE_BYTES))
    rng = random.Random(SEED + 1)
    commands = []
    for _ in range(60):
        at = rng.randrange(IMAGE_BYTES // 512 - 40) * 512
        commands += ["-c", rng.choice([f"write -P {rng.randrange(1, 255)} {at} {rng.randrange(1, 40) * 512}", f"write -z {at} {rng.randrange(1, 40) * 512}"])]
    run("qemu-io", *commands, path("qcow2-patches"))
    run("qemu-img", "snapshot", "-c", "before", path("qcow2-patches"))
    run("qemu-io", "-c", "write -P 77 1M 300k", path("qcow2-patches"))
    run("qemu-img", "convert", "-O", "raw", path("qcow2-patches"), path("raw-patches"))


def reference(image):
    return path("raw-patches") if image.endswith("-patches") else path("raw")


def format_of(image):
    return image.split("-")[0]


# ---- targets ----


class TestTarget:
    def __init__(self, **options):
        self.store = options.get("store") or tempfile.mkdtemp(dir=directory)
        self.host = "[::1]" if options.get("address") == "::1" else "127.0.0.1"
        options = {"size": DISK_BYTES, "store": self.store, **options}
        arguments = []
        for key, value in options.items():
            for each in value if isinstance(value, list) else [value]:
                arguments.append(f"--{key.replace('_', '-')}={each}")
        self.process = subprocess.Popen([TEST_TARGET, *arguments], stdout=subprocess.PIPE, text=True)
        children.append(self.process)
        self.port = int(self.process.stdout.readline())

    def url(self, name="disk"):
        return f"iscsi://{self.host}:{self.port}/iqn.2026-01.test:{name}/1"

    def disk(self, name="disk"):
        return os.path.join(self.store, name + ".img")

    def close(self):
        self.process.kill()
        self.process.wait()


class Tgtd:
    def __init__(self, thin=False, raised=False, chap=None, mutual=None, address="127.0.0.1", block_size=512, size=DISK_BYTES, digests=False):
        self.file = path(f"tgtd-{random.randrange(1 << 30)}.img")
        garbage(self.file, size)
        self.host = f"[{address}]" if ":" in address else address
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
            self.port = probe.getsockname()[1]
        self.control = str(random.randrange(1000, 32000))
        self.process = subprocess.Popen(["tgtd", "-f", "--iscsi", f"portal={self.host}:{self.port}", "-C", self.control], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children.append(self.process)
        for _ in range(200):
            if subprocess.run(["tgtadm", "-C", self.control, "--op", "show", "--mode", "sys"], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        name = "iqn.2026-01.test:disk"
        self.admin("--op new --mode target --tid 1 -T " + name)
        self.admin(f"--op new --mode logicalunit --tid 1 --lun 1 -b {self.file} --blocksize {block_size}")
        if thin:
            self.admin("--op update --mode logicalunit --tid 1 --lun 1 --params thin_provisioning=1")
        if digests:
            for key in ("HeaderDigest", "DataDigest"):
                self.admin(f"--op update --mode target --tid 1 --name {key} --value CRC32C,None")
        if raised:
            for key, value in [("MaxRecvDataSegmentLength", 262144), ("FirstBurstLength", 262144), ("MaxBurstLength", 1048576), ("InitialR2T", "No"), ("MaxOutstandingR2T", 4)]:
                self.admin(f"--op update --mode target --tid 1 --name {key} --value {value}")
        if chap:
            self.admin(f"--op new --mode account --user {chap[0]} --password {chap[1]}")
            self.admin(f"--op bind --mode account --tid 1 --user {chap[0]}")
        if mutual:
            self.admin(f"--op new --mode account --user {mutual[0]} --password {mutual[1]}")
            self.admin(f"--op bind --mode account --tid 1 --user {mutual[0]} --outgoing")
        self.admin("--op bind --mode target --tid 1 -I ALL")

    def admin(self, line):
        run("tgtadm", "-C", self.control, "--lld", "iscsi", *line.split())

    def url(self, name="disk"):
        return f"iscsi://{self.host}:{self.port}/iqn.2026-01.test:{name}/1"

    def disk(self, name="disk"):
        return self.file

    def close(self):
        self.process.kill()  # it ignores SIGTERM while it has targets
        self.process.wait()


class Proxy:
    """Stands between; `meddle(data, towards_target, total)` returns bytes to pass on, or None to cut the connection."""

    def __init__(self, port, meddle):
        self.target = port
        self.meddle = meddle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, name="disk"):
        return f"iscsi://127.0.0.1:{self.port}/iqn.2026-01.test:{name}/1"

    def accept(self):
        while True:
            try:
                ours, _ = self.listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.connections += 1
            for source, sink, towards in [(ours, theirs, True), (theirs, ours, False)]:
                threading.Thread(target=self.pump, args=(source, sink, towards, self.connections), daemon=True).start()

    def pump(self, source, sink, towards, connection):
        total = 0
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                passed = self.meddle(data, towards, total, connection)
                total += len(data)
                if passed is None:
                    break
                sink.sendall(passed)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


# ---- what is asked of a run ----


def garbage(file, size=DISK_BYTES):
    with open(file, "wb") as out:
        out.write(b"\xa5garbage" * (size // 8))


def stream(image, *targets, options=(), env=None, timeout=120, format=None):
    """Runs the tool; returns its exit status and JSON."""
    done = subprocess.run(
        [TOOL, "--json", "--format", format or format_of(image), *options, path(image) if "/" not in image else image, *targets],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})},
    )
    if done.returncode < 0 or "Sanitizer" in done.stderr or "runtime error" in done.stderr:
        raise AssertionError(f"ended with {done.returncode}: {done.stderr[-4000:]}")
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


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


def each_rule(title, table, function):
    for name, value in table.items():
        rules.append((title.format(name), lambda value=value: function(value)))


# ---- formats and policies ----

IMAGES = ["raw", "raw-patches", *QCOW2, "qcow2-patches"]


def with_target(test, **options):
    target = TestTarget(**options)
    try:
        return test(target)
    finally:
        target.close()


for image in IMAGES:
    for block_size in (512, 4096):
        @rule(f"{image} onto {block_size}-byte sectors: zeroes written, discarded, and left out on a blank disk")
        def _(image=image, block_size=block_size):
            target = TestTarget(block_size=block_size, unmap="yes", lbprz="yes", granularity=8)
            try:
                expect_written(image, target, ["--policy", "write-zeroes"])
                expect_written(image, target, ["--policy", "discard"])
                expect_written(image, target, ["--policy", "disk-is-blank"], blank=True)
            finally:
                target.close()

for image in PACKED:
    @rule(f"{image}: zeroes written, and left out on a blank disk")
    def _(image=image):
        def test(target):
            expect_written(image, target, ["--policy", "write-zeroes"])
            if image.endswith("-askew") or "-" not in image:
                expect_written(image, target, ["--policy", "disk-is-blank"], blank=True)
        with_target(test, block_size=4096 if "-" in image else 512)

for image in ("raw", "qcow2-zlib", "qcow2-patches", "gzip", "xz-large-blocks"):
    @rule(f"{image} with header and data digests and read back")
    def _(image=image):
        def test(target):
            result = expect_written(image, target, ["--header-digest", "--data-digest", "--verify", "read-back"])
            assert result["digest"].startswith("crc32c:"), result
        with_target(test, digests="yes", block_size=4096)

ZERO_DEVICES = {
    "neither UNMAP nor WRITE SAME": dict(write_same="no"),
    "WRITE SAME only": dict(),
    "UNMAP with granules of 1 MiB": dict(unmap="yes", lbprz="yes", granularity=2048),
    "UNMAP without a promise of zeroes": dict(unmap="yes"),
    "WRITE SAME with UNMAP": dict(write_same_unmap="yes", lbprz="yes"),
    "UNMAP without WRITE SAME": dict(unmap="yes", lbprz="yes", granularity=16, write_same="no"),
}


def zero_device(options):
    def test(target):
        expect_written("raw", target, ["--policy", "discard"])
        expect_written("qcow2-zstd", target, ["--policy", "write-zeroes"])
    with_target(test, **options)


each_rule("holes on a disk that knows {}", ZERO_DEVICES, zero_device)

PARAMETERS = {
    f"{'R2T first' if r2t == 'yes' else 'unsolicited data'}, {'immediate' if immediate == 'yes' else 'no immediate'} data, {r2ts} R2Ts, segments of {segment}":
        dict(initial_r2t=r2t, immediate_data=immediate, max_r2t=r2ts, segment=segment, first_burst=first, max_burst=burst, window=window)
    for r2t in ("yes", "no") for immediate in ("yes", "no")
    for r2ts, segment, first, burst, window in ((1, 8192, 65536, 262144, 64), (4, 512, 512, 4096, 3), (8, 262144, 262144, 65536, 1))
}


def parameters(options):
    def test(target):
        expect_written("raw", target)
        expect_written("qcow2-zlib", target)
    with_target(test, **options)


each_rule("session with {}", PARAMETERS, parameters)


@rule("a disk that takes at most 32 KiB a command")
def _():
    with_target(lambda target: expect_written("qcow2-2M-zlib", target, ["--verify", "read-back"]), max_transfer=64)


# ---- tgtd ----

for label, options in (("with its defaults", {}), ("with raised parameters", dict(raised=True)), ("thinly provisioned", dict(thin=True))):
    @rule(f"tgtd {label}: raw, zlib and zstd images, zeroed and discarded, read back")
    def _(options=options):
        target = Tgtd(**options)
        try:
            for image in ("raw", "qcow2-zlib", "qcow2-zstd"):
                expect_written(image, target, ["--policy", "discard"])
                expect_written(image, target, ["--policy", "write-zeroes", "--verify", "read-back"])
        finally:
            target.close()


MATRIX_BYTES = 2 * MIB + 512  # small: there are many runs
DIGESTS = {"no digests": [], "header digests": ["--header-digest"], "data digests": ["--data-digest"], "both digests": ["--header-digest", "--data-digest"]}


def make_small(image):
    """The beginning of the raw image, which has data, zeroes and holes, in that format."""
    small = path("raw-small")
    if not os.path.exists(small):
        with open(path("raw"), "rb") as source, open(small, "wb") as out:
            out.write(source.read(MATRIX_BYTES))
    if image == "raw":
        return small
    run("qemu-img", "convert", "-O", "qcow2", *QCOW2[image], small, path(image + "-small"))
    return path(image + "-small")


def write_every_way(image, targets, login=(), env=None):
    """Every policy and digest, onto all targets at once."""
    file = make_small(image)
    with open(path("raw-small"), "rb") as source:
        wanted = source.read()
    for policy in ("write-zeroes", "discard", "disk-is-blank"):
        for words, options in DIGESTS.items():
            for target in targets:
                with open(target.file, "r+b") as disk:
                    disk.write(bytes(3 * MIB) if policy == "disk-is-blank" else b"\xa5" * (3 * MIB))
            status, answer, errors = stream(file, *[target.url() for target in targets], options=["--policy", policy, *options, *login], format=format_of(image), env=env)
            assert status == 0, f"{policy}, {words}: {errors} {answer}"
            for target in targets:
                with open(target.file, "rb") as disk:
                    assert disk.read(MATRIX_BYTES) == wanted, f"{policy}, {words}: the disk differs"


def matrix(image):
    targets = [Tgtd(block_size=block_size, size=3 * MIB, digests=True) for block_size in (512, 4096)]
    try:
        write_every_way(image, targets)
    finally:
        for target in targets:
            target.close()


each_rule("tgtd, every policy and digest on both sector sizes: {}", {image: image for image in ["raw", *QCOW2]}, matrix)


# ---- LIO in a machine ----

RAMDISK = os.environ.get("IRONRACK_TEST_RAMDISK")
lio_machine = None


class LioDisk:
    """A disk of the machine, published by the ramdisk's agent; one at a time."""

    def __init__(self, device, file):
        self.device, self.file = device, file
        self.iqn = "iqn.2026-01.org.ironrack:matrix"

    def url(self):
        return f"iscsi://127.0.0.1:{lio_machine.iscsi_port}/{self.iqn}/1"

    def publish(self, token, secret):
        chap = {"username": "rack", "password": secret}
        lio_machine.succeed("iscsi.start_iscsi_target", {"iqn": self.iqn, "chap": chap, "wipe_disk_metadata": False, "root_device": {"name": self.device}}, token)


def lio_matrix(row):
    global lio_machine
    image, device = row
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent"))
    from fake_ironic import TOKEN
    from machine_test import GIB, QemuMachine
    if lio_machine is None:
        big = path("lio-4096")
        with open(big, "wb") as file:
            file.truncate(5 * GIB)
        extra = ["-drive", f"if=none,id=big,file={big},format=raw,discard=unmap,cache=unsafe", "-device", "virtio-blk-pci,drive=big,serial=BIG,logical_block_size=4096,physical_block_size=4096"]
        lio_machine = QemuMachine(os.path.join(RAMDISK, "kernel"), [os.path.join(RAMDISK, "initrd")], "bios", extra)
        children.append(lio_machine.process)
        lio_machine.wait()
    disk = LioDisk(device, lio_machine.disk["virtio"] if device == "/dev/vda" else path("lio-4096"))
    disk.publish(TOKEN, "secretsecret")
    write_every_way(image, [disk], ["--chap-user", "rack"], {"IRONRACK_CHAP_SECRET": "secretsecret"})


if RAMDISK:
    for device, size in (("/dev/vda", 512), ("/dev/vdb", 4096)):
        each_rule(f"LIO, every policy and digest, sectors of {size} bytes: {{}}", {image: (image, device) for image in ["raw", *QCOW2]}, lio_matrix)


@rule("tgtd with CHAP: the right secret gets in, a wrong one and none are refused")
def _():
    target = Tgtd(chap=("rack", "secretsecret"))
    try:
        expect_written("raw", target, ["--chap-user", "rack"], env={"IRONRACK_CHAP_SECRET": "secretsecret"})
        expect_fault("iscsi.authentication-failed", "raw", target, ["--chap-user", "rack"], env={"IRONRACK_CHAP_SECRET": "wrongwrongwrong"}, untouched=True)
        expect_fault("iscsi.authentication-failed", "raw", target, untouched=True)
    finally:
        target.close()


@rule("tgtd with mutual CHAP: a target that knows its secret is taken, another is refused")
def _():
    target = Tgtd(chap=("rack", "secretsecret"), mutual=("disk", "othersecret12"))
    try:
        login = ["--chap-user", "rack", "--mutual-user", "disk"]
        expect_written("raw", target, login, env={"IRONRACK_CHAP_SECRET": "secretsecret", "IRONRACK_MUTUAL_SECRET": "othersecret12"})
        expect_fault("iscsi.target-not-authentic", "raw", target, login, env={"IRONRACK_CHAP_SECRET": "secretsecret", "IRONRACK_MUTUAL_SECRET": "wrongwrongwrong"}, untouched=True)
    finally:
        target.close()


# ---- logins ----

for number, name in (("5", "MD5"), ("6", "SHA-1"), ("7", "SHA-256"), ("8", "SHA3-256")):
    @rule(f"CHAP with {name}, one-way and mutual")
    def _(number=number):
        def test(target):
            secret = {"IRONRACK_CHAP_SECRET": "secretsecret", "IRONRACK_MUTUAL_SECRET": "othersecret12"}
            expect_written("raw", target, ["--chap-user", "rack"], env=secret)
            expect_written("raw", target, ["--chap-user", "rack", "--mutual-user", "disk"], env=secret)
            expect_fault("iscsi.authentication-failed", "raw", target, ["--chap-user", "rack"], env={"IRONRACK_CHAP_SECRET": "wrongwrongwrong"}, untouched=True)
        with_target(test, chap_user="rack", chap_secret="secretsecret", mutual_user="disk", mutual_secret="othersecret12", chap_algorithm=number)


@rule("a login that is redirected ends up where it was sent; one that is redirected for ever is given up")
def _():
    def test(target):
        detour = TestTarget(redirect=f"127.0.0.1:{target.port},1")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        circle = TestTarget(port=port, redirect=f"127.0.0.1:{port},1")
        try:
            garbage(target.disk())
            status, _, errors = stream("raw", detour.url())
            assert status == 0, errors
            expect_same("raw", target.disk())
            expect_fault("iscsi.redirect-loop", "raw", circle)
        finally:
            detour.close()
            circle.close()
    with_target(test)


# ---- targets that err ----

RECOVERED = {
    "BUSY": ["busy@3+5"],
    "TASK SET FULL": ["full@4+6"],
    "TASK ABORTED": ["aborted@2+9"],
    "unit attentions": ["check:6/29/0@3+8", "check:6/3f/3@5"],
    "an aborted command": ["check:b/0/0@6"],
    "a target failure": ["response@7"],
    "a connection cut now and then": ["drop@5+23"],
    "a Reject": ["reject@9"],
    "a request to log out": ["async:1@6"],
    "an announcement that the connection is dropped": ["async:2@6"],
    "an announcement that all connections are dropped": ["async:3@9"],
    "a request to negotiate": ["async:4@3"],
    "an event of another kind": ["async:0@2", "async:255@4"],
    "pings": ["ping@1+3"],
    "recovered errors": ["check:1/0/0@0"],
}


def recovered(faults):
    def test(target):
        expect_written("raw", target)
        expect_written("qcow2-zlib", target)
    with_target(test, fault=faults)


each_rule("{}: overcome, and every byte arrives", RECOVERED, recovered)

FATAL = {
    "a medium error": ("check:3/11/0@5", "scsi.medium-error"),
    "a hardware error": ("check:4/44/0@5", "scsi.hardware-error"),
    "a full disk": ("check:7/27/7@5", "scsi.disk-full"),
    "write protection found late": ("check:7/27/0@5", "scsi.write-protected"),
    "a reservation conflict": ("reserved@2", "scsi.reservation-conflict"),
    "a short write": ("short@2", "scsi.short-write"),
    "a command that is aborted again and again": ("check:b/0/0@1+1", "scsi.aborted"),
}


def fatal(row):
    fault, code = row
    def test(target):
        found = expect_fault(code, "raw", target)
        if fault.startswith("check"):
            assert found["detail"]["sense_key"] == int(fault[6], 16) and "lba" in found["detail"], found
    with_target(test, fault=[fault])


each_rule("{} fails the target with its code", FATAL, fatal)


@rule("a disk that becomes ready is waited for")
def _():
    with_target(lambda target: expect_written("raw", target), not_ready=2)


@rule("a read-only disk, and one that is too small, fail before the first byte")
def _():
    with_target(lambda target: expect_fault("scsi.write-protected", "raw", target, untouched=True), read_only="yes")
    with_target(lambda target: expect_fault("disk.too-small", "raw", target, untouched=True), size=IMAGE_BYTES - 512)
    with_target(lambda target: expect_fault("disk.too-small", "qcow2-zlib", target, untouched=True), size=8 * MIB)


@rule("a disk that returns other bytes than were written fails the read-back")
def _():
    def test(target):
        fault = expect_fault("verify.mismatch", "raw", target, ["--verify", "read-back", "--policy", "disk-is-blank"])
        assert fault["detail"]["length"] > 0, fault
    with_target(test, flip_read="yes", max_transfer=16)


@rule("an address where nobody listens, and a target that says nothing, end as faults")
def _():
    status, answer, _ = stream("raw", "iscsi://127.0.0.1:1/iqn.2026-01.test:disk/1")
    assert status == 1 and answer["targets"][0]["fault"]["code"] == "iscsi.connection-lost", answer
    assert answer["targets"][0]["fault"]["kind"] == "unreachable"


@rule("a command that is never answered is aborted and given again; where that is refused, over a new connection")
def _():
    for refuse in ("no", "yes"):
        # The others go on: one that hangs does not hold up those behind it.
        with_target(lambda target: expect_written("raw", target, ["--command-timeout", "1"]), fault=["stall@5", "stall@9"], refuse_abort=refuse)


@rule("portals are asked for their targets, also over IPv6 and in several pieces")
def _():
    for address in ("127.0.0.1", "::1"):
        target = TestTarget(address=address)
        tgtd = Tgtd(address=address, chap=("rack", "secretsecret"))
        try:
            listed = run(TOOL, "discover", f"{target.host}:{target.port}").stdout.decode()
            assert listed == "iqn.2026-01.test:one 127.0.0.1:3260 [::1]:3261\niqn.2026-01.test:two\n", listed
            listed = run(TOOL, "discover", f"{tgtd.host}:{tgtd.port}").stdout.decode()
            assert listed == f"iqn.2026-01.test:disk {tgtd.host}:{tgtd.port}\n", listed
        finally:
            target.close()
            tgtd.close()
    nobody = subprocess.run([TOOL, "discover", "127.0.0.1:1"], capture_output=True, text=True)
    assert nobody.returncode == 1 and "iscsi.connection-lost" in nobody.stderr, nobody


@rule("targets at IPv6 addresses are written")
def _():
    for make in (TestTarget, Tgtd):
        target = make(address="::1")
        try:
            expect_written("qcow2-zlib", target, ["--verify", "read-back"])
        finally:
            target.close()


# ---- going on where a run was stopped ----


def checkpointed(file):
    """Bytes that the newest checkpoint says are safe; 0 while there is none."""
    try:
        with open(file) as text:
            rows = [line.split() for line in text]
    except FileNotFoundError:
        return 0
    return sum(int(row[2]) - int(row[1]) for row in rows if row and row[0] == "extent")


def interrupted(image, target, file, options, least, rng):
    """Runs the tool and kills it at a random moment after `least` bytes are safe; True when it was not done before."""
    process = subprocess.Popen([TOOL, "--quiet", "--format", format_of(image), "--checkpoint", file, *options, path(image), target.url()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children.append(process)
    while process.poll() is None and checkpointed(file) < least:
        time.sleep(0.01)
    time.sleep(rng.random() * 0.3)
    process.kill()
    return process.wait() == -signal.SIGKILL


for image in ("raw", "qcow2-zlib"):
    @rule(f"{image}: a run killed again and again goes on where it was, though its target loses each time what was not synchronized")
    def _(image=image):
        rng = random.Random(SEED + 6)
        file = path(f"checkpoint-{image}")
        slow = dict(cache="yes", delay_us=20000, window=4, max_transfer=128)
        target = TestTarget(**slow)
        try:
            garbage(target.disk())
            safe = 0
            kills = 0
            while kills < 3 and interrupted(image, target, file, [], safe + 1, rng):
                kills += 1
                safe = checkpointed(file)
                target.close()  # with its cache
                target = TestTarget(store=target.store, **slow)
            target.close()
            target = TestTarget(store=target.store, cache="yes")
            status, answer, errors = stream(image, target.url(), options=["--checkpoint", file])
            assert status == 0, errors
            target.close()
            expect_same(image, target.disk())
            result = answer["targets"][0]
            assert kills > 0 and result["resumed"] >= safe > 0 and result["resume_refused"] == "", (kills, safe, result)
            assert result["bytes"] + result["skipped"] + result["resumed"] == IMAGE_BYTES, result
        finally:
            target.close()


@rule("a checkpoint of another image, disk or content, or one that is damaged, is not followed: every byte arrives")
def _():
    rng = random.Random(SEED + 7)
    slow = dict(delay_us=20000, window=4, max_transfer=128)
    source = TestTarget(**slow)
    file = path("checkpoint")
    try:
        assert interrupted("raw", source, file, [], 1, rng)
    finally:
        source.close()
    with open(file) as text:
        kept = text.read()

    def go_on(why, image="raw", text=kept, options=(), **target_options):
        def test(target):
            with open(file, "w") as out:
                out.write(text)
            garbage(target.disk())
            status, answer, errors = stream(image, target.url(), options=["--checkpoint", file, *options])
            assert status == 0, errors
            result = answer["targets"][0]
            assert result["resume_refused"] == why and result["resumed"] == 0, (why, result)
            expect_same(image, target.disk())
        with_target(test, **target_options)

    go_on("content")
    go_on("content", options=["--verify", "read-back"])
    go_on("disk", size=DISK_BYTES + MIB)
    go_on("image", image="qcow2-zlib")
    go_on("image", options=["--policy", "discard"])
    go_on("malformed", text=kept.replace("extent 0 ", "extent 1 "))
    go_on("malformed", text=kept + f"extent 0 {IMAGE_BYTES + 4096}\n")
    go_on("", text=kept[: len(kept) // 2].rsplit("\n", 1)[0] + "\nnonsense\n")
    os.utime(path("raw"), (1, 1))
    go_on("image")


@rule("a checkpoint on tgtd: a killed run goes on, and the read-back proves what the first one wrote")
def _():
    rng = random.Random(SEED + 8)
    target = Tgtd()
    proxy = Proxy(target.port, lambda data, towards, total, connection: time.sleep(0.03) or data)
    file = path("checkpoint-tgtd")
    try:
        for options in ([], ["--verify", "read-back"]):
            garbage(target.disk())
            if os.path.exists(file):
                os.unlink(file)
            assert interrupted("qcow2-zlib", proxy, file, options, 1, rng)
            status, answer, errors = stream("qcow2-zlib", target.url(), options=["--checkpoint", file, *options])
            assert status == 0 and answer["targets"][0]["resumed"] > 0, (errors, answer)
            expect_same("qcow2-zlib", target.disk())
    finally:
        proxy.close()
        target.close()


# ---- wires that err ----


def through(meddle, image, options=(), **target_options):
    target = TestTarget(**target_options)
    proxy = Proxy(target.port, meddle)
    try:
        garbage(target.disk())
        status, answer, errors = stream(image, proxy.url(), options=options)
        assert status == 0, f"{errors} {answer}"
        expect_same(image, target.disk())
        return proxy.connections
    finally:
        proxy.close()
        target.close()


@rule("a wire that is cut at random places: the stream reconnects and every byte arrives")
def _():
    rng = random.Random(SEED + 2)
    limits = [rng.randrange(100, 3 * MIB) for _ in range(6)]
    def meddle(data, towards, total, connection):
        limit = limits[connection - 1] if towards and connection <= len(limits) else None
        if limit is not None and total + len(data) > limit:
            return None
        return data
    for image in ("raw", "qcow2-zstd"):
        connections = through(meddle, image)
        assert connections > 1, "the wire was never cut"


@rule("a wire that flips bits is found out by digests, and every byte arrives")
def _():
    def meddle(data, towards, total, connection):
        if connection <= 3 and total > 100000 * connection and towards:
            data = bytearray(data)
            data[len(data) // 2] ^= 0x10
        return bytes(data)
    connections = through(meddle, "raw", ["--header-digest", "--data-digest"], digests="yes")
    assert connections > 1, "no flipped bit was noticed"


@rule("a wire that carries a few bytes at a time")
def _():
    rng = random.Random(SEED + 3)
    def meddle(data, towards, total, connection):
        time.sleep(rng.random() * 0.0005)
        return data
    through(meddle, "qcow2-zlib")


# ---- images that err ----


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
            changed[len(whole) // 2] ^= 0x20
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


# ---- several targets, and stopping ----


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


@rule("a cancel ends the stream within a second, also when the target has fallen silent")
def _():
    target = TestTarget(fault=["silent@5"])
    try:
        process = subprocess.Popen([TOOL, "--json", path("raw"), target.url()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(1.0)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
        took = time.monotonic() - begun
        assert process.returncode == 130 and json.loads(output)["fault"]["kind"] == "cancelled"
        assert took < 1.0, f"it took {took:.2f} s"
    finally:
        target.close()


def main():
    print(f"seed {SEED} (IRONRACK_TEST_SEED repeats it)", flush=True)
    make_images()
    passed = failed = 0
    for title, function in rules:
        if WORDS and not any(word in title for word in WORDS):
            continue
        begun = time.monotonic()
        try:
            function()
            passed += 1
            print(f"ok {title} ({time.monotonic() - begun:.1f} s)", flush=True)
        except subprocess.CalledProcessError as error:
            failed += 1
            print(f"not ok {title}: {error} {error.stderr.decode()}", flush=True)
        except (AssertionError, KeyError, OSError, ValueError, TypeError, subprocess.TimeoutExpired) as error:
            failed += 1
            print(f"not ok {title}: {type(error).__name__} {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    status = main()
finally:
    if lio_machine is not None:
        lio_machine.close()
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    shutil.rmtree(directory, ignore_errors=True)
sys.exit(status)
