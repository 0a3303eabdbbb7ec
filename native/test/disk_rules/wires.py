"""Wires that err."""

import random
import time

from disk_bench.setting import MIB, SEED, rule
from disk_bench.proxy import through
from disk_bench.tool import stream


@rule("a wire that is cut at random places: the stream reconnects and every byte arrives")
def _():
    rng = random.Random(SEED + 2)
    # The first before what the smaller image has to send is through.
    limits = [rng.randrange(100, MIB), *(rng.randrange(100, 3 * MIB) for _ in range(5))]
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
