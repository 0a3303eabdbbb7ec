"""Every format, policy, digest and sector size, on tgtd and on the kernel's target (LIO) in a machine."""

import os
import sys
import threading

from disk_bench.setting import MIB, children, closers, each_rule, path, run
from disk_bench.images import PACKED, QCOW2, format_of
from disk_bench.targets import Tgtd
from disk_bench.tool import stream

MATRIX_BYTES = 2 * MIB + 512  # small: there are many runs
DIGESTS = {"no digests": [], "header digests": ["--header-digest"], "data digests": ["--data-digest"], "both digests": ["--header-digest", "--data-digest"]}


making = threading.Lock()


def make_small(image):
    """The beginning of the raw image, which has data, zeroes and holes, in that format."""
    with making:
        raw, small = path("raw-small"), path(image + "-small")
        if not os.path.exists(raw):
            with open(path("raw"), "rb") as source, open(raw, "wb") as out:
                out.write(source.read(MATRIX_BYTES))
        if os.path.exists(small):
            return small
        if image in PACKED:
            with open(raw, "rb") as source, open(small, "wb") as out:
                out.write(PACKED[image](source.read()))
        else:
            run("qemu-img", "convert", "-O", "qcow2", *QCOW2[image], raw, small)
        return small


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
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "agent"))
    from fake_ironic import TOKEN
    from machine_test import GIB, QemuMachine
    if lio_machine is None:
        big = path("lio-4096")
        with open(big, "wb") as file:
            file.truncate(5 * GIB)
        extra = ["-drive", f"if=none,id=big,file={big},format=raw,discard=unmap,cache=unsafe", "-device", "virtio-blk-pci,drive=big,serial=BIG,logical_block_size=4096,physical_block_size=4096"]
        lio_machine = QemuMachine(os.path.join(RAMDISK, "kernel"), [os.path.join(RAMDISK, "initrd")], "bios", extra)
        children.append(lio_machine.process)
        closers.append(lio_machine.close)
        lio_machine.wait()
    disk = LioDisk(device, lio_machine.disk["virtio"] if device == "/dev/vda" else path("lio-4096"))
    disk.publish(TOKEN, "secretsecret")
    write_every_way(image, [disk], ["--chap-user", "rack"], {"IRONRACK_CHAP_SECRET": "secretsecret"})


if RAMDISK:
    for device, size in (("/dev/vda", 512), ("/dev/vdb", 4096)):
        each_rule(f"LIO, every policy and digest, sectors of {size} bytes: {{}}", {image: (image, device) for image in ["raw", *QCOW2, "gzip", "zstd-frames", "xz-blocks", "bzip2"]}, lio_matrix, alone=True)
