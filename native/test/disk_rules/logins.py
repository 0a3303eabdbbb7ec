"""CHAP, redirection, discovery, IPv6."""

import subprocess

from disk_bench.setting import TOOL, rule, run
from disk_bench.targets import Tgtd, TestTarget, free_port, with_target
from disk_bench.tool import expect_fault, expect_same, expect_written, garbage, stream


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
        port = free_port()
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
