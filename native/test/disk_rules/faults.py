"""Targets that err."""

from disk_bench.setting import IMAGE_BYTES, MIB, each_rule, rule
from disk_bench.targets import with_target
from disk_bench.tool import expect_fault, expect_written, stream

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
