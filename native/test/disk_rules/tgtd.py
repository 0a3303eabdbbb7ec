"""tgtd, as it comes and with its parameters raised; its logins."""

from disk_bench.setting import rule
from disk_bench.targets import Tgtd
from disk_bench.tool import expect_fault, expect_written


for label, options in (("with its defaults", {}), ("with raised parameters", dict(raised=True)), ("thinly provisioned", dict(thin=True))):
    @rule(f"tgtd {label}: raw, zlib and zstd images, zeroed and discarded, read back")
    def _(options=options):
        target = Tgtd(**options)
        try:
            for image in ("raw", "qcow2-zlib", "qcow2-zstd"):
                expect_written(image, target, ["--policy", "discard"])
                expect_written(image, target, ["--policy", "write-zeroes", "--verify", "read-back"])
        finally:
            target.close()


@rule("tgtd with CHAP: the right secret gets in, a wrong one and none are refused")
def _():
    target = Tgtd(chap=("rack", "secretsecret"))
    try:
        expect_written("raw", target, ["--chap-user", "rack"], env={"IRONRACK_CHAP_SECRET": "secretsecret"})
        expect_fault("iscsi.authentication-failed", "raw", target, ["--chap-user", "rack"], env={"IRONRACK_CHAP_SECRET": "wrongwrongwrong"}, untouched=True)
        expect_fault("iscsi.authentication-failed", "raw", target, untouched=True)
    finally:
        target.close()


@rule("tgtd with mutual CHAP: a target that knows its secret is taken, another is refused")
def _():
    target = Tgtd(chap=("rack", "secretsecret"), mutual=("disk", "othersecret12"))
    try:
        login = ["--chap-user", "rack", "--mutual-user", "disk"]
        expect_written("raw", target, login, env={"IRONRACK_CHAP_SECRET": "secretsecret", "IRONRACK_MUTUAL_SECRET": "othersecret12"})
        expect_fault("iscsi.target-not-authentic", "raw", target, login, env={"IRONRACK_CHAP_SECRET": "secretsecret", "IRONRACK_MUTUAL_SECRET": "wrongwrongwrong"}, untouched=True)
    finally:
        target.close()
