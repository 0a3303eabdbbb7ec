"""Rules of the agent as a process: life_test.py AGENT OUT. The disks are files, the appliance is fake_ironic.py."""

import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_process import GLOBAL, Agent, Machine  # noqa: E402
from fake_ironic import TOKEN, FakeIronic  # noqa: E402

PROGRAM, OUT = sys.argv[1], sys.argv[2]
MIB = 1024 * 1024
RULES = []


def rule(title):
    def add(function):
        RULES.append((title, function))
        return function
    return add


@contextlib.contextmanager
def running(prepare=None, cmdline="", extra=(), ironic=None):
    """A machine, its appliance and its agent, which has sent a heartbeat. The agent must end well at the end."""
    with contextlib.ExitStack() as stack:
        machine = Machine()
        stack.callback(machine.close)
        if prepare:
            prepare(machine)
        fake = ironic or FakeIronic()
        stack.callback(fake.close)
        agent = Agent(PROGRAM, machine, f"ipa-api-url=http://127.0.0.1:{fake.port} BOOTIF=01-52-54-00-00-00-02 ipa-disk-wait-attempts=1 {cmdline}", extra)
        try:
            agent.follow(fake.wait_for("/v1/heartbeat/")[0][4])
            yield agent, fake, machine
        except BaseException:
            print("    agent's log:\n      " + "\n      ".join(agent.log_text().splitlines()[-25:]))
            agent.stop(signal.SIGKILL)
            raise
        status = agent.stop()
        assert status == 0, (status, agent.log_text())
        assert "ERROR" not in agent.log_text() and "runtime error" not in agent.log_text(), agent.log_text()


def sfdisk_json(disk):
    return json.loads(subprocess.check_output(["sfdisk", "-J", disk]))["partitiontable"]


def template(kind):
    return os.path.join(OUT, f"{kind}.img")


def iso(label, size=200 * 1024):
    """A filesystem of that label, as good as cloud-init's for those who look at the label."""
    image = bytearray(random.Random(size).randbytes(size))
    image[32768:32774] = b"\x01CD001"
    image[32808:32840] = label.encode().ljust(32)
    return bytes(image)


def config_drive_step(image):
    return {"step": {"interface": "deploy", "step": "write_configdrive", "priority": 70,
                     "args": {"configdrive": base64.b64encode(gzip.compress(image)).decode()}}, "node": {}, "ports": [], "deploy_version": {}}


# --- life


@rule("looks itself up by every MAC address, the boot interface's first, and heartbeats with callback, token and certificate")
def _():
    with running() as (agent, fake, _):
        _, _, query, headers, _ = fake.of("/v1/lookup")[0]
        assert query["addresses"] == ["52:54:00:00:00:02,52:54:00:00:00:01"], query
        assert headers["X-OpenStack-Ironic-API-Version"] == "1.68", headers
        beat = fake.of("/v1/heartbeat/")[0]
        assert beat[1] == "/v1/heartbeat/1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
        assert beat[4]["agent_token"] == TOKEN and beat[4]["agent_version"].startswith("ironrack-")
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+", beat[4]["callback_url"])
        assert agent.call("GET", "/v1/status")[1]["version"] == beat[4]["agent_version"]
        started = time.monotonic()
        fake.wait_for("/v1/heartbeat/", len(fake.of("/v1/heartbeat/")) + 3)
        assert 0.9 < time.monotonic() - started < 20, "three intervals of 0.3 to 0.6 times 2 s"
        assert TOKEN not in agent.log_text()


@rule("asks for no newer API version than the server has")
def _():
    ironic = FakeIronic()
    ironic.version = "1.62"
    with running(ironic=ironic) as (_, fake, _):
        assert fake.of("/v1/lookup")[0][3]["X-OpenStack-Ironic-API-Version"] == "1.62"


@rule("waits for an appliance that is not there yet, and for one that does not know the machine yet")
def _():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    machine = Machine()
    agent = Agent(PROGRAM, machine, f"ipa-api-url=http://127.0.0.1:{port}")
    try:
        time.sleep(1.5)
        fake = FakeIronic(port)
        fake.lookup_status = 404
        fake.wait_for("/v1/lookup", 2)
        assert agent.process.poll() is None
        fake.lookup_status = 200
        fake.wait_for("/v1/heartbeat/")
        fake.close()
    finally:
        status = agent.stop()
        text = agent.log_text()
        machine.close()
    assert status == 0 and "lookup.failed kind=unreachable" in text and "lookup.failed kind=not-found" in text, text


@rule("posts the inventory before the lookup when the command line names a callback")
def _():
    ironic = FakeIronic()
    def prepare(machine):
        machine.add_disk(5 * 1024 * MIB)
    with running(prepare, f"ipa-inspection-callback-url=http://127.0.0.1:{ironic.port}/v1/continue_inspection", ironic=ironic) as (_, fake, machine):
        order = [one[1] for one in fake.requests]
        assert order.index("/v1/continue_inspection") < order.index("/v1/lookup"), order
        body = fake.of("/v1/continue_inspection")[0][4]
        inventory = body["inventory"]
        assert [one["mac_address"] for one in inventory["interfaces"]] == ["52:54:00:00:00:01", "52:54:00:00:00:02"]
        assert inventory["interfaces"][0]["has_carrier"] is True
        assert inventory["cpu"] | {"architecture": 0} == {"model_name": "Test CPU", "frequency": "2400.0", "count": 2, "architecture": 0, "flags": ["aes", "vmx"], "socket_count": 2}
        assert inventory["memory"]["total"] == 2014264 * 1024
        assert inventory["system_vendor"]["manufacturer"] == "QEMU"
        assert inventory["boot"] == {"current_boot_mode": "bios", "pxe_interface": "52:54:00:00:00:02"}
        assert inventory["disks"][0]["size"] == 5 * 1024 * MIB
        assert body["root_disk"]["name"] == machine.disks[0] and body["boot_interface"] == "01-52-54-00-00-00-02"


@rule("an inventory that nobody wants is offered three times, and life goes on")
def _():
    ironic = FakeIronic()
    ironic.inspection_status = 404
    with running(cmdline=f"ipa-inspection-callback-url=http://127.0.0.1:{ironic.port}/v1/continue_inspection", ironic=ironic) as (_, fake, _):
        assert len(fake.of("/v1/continue_inspection")) == 3


@rule("a heartbeat answered with 409 is repeated after five seconds; with 500 after a growing pause")
def _():
    with running() as (_, fake, _):
        fake.heartbeat_status = 409
        count = len(fake.wait_for("/v1/heartbeat/", len(fake.of("/v1/heartbeat/")) + 1))
        started = time.monotonic()
        fake.wait_for("/v1/heartbeat/", count + 1)
        assert 4.5 < time.monotonic() - started < 20
        fake.heartbeat_status = 500
        count = len(fake.wait_for("/v1/heartbeat/", count + 2))
        fake.heartbeat_status = 202
        fake.wait_for("/v1/heartbeat/", count + 2)


@rule("a heartbeat refused because the appliance lost the token leads to a new lookup, and then only the new token counts")
def _():
    for refusal in (400, 401):
        with running() as (agent, fake, _):
            fresh = "fresh-" + "b" * 40
            fake.token = fresh
            fake.heartbeat_status = refusal
            fake.wait_for("/v1/lookup", 2)
            fake.heartbeat_status = 202
            count = len(fake.of("/v1/heartbeat/"))
            assert fake.wait_for("/v1/heartbeat/", count + 2)[-1][4]["agent_token"] == fresh
            body = {"name": "standby.sync", "params": {}}
            assert agent.call("POST", f"/v1/commands/?agent_token={TOKEN}", body)[0] == 401
            assert agent.call("POST", f"/v1/commands/?agent_token={fresh}", body)[0] == 200


@rule("survives the appliance's absence: the same token and address when it is back")
def _():
    with running() as (agent, fake, machine):
        port = fake.port
        fake.close()
        time.sleep(3)
        back = FakeIronic(port)
        try:
            beat = back.wait_for("/v1/heartbeat/")[0][4]
            assert beat["agent_token"] == TOKEN and beat["callback_url"].endswith(agent.address)
            assert not back.of("/v1/lookup")
        finally:
            back.close()


@rule("an agent that was killed and started again has its token and certificate, though the appliance hides the token")
def _():
    with running() as (agent, fake, machine):
        before = fake.of("/v1/heartbeat/")[0][4]
        agent.process.kill()
        agent.process.wait()
        fake.token = "******"
        count = len(fake.of("/v1/heartbeat/"))
        again = Agent(PROGRAM, machine, f"ipa-api-url=http://127.0.0.1:{fake.port}")
        try:
            after = fake.wait_for("/v1/heartbeat/", count + 1)[-1][4]
            assert after["agent_token"] == TOKEN and after["agent_verify_ca"] == before["agent_verify_ca"]
            assert os.stat(machine.path("run/state")).st_mode & 0o077 == 0
        finally:
            assert again.stop() == 0
        agent.process = again.process


@rule("an agent without a usable token keeps asking and serves nothing")
def _():
    machine, fake = Machine(), FakeIronic()
    fake.token = "******"
    agent = Agent(PROGRAM, machine, f"ipa-api-url=http://127.0.0.1:{fake.port}")
    try:
        fake.wait_for("/v1/lookup", 2)
        assert not fake.of("/v1/heartbeat/") and "lookup.no-token" in agent.log_text()
    finally:
        assert agent.stop() == 0
        fake.close()
        machine.close()


@rule("a token from the command line (virtual media) is used when the appliance hides it")
def _():
    ironic = FakeIronic()
    ironic.token = "******"
    given = "given-" + "c" * 40
    with running(cmdline=f"ipa-agent-token={given}", ironic=ironic) as (agent, fake, _):
        assert fake.of("/v1/heartbeat/")[0][4]["agent_token"] == given and given not in agent.log_text()


# --- command API


@rule("the certificate is for the address in the callback URL, and no older TLS than 1.2 is spoken")
def _():
    with running() as (agent, _, _):
        host, port = agent.address.split(":")
        with socket.create_connection((host, int(port))) as plain, agent.context.wrap_socket(plain, server_hostname=host) as tls:
            assert ("IP Address", "127.0.0.1") in tls.getpeercert()["subjectAltName"]
            assert tls.version() == "TLSv1.3"
        other = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))))
        with socket.create_connection((host, int(port))) as plain:
            try:
                other.wrap_socket(plain, server_hostname="127.0.0.2")
                raise AssertionError("a wrong address was taken")
            except ssl.SSLCertVerificationError:
                pass


@rule("commands need the token; 401 without it, with a wrong one, with an empty one")
def _():
    with running() as (agent, _, machine):
        for target in ("/v1/commands/", "/v1/commands/?agent_token=", "/v1/commands/?agent_token=" + "x" * 46, f"/v1/commands/?agent_token={TOKEN}x"):
            status, answer = agent.call("POST", target, {"name": "standby.power_off", "params": {}})
            assert status == 401 and "faultstring" in answer, (target, status, answer)
        assert not os.path.exists(machine.path("power"))


@rule("a wrong request is answered with 400 or 404, and the agent lives")
def _():
    with running() as (agent, _, _):
        target = f"/v1/commands/?agent_token={TOKEN}"
        wrong = [b"", b"{", b"[]", b"5", b"null", b'"text"', b"\xff\xfe", b"[" * 100000, b'{"name":5}', b'{"name":"iscsi.start_iscsi_target"}',
                 b'{"name":"iscsi.start_iscsi_target","params":[]}', b'{"name":"iscsi.start_iscsi_target","params":{"iqn":"iqn.x:y","portal_port":"3260"}}',
                 b'{"name":"iscsi.start_iscsi_target","params":{"iqn":"../../etc"}}', b'{"name":"iscsi.start_iscsi_target","params":{"iqn":"iqn.x:y","chap":{"username":"u"}}}',
                 b'{"name":"clean.execute_clean_step","params":{"step":{"step":"no_such_step"}}}', b'{"name":"clean.execute_clean_step","params":{"step":[]}}',
                 b'{"name":"deploy.execute_deploy_step","params":{"step":{"step":"write_configdrive","args":{"configdrive":"!"}}}}',
                 b'{"name":"image.install_bootloader","params":{"target_boot_mode":"coreboot"}}', b'{"name":"standby.run_image","params":{"reboot":"yes"}}']
        for body in wrong:
            status, answer = agent.call("POST", target, body)
            assert status == 400 and answer["faultstring"], (body[:80], status, answer)
        assert agent.call("POST", target, {"name": "no.such_command", "params": {}})[0] == 404
        assert agent.call("GET", "/v1/commands/no-such-id")[0] == 404
        assert agent.call("GET", "/v1/nothing")[0] == 404
        assert agent.call("DELETE", "/v1/commands/")[0] == 405
        assert agent.call("GET", "/v1/commands/")[1] == {"commands": []}


@rule("a huge body is refused with 400 without being taken; so is a broken HTTP request")
def _():
    with running() as (agent, _, _):
        def raw(request):
            host, port = agent.address.split(":")
            with socket.create_connection((host, int(port)), 20) as plain, agent.context.wrap_socket(plain, server_hostname=host) as tls:
                tls.sendall(request)
                return tls.recv(4096)
        assert raw(b"POST /v1/commands/?agent_token=x HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert raw(f"POST /v1/commands/?agent_token={TOKEN} HTTP/1.1\r\nHost: a\r\nContent-Length: 500000000\r\n\r\n".encode()).startswith(b"HTTP/1.1 400")
        assert raw(b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert raw(b"GET / HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n").startswith(b"HTTP/1.1 400")
        chunked = b"POST /v1/commands/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 65535 + b"\r\nffff\r\n" + b"x" * 65535
        answer = raw(chunked)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert agent.call("GET", "/v1/status")[0] == 200


@rule("random bytes on the port, inside and outside of TLS, harm nobody")
def _():
    seed = int(time.time())
    print(f"life: seed {seed}")
    dice = random.Random(seed)
    with running() as (agent, _, _):
        host, port = agent.address.split(":")
        for i in range(60):
            with contextlib.suppress(OSError):
                with socket.create_connection((host, int(port)), 5) as plain:
                    if i % 2:
                        with agent.context.wrap_socket(plain, server_hostname=host) as tls:
                            tls.sendall(dice.randbytes(dice.randrange(1, 2000)))
                    else:
                        plain.sendall(dice.randbytes(dice.randrange(1, 2000)))
        idle = [socket.create_connection((host, int(port))) for _ in range(20)]
        assert agent.call("GET", "/v1/status")[0] == 200
        for one in idle:
            one.close()


@rule("one asynchronous command at a time: the second is refused with 409, waiting ends with the first, and a heartbeat follows at once")
def _():
    def prepare(machine):
        machine.add_disk(32 * MIB, template("gpt"))
        machine.write("slow-sfdisk", '#!/bin/sh\nwhile [ ! -e "$(dirname "$0")/go" ]; do sleep 0.1; done\nexec sfdisk "$@"\n')
        os.chmod(machine.path("slow-sfdisk"), 0o755)
    ironic = FakeIronic()
    ironic.heartbeat_timeout = 3000
    with running(prepare, extra=["--sfdisk", "{root}/slow-sfdisk"], ironic=ironic) as (agent, fake, machine):
        target = f"/v1/commands/?agent_token={TOKEN}"
        params = config_drive_step(iso("config-2")) | {"root_device": {"name": machine.disks[0]}}
        status, first = agent.call("POST", target + "&wait=false", {"name": "deploy.execute_deploy_step", "params": params})
        assert status == 200 and first["command_status"] == "RUNNING", first
        status, second = agent.call("POST", target, {"name": "standby.run_image", "params": {}})
        assert status == 409 and second["faultstring"] == "Agent is busy", second
        assert agent.call("POST", target, {"name": "clean.get_clean_steps", "params": {"node": {}, "ports": []}})[0] == 200, "synchronous ones go on"
        assert len(fake.of("/v1/heartbeat/")) == 1
        machine.write("go", "")
        _, ended = agent.call("GET", f"/v1/commands/{first['id']}?wait=true")
        assert ended["command_status"] == "SUCCEEDED", ended
        fake.wait_for("/v1/heartbeat/", 2, seconds=5)


# --- cleaning


@rule("lists its clean steps with priorities, and refuses to run those that another version listed")
def _():
    def prepare(machine):
        machine.add_disk(8 * MIB)
    with running(prepare) as (agent, _, _):
        result = agent.succeed("clean.get_clean_steps", {"node": {}, "ports": []}, TOKEN)
        steps = {one["step"]: one["priority"] for one in result["clean_steps"]["ironrack"]}
        assert steps == {"erase_devices_metadata": 99, "erase_devices": 10, "erase_devices_express": 0}
        step = {"step": "erase_devices_metadata", "interface": "deploy"}
        other = agent.command("clean.execute_clean_step", {"step": step, "node": {}, "ports": [], "clean_version": {"ironrack": "0"}}, TOKEN)
        assert other["command_status"] == "CLEAN_VERSION_MISMATCH", other
        same = agent.succeed("clean.execute_clean_step", {"step": step, "node": {}, "ports": [], "clean_version": result["hardware_manager_version"]}, TOKEN)
        assert same["clean_step"] == step


def dirty(disk):
    """GPT, ext4 in a partition, and the traces of RAID, LVM and Btrfs that mdadm, pvcreate and mkfs.btrfs would leave."""
    with open(disk, "r+b") as file:
        def put(offset, content):
            file.seek(offset)
            file.write(content)
        size = os.path.getsize(disk)
        put(34816 * 512 + 536, b"LVM2 001")                                   # in the second partition
        put(34816 * 512 + 512, b"LABELONE")
        put((34816 + 4096) * 512 - 64 * 1024, struct.pack("<I", 0xA92B4EFC))  # mdadm 0.90, at its end
        put(64 * MIB + 64, b"_BHRfS_M")
        put(size - 8192, struct.pack("<II", 0xA92B4EFC, 1))                   # mdadm 1.0 on the whole disk
        put(size // 2, b"user data stays in the quick erase")


@rule("the metadata erase leaves nothing that wipefs, sfdisk or blkid would find, in partitions and on the disk")
def _():
    def prepare(machine):
        for kind in ("gpt", "mbr"):
            dirty(machine.add_disk(100 * MIB, template(kind)))
        machine.add_disk(3 * MIB)
    with running(prepare) as (agent, _, machine):
        assert "gpt" in subprocess.check_output(["wipefs", "-n", machine.disks[0]], text=True)
        step = {"step": "erase_devices_metadata", "interface": "deploy"}
        result = agent.succeed("clean.execute_clean_step", {"step": step, "node": {}, "ports": []}, TOKEN)["clean_result"]
        found = set(result[machine.disks[0]]["found"])
        assert {"GPT", "LVM2", "mdadm 0.90", "mdadm 1.0", "Btrfs mirror"} <= found, found
        assert "FAT16" in found or "FAT32" in found, found
        for disk in machine.disks:
            assert subprocess.check_output(["wipefs", "-n", disk], text=True) == ""
            assert subprocess.run(["blkid", "-p", disk], capture_output=True).returncode == 2
            assert subprocess.run(["sfdisk", "-d", disk], capture_output=True).returncode != 0
            for offset in (0, 34816 * 512, 2048 * 512):
                assert subprocess.run(["blkid", "-p", "-O", str(offset), disk], capture_output=True).returncode != 0, offset
        data = machine.read("disk0")
        assert b"LVM2 001" not in data and b"_BHRfS_M" not in data and struct.pack("<I", 0xA92B4EFC) not in data
        assert b"user data stays in the quick erase" in data


@rule("the thorough erase zeroes every byte")
def _():
    def prepare(machine):
        machine.add_disk(65 * MIB + 512)
        with open(machine.disks[0], "r+b") as file:
            file.write(random.Random(1).randbytes(65 * MIB + 512))
    with running(prepare) as (agent, _, machine):
        step = {"step": "erase_devices", "interface": "deploy"}
        result = agent.succeed("clean.execute_clean_step", {"step": step, "node": {}, "ports": []}, TOKEN)["clean_result"]
        assert result[machine.disks[0]]["method"] == "zeroed", result
        assert machine.read("disk0") == bytes(65 * MIB + 512)


@rule("the express erase falls back to the metadata where a disk cannot erase itself")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("gpt"))
    with running(prepare) as (agent, _, machine):
        result = agent.succeed("clean.execute_clean_step", {"step": {"step": "erase_devices_express"}}, TOKEN)["clean_result"]
        assert result[machine.disks[0]]["method"] == "metadata", result


@rule("one disk that fails is named, and the others are erased all the same")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("gpt"), name="bad")
        machine.add_disk(100 * MIB, template("gpt"), name="good")
    with running(prepare) as (agent, _, machine):
        # The disk is listed, and then cannot be opened for writing: a directory cannot stand in, so it is taken away in between.
        subprocess.check_call(["chattr", "+i", machine.disks[0]])
        try:
            document = agent.command("clean.execute_clean_step", {"step": {"step": "erase_devices_metadata"}}, TOKEN)
        finally:
            subprocess.check_call(["chattr", "-i", machine.disks[0]])
        assert document["command_status"] == "FAILED" and machine.disks[0] in document["command_error"]["message"], document
        assert machine.disks[1] not in document["command_error"]["message"]
        assert subprocess.check_output(["wipefs", "-n", machine.disks[1]], text=True) == ""


# --- deployment


IQN = "iqn.2026-01.org.ironrack:1be26c0b-03f2-4d2e-ae87-c02d7f33c123"


@rule("publishes the root disk as LUN 1 with CHAP in the portal group, and takes it back")
def _():
    def prepare(machine):
        machine.add_disk(5 * 1024 * MIB)
    with running(prepare) as (agent, _, machine):
        group = f"config/target/iscsi/{IQN}/tpgt_1"
        for secret in ("first-secret-1234", "second-secret-5678"):  # the second as after a restart of the conductor
            params = {"iqn": IQN, "portal_port": 3261, "wipe_disk_metadata": False, "chap": {"username": "ironrack-u", "password": secret}}
            result = agent.succeed("iscsi.start_iscsi_target", params, TOKEN)
            assert result == {"iscsi_target_iqn": IQN, "lun": 1, "portal_port": 3261, "device": machine.disks[0], "size": 5 * 1024 * MIB, "logical_sector_size": 512}, result
            assert machine.read(f"{group}/auth/password").decode() == secret and machine.read(f"{group}/auth/userid") == b"ironrack-u"
        assert machine.read(f"{group}/attrib/authentication") == b"1" and machine.read(f"{group}/param/AuthMethod") == b"CHAP"
        assert machine.read(f"{group}/attrib/demo_mode_write_protect") == b"0" and machine.read(f"{group}/enable") == b"1"
        assert os.path.isdir(machine.path(f"{group}/np/0.0.0.0:3261"))
        assert os.readlink(machine.path(f"{group}/lun/lun_1/disk")) == machine.path("config/target/core/iblock_0/disk")
        assert machine.read("config/target/core/iblock_0/disk/control").decode() == f"udev_path={machine.disks[0]},readonly=0"
        stopped = agent.succeed("iscsi.stop_iscsi_target", {"iqn": IQN}, TOKEN)
        assert stopped["device"] == machine.disks[0], stopped
        assert not os.path.exists(machine.path(f"config/target/iscsi/{IQN}")) and not os.path.exists(machine.path("config/target/core/iblock_0/disk"))
        assert agent.succeed("iscsi.stop_iscsi_target", {"iqn": IQN}, TOKEN)["device"] is None, "again is no fault"
        listing = json.dumps(agent.call("GET", "/v1/commands/")[1])
        for secret in ("first-secret-1234", "second-secret-5678", TOKEN):
            assert secret not in agent.log_text() and secret not in listing


@rule("publishes the disk that the hints name, wiped if asked, and fails with the hints when there is none")
def _():
    def prepare(machine):
        machine.add_disk(5 * 1024 * MIB)
        machine.add_disk(7 * 1024 * MIB, template("gpt"))
    with running(prepare) as (agent, _, machine):
        result = agent.succeed("iscsi.start_iscsi_target", {"iqn": IQN, "wipe_disk_metadata": True, "root_device": {"size": ">= 6"}}, TOKEN)
        assert result["device"] == machine.disks[1] and result["portal_port"] == 3260
        assert subprocess.check_output(["wipefs", "-n", machine.disks[1]], text=True) == ""
        group = f"config/target/iscsi/{IQN}/tpgt_1"
        assert machine.read(f"{group}/attrib/authentication") == b"0"
        failed = agent.command("iscsi.start_iscsi_target", {"iqn": IQN, "root_device": {"serial": "none"}}, TOKEN)
        assert failed["command_status"] == "FAILED" and failed["command_error"]["type"] == "not-found" and "serial" in failed["command_error"]["message"], failed


@rule("a config drive goes into a new partition at the end of a GPT disk whose image was smaller than the disk")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("gpt"))
    with running(prepare) as (agent, _, machine):
        image = iso("config-2", 1_300_000)
        disk = machine.disks[0]
        step = config_drive_step(image)
        step["step"]["args"]["root_device"] = {"name": disk}
        for _ in range(2):  # a repeat finds the same partition
            document = agent.command("deploy.execute_deploy_step", step, TOKEN)
            assert document["command_result"]["deploy_result"]["partition"] == f"{disk}p3" or document["command_result"]["deploy_result"]["partition"] == f"{disk}3", document
            table = sfdisk_json(disk)
            assert len(table["partitions"]) == 3
            last = table["partitions"][2]
            assert last["name"] == "config-2" and last["start"] % 2048 == 0 and last["size"] == 4096
            assert last["start"] + last["size"] > 100 * 2048 - 2 * 2048, "at the very end"
            assert machine.read("disk0")[last["start"] * 512:][:len(image)] == image
        assert "No errors detected" in subprocess.check_output(["sfdisk", "--verify", disk], text=True)
        listing = json.dumps(agent.call("GET", "/v1/commands/")[1])
        assert step["step"]["args"]["configdrive"][:60] not in listing and "***" in listing


@rule("a config drive goes into a new primary partition of an MBR disk")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("mbr"))
    with running(prepare) as (agent, _, machine):
        image = iso("config-2")
        disk = machine.disks[0]
        for _ in range(2):
            agent.succeed("deploy.execute_deploy_step", config_drive_step(image) | {"root_device": {"name": disk}}, TOKEN)
            table = sfdisk_json(disk)
            assert table["label"] == "dos" and len(table["partitions"]) == 3 and table["id"] == "0xdeadbeef"
            last = table["partitions"][2]
            assert last["start"] + last["size"] == 100 * 2048 and last["type"] == "83"
            assert machine.read("disk0")[last["start"] * 512:][:len(image)] == image


@rule("a config drive without room, without a partition table, or that does not unpack is a fault with its reason")
def _():
    def prepare(machine):
        machine.add_disk(24 * MIB, template("gpt"), name="full")
        machine.add_disk(24 * MIB, name="empty")
    with running(prepare) as (agent, _, machine):
        full = agent.command("deploy.execute_deploy_step", config_drive_step(iso("x", 20 * MIB)) | {"root_device": {"name": machine.disks[0]}}, TOKEN)
        assert full["command_status"] == "FAILED" and "no room" in full["command_error"]["message"], full
        empty = agent.command("deploy.execute_deploy_step", config_drive_step(iso("x")) | {"root_device": {"name": machine.disks[1]}}, TOKEN)
        assert empty["command_status"] == "FAILED" and "no partition table" in empty["command_error"]["message"], empty
        broken = config_drive_step(b"x")
        broken["step"]["args"]["configdrive"] = base64.b64encode(gzip.compress(iso("x"))[:-20]).decode()
        assert agent.call("POST", f"/v1/commands/?agent_token={TOKEN}", {"name": "deploy.execute_deploy_step", "params": broken})[0] == 400


def boot_entry(machine, name):
    """attributes, description, partition number, first LBA, sectors, signature, loader of an entry, read independently."""
    value = machine.read(f"efivars/{name}-{GLOBAL}")[4:]
    attributes, length = struct.unpack_from("<IH", value)
    end = 6
    while value[end:end + 2] != b"\0\0":
        end += 2
    path = value[end + 2:end + 2 + length]
    kind, sub, size, number, first, sectors, signature, form, signature_type = struct.unpack_from("<BBHIQQ16sBB", path)
    assert (kind, sub, size) == (4, 1, 42) and path[-4:] == b"\x7f\xff\x04\0"
    file = path[42:-4]
    assert struct.unpack_from("<BBH", file) == (4, 4, len(file))
    return attributes, value[6:end].decode("utf-16-le"), number, first, sectors, signature, form, signature_type, file[4:].decode("utf-16-le").rstrip("\0")


@rule("the UEFI boot entry names the image's loader, comes first in BootOrder, and replaces ironrack's old ones only")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("gpt"))
        machine.add_uefi()
    with running(prepare) as (agent, _, machine):
        params = {"root_uuid": None, "target_boot_mode": "uefi", "root_device": {"name": machine.disks[0]}}
        for _ in range(2):
            result = agent.succeed("image.install_bootloader", params, TOKEN)
            assert result["entry"] == "Boot0001" and result["label"] == "ironrack: debian", result
            assert boot_entry(machine, "Boot0001") == (
                1, "ironrack: debian", 1, 2048, 32768, bytes.fromhex("443322116655887799aabbccddeeff00"), 2, 2, "\\EFI\\debian\\shimx64.efi")
            assert machine.read(f"efivars/BootOrder-{GLOBAL}") == b"\x07\0\0\0\x01\0\0\0"
            assert sorted(os.listdir(machine.path("efivars"))) == sorted(f"{name}-{GLOBAL}" for name in ("Boot0000", "Boot0001", "BootOrder"))


@rule("a partition labelled config-2 that is too small is a fault, and no second one is made")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("gpt"))
    with running(prepare) as (agent, _, machine):
        disk = machine.disks[0]
        agent.succeed("deploy.execute_deploy_step", config_drive_step(iso("config-2")) | {"root_device": {"name": disk}}, TOKEN)
        larger = agent.command("deploy.execute_deploy_step", config_drive_step(iso("config-2", 3 * MIB)) | {"root_device": {"name": disk}}, TOKEN)
        assert larger["command_status"] == "FAILED" and "too small" in larger["command_error"]["message"], larger
        assert len(sfdisk_json(disk)["partitions"]) == 3


@rule("the boot entry of an MBR disk carries the disk's signature")
def _():
    def prepare(machine):
        machine.add_disk(100 * MIB, template("mbr"))
        machine.add_uefi()
    with running(prepare) as (agent, _, machine):
        agent.succeed("image.install_bootloader", {"target_boot_mode": "uefi", "root_device": {"name": machine.disks[0]}}, TOKEN)
        entry = boot_entry(machine, "Boot0001")
        assert entry[5] == bytes.fromhex("efbeadde") + bytes(12) and entry[6:8] == (1, 1), entry


@rule("without an EFI system partition the boot loader step fails, unless told that it may; BIOS needs nothing")
def _():
    def prepare(machine):
        machine.add_disk(24 * MIB)
        machine.add_uefi()
    with running(prepare) as (agent, _, machine):
        params = {"target_boot_mode": "uefi", "root_device": {"name": machine.disks[0]}}
        failed = agent.command("image.install_bootloader", params, TOKEN)
        assert failed["command_status"] == "FAILED" and "EFI system partition" in failed["command_error"]["message"], failed
        assert agent.succeed("image.install_bootloader", params | {"ignore_bootloader_failure": True}, TOKEN)["entry"] is None
        assert agent.succeed("image.install_bootloader", {"target_boot_mode": "bios"}, TOKEN) == {"entry": None}


# --- the rest


@rule("reboots or powers off a second after the answer, and heartbeats no more")
def _():
    for name, params, action in (("standby.run_image", {}, b"reboot\n"), ("standby.run_image", {"reboot": False}, b"power off\n"), ("standby.power_off", {}, b"power off\n")):
        with running() as (agent, fake, machine):
            agent.succeed("standby.sync", {}, TOKEN)
            agent.succeed(name, params, TOKEN)
            assert not os.path.exists(machine.path("power"))
            time.sleep(2)
            assert machine.read("power") == action
            count = len(fake.of("/v1/heartbeat/"))
            time.sleep(1.5)
            assert len(fake.of("/v1/heartbeat/")) == count


@rule("hands out the kernel's and its own log")
def _():
    with running() as (agent, _, _):
        packed = base64.b64decode(agent.succeed("log.collect_system_logs", {}, TOKEN)["system_logs"])
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
            assert archive.getnames() == ["dmesg", "agent.log"]
            text = archive.extractfile("agent.log").read().decode()
        assert "lookup.found node=1be26c0b" in text and TOKEN not in text


@rule("gives its inventory when asked")
def _():
    def prepare(machine):
        machine.add_disk(24 * MIB)
    with running(prepare) as (agent, _, machine):
        inventory = agent.succeed("poll.get_hardware_info", {}, TOKEN)
        assert set(inventory) == {"interfaces", "cpu", "disks", "memory", "system_vendor", "boot", "hostname", "bmc_address", "bmc_mac"}
        assert inventory["disks"][0]["name"] == machine.disks[0]


@rule("locked down, it takes no connection more and sends no heartbeat")
def _():
    with running() as (agent, fake, _):
        agent.succeed("system.lockdown", {}, TOKEN)
        time.sleep(1.5)
        count = len(fake.of("/v1/heartbeat/"))
        try:
            agent.call("GET", "/v1/status", timeout=5)
            raise AssertionError("still serving")
        except OSError:
            pass
        time.sleep(1.5)
        assert len(fake.of("/v1/heartbeat/")) == count


@rule("without an appliance on the command line it says so and ends with status 1")
def _():
    for cmdline in ("", "ipa-api-url=", "ipa-api-url=http://ironic.example:6385"):
        machine = Machine()
        agent = Agent(PROGRAM, machine, cmdline)
        try:
            assert agent.process.wait(10) == 1 and "agent.cannot-run" in agent.log_text()
        finally:
            agent.stop()
            machine.close()


def main():
    passed = failed = 0
    wanted = sys.argv[3:]
    for title, function in RULES:
        if wanted and not any(one in title for one in wanted):
            continue
        try:
            function()
            passed += 1
        except Exception:
            failed += 1
            print(f"FAILED {title}\n" + "".join("    " + line + "\n" for line in traceback.format_exc().splitlines()))
    print(f"life: {passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
