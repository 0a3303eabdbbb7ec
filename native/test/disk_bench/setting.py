"""What all rules share: the programs, a directory of their own, the seed, and the rules themselves."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading

TOOL, TEST_TARGET = sys.argv[1], sys.argv[2]
WORDS = sys.argv[3:]
SEED = int(os.environ.get("IRONRACK_TEST_SEED", random.randrange(1 << 32)))
MIB = 1 << 20
IMAGE_BYTES = 12 * MIB + 512  # not a multiple of 4096
DISK_BYTES = 16 * MIB

directory = tempfile.mkdtemp(prefix="ironrack-disks.")
closers = []  # called at the end
rules = []

children = []  # processes that must not outlive us
ending = False
starting = threading.Lock()


class Rule:
    """`alone`: no other runs beside it, because it watches the clock or has something to itself."""

    def __init__(self, title, run, alone):
        self.title, self.run, self.alone = title, run, alone


def rule(title, alone=False):
    def register(function):
        rules.append(Rule(title, function, alone))
        return function

    return register


def each_rule(title, table, function, alone=False):
    for name, value in table.items():
        rules.append(Rule(title.format(name), lambda value=value: function(value), alone))


def spawn(*arguments, **options):
    """A process that ends with us, at the latest."""
    with starting:
        if ending:
            raise InterruptedError("the run is being ended")
        process = subprocess.Popen([str(a) for a in arguments], **options)
        children.append(process)
    return process


def end():
    """Whatever still runs is killed, and nothing more is started."""
    global ending
    with starting:
        ending = True
    for close in closers:
        close()
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    shutil.rmtree(directory, ignore_errors=True)


def path(name):
    return os.path.join(directory, name)


def run(*arguments, **options):
    return subprocess.run([str(a) for a in arguments], check=True, capture_output=True, **options)
