"""Images of every format, all of one raw disk, and what a disk must be after each."""

import gzip
import random
import struct
import tempfile

from .setting import IMAGE_BYTES, MIB, SEED, directory, path, run


# Rules cut wires and flip bits after the first mebibyte at the latest.
LEAST_DATA = 2 * MIB


def lay_out(rng):
    """Where the disk's patches lie: (at, length, kind), at odd offsets with gaps of all sizes between them."""
    patches = []
    at = 0
    while at < IMAGE_BYTES:
        length = min(rng.choice([1, 511, 4096, 5000, 70000, 300000, 900000]), IMAGE_BYTES - at)
        patches.append((at, length, rng.choices(["noise", "pattern", "zeroes"], [5, 3, 2])[0]))
        at += length + rng.choice([0, 100, 4096, 65536, 200000, 1500000])
    return patches


def make_raw():
    """Data, runs of zeroes that are stored, and holes."""
    rng = random.Random(SEED)
    patches = []
    while sum(length for _, length, kind in patches if kind != "zeroes") < LEAST_DATA:
        patches = lay_out(rng)
    with open(path("raw"), "wb") as file:
        for at, length, kind in patches:
            file.seek(at)
            file.write(rng.randbytes(length) if kind == "noise" else (b"ironrack" * (length // 8 + 1))[:length] if kind == "pattern" else bytes(length))
        file.truncate(IMAGE_BYTES)
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


IMAGES = ["raw", "raw-patches", *QCOW2, "qcow2-patches"]

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
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        file.write(data)
        file.flush()
        return run("zstd", "-q", "-c", file.name).stdout


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
