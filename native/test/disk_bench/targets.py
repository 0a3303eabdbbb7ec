"""iSCSI targets: our own, which errs on request, and tgtd."""

import itertools
import os
import random
import socket
import subprocess
import tempfile
import threading
import time

from .setting import DISK_BYTES, TEST_TARGET, directory, path, run, spawn
from .tool import garbage

# A port that was found free is taken before anybody looks for the next.
finding_port = threading.Lock()
control_ports = itertools.count(random.randrange(1000, 20000))


def free_port(address="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class TestTarget:
    def __init__(self, **options):
        self.store = options.get("store") or tempfile.mkdtemp(dir=directory)
        self.host = "[::1]" if options.get("address") == "::1" else "127.0.0.1"
        options = {"size": DISK_BYTES, "store": self.store, **options}
        arguments = []
        for key, value in options.items():
            for each in value if isinstance(value, list) else [value]:
                arguments.append(f"--{key.replace('_', '-')}={each}")
        with finding_port:
            self.process = spawn(TEST_TARGET, *arguments, stdout=subprocess.PIPE, text=True)
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
        self.control = str(next(control_ports))
        with finding_port:
            self.port = free_port(address)
            self.process = spawn("tgtd", "-f", "--iscsi", f"portal={self.host}:{self.port}", "-C", self.control, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while subprocess.run(["tgtadm", "-C", self.control, "--op", "show", "--mode", "sys"], capture_output=True).returncode != 0:
                assert self.process.poll() is None, "tgtd has ended"
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


def with_target(test, **options):
    target = TestTarget(**options)
    try:
        return test(target)
    finally:
        target.close()
