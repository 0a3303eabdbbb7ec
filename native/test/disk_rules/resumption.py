"""Going on where a run was stopped."""

import os
import random
import shutil
import signal
import subprocess
import time

from disk_bench.setting import DISK_BYTES, IMAGE_BYTES, MIB, SEED, TOOL, path, rule, spawn
from disk_bench.images import format_of
from disk_bench.targets import Tgtd, TestTarget, with_target
from disk_bench.proxy import Proxy
from disk_bench.tool import expect_same, garbage, stream


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
    process = spawn(TOOL, "--quiet", "--format", format_of(image), "--checkpoint", file, *options, path(image), target.url(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
    shutil.copy2(path("raw"), path("raw-aging"))  # its time of change is the rule's own
    try:
        assert interrupted("raw-aging", source, file, [], 1, rng)
    finally:
        source.close()
    with open(file) as text:
        kept = text.read()

    def go_on(why, image="raw-aging", text=kept, options=(), **target_options):
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
    os.utime(path("raw-aging"), (1, 1))
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
