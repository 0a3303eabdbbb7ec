#!/usr/bin/env python3
"""A wire that loses, doubles and reorders frames: a TAP in the rack, one at the site, and this program between them.

    bad-wire.py '{"seed": 7, "lose": 20, "double": 10, "late": 20}'

Percentages, each way. A late frame is overtaken by those of the next 25 ms. Only IPv4 suffers: hosts give up a neighbour whose
ARP is lost three times, and that is not what is tested. Joins the TAPs to the bridges br0 and br1, says "ready", and after
SIGUSR1 what it did, one line of JSON each.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
IPV4, UDP = 0x0800, 17
LATEST = 0.025


def tap(name, bridge):
    """A TAP in the present network namespace; without offloads, so that the kernel cuts and sums what it gives us."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", name, "master", bridge, "up"], check=True)
    return fd


def enter_site():
    with open("/run/netns/site", "rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def is_transfer(frame):
    """Whether it carries UDP from a port of our transfers, not from a service."""
    return frame[23] == UDP and struct.unpack_from("!H", frame, 14 + (frame[14] & 15) * 4)[0] > 1023


def main():
    options = json.loads(sys.argv[1])
    chance = random.Random(options["seed"])
    counts = {"lost": 0, "doubled": 0, "late": 0, "transfers": 0}
    rack = tap("near", "br0")
    enter_site()
    site = tap("far", "br1")
    other = {rack: site, site: rack}
    waiting = []  # (when, number, to, frame)
    signal.signal(signal.SIGUSR1, lambda *_: print(json.dumps(counts), flush=True))
    print(json.dumps({"event": "ready", **options}), flush=True)

    def happens(what):
        return chance.random() * 100 < options[what]

    def carry(frame, to):
        if struct.unpack_from("!H", frame, 12)[0] != IPV4:
            os.write(to, frame)
            return
        if to == site and is_transfer(frame):
            counts["transfers"] += 1
        if happens("lose"):
            counts["lost"] += 1
            return
        copies = 2 if happens("double") else 1
        counts["doubled"] += copies - 1
        for _ in range(copies):
            if happens("late"):
                counts["late"] += 1
                heapq.heappush(waiting, (time.monotonic() + chance.uniform(0, LATEST), chance.random(), to, frame))
            else:
                os.write(to, frame)

    while True:
        patience = None if not waiting else max(0, waiting[0][0] - time.monotonic())
        for fd in select.select([rack, site], [], [], patience)[0]:
            try:
                carry(os.read(fd, 65536), other[fd])
            except BlockingIOError:
                pass
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, to, frame = heapq.heappop(waiting)
            os.write(to, frame)


main()
