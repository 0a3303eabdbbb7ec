"""Every format, hole policy and session on the test target."""

from disk_bench.setting import each_rule, rule
from disk_bench.images import IMAGES, PACKED
from disk_bench.targets import TestTarget, with_target
from disk_bench.tool import expect_written


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
