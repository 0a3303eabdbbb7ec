"""The agent in its ramdisk on a QEMU machine with real disks and the kernel's own iSCSI target:
machine_test.py KERNEL INITRD [AGENT]. With AGENT, that program takes the place of the ramdisk's. AGENT_TEST_OUT is where
make-disk.sh made its disks; AGENT_TEST_FIRMWARE ("bios uefi") which machines there are.
The machine is on QEMU's user network: the appliance (fake_ironic.py) at 10.0.2.2, the agent and the target forwarded to loopback."""

import base64
import gzip
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from agent_process import Agent  # noqa: E402
from fake_ironic import TOKEN, FakeIronic  # noqa: E402

MIB = 1024 * 1024
GIB = 1024 * MIB
IQN = "iqn.2026-01.org.ironrack:1be26c0b-03f2-4d2e-ae87-c02d7f33c123"
OVMF = "/usr/share/OVMF"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class QemuMachine(Agent):
    """A machine with five disks that runs the ramdisk; speaks to its agent as Agent does. `extra`: more of QEMU's arguments."""

    def __init__(self, kernel, initrds, firmware, extra=()):
        self.root = tempfile.mkdtemp(prefix="agent-machine-")
        self.ironic = FakeIronic()
        self.ironic.heartbeat_timeout = 60
        self.agent_port, self.iscsi_port = free_port(), free_port()
        initrd = os.path.join(self.root, "initrd")
        with open(initrd, "wb") as out:
            for part in initrds:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, out)
                out.write(bytes(-out.tell() % 4))
        disk = {}
        for name, size in (("virtio", 5), ("nvme", 6), ("sata", 7), ("scsi", 8), ("usb", 4)):
            disk[name] = os.path.join(self.root, f"{name}.img")
            with open(disk[name], "wb") as file:
                file.truncate(size * GIB)
        self.disk = disk
        def drive(name):
            return ["-drive", f"if=none,id={name},file={disk[name]},format=raw,discard=unmap,cache=unsafe"]
        callback = f"http://10.0.2.2:{self.ironic.port}"
        append = f"ipa-api-url={callback} ipa-inspection-callback-url={callback}/v1/continue_inspection ipa-debug=1 BOOTIF=01-52-54-00-12-34-56 console=ttyS0,115200n8"
        arguments = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024", "-nographic",
                     "-kernel", kernel, "-initrd", initrd, "-append", append, "-serial", f"file:{self.root}/console", "-monitor", "none", "-no-reboot",
                     "-nic", f"user,model=virtio-net-pci,mac=52:54:00:12:34:56,hostfwd=tcp:127.0.0.1:{self.agent_port}-:9999,hostfwd=tcp:127.0.0.1:{self.iscsi_port}-:3260",
                     *drive("virtio"), "-device", "virtio-blk-pci,drive=virtio,serial=VIRTIO1",
                     *drive("nvme"), "-device", "nvme,drive=nvme,serial=NVME1",
                     *drive("sata"), "-device", "ide-hd,drive=sata,serial=SATA1,wwn=0x5000c50015ea71aa",
                     *drive("scsi"), "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=scsi,serial=SCSI1,wwn=0x5000c50015ea71ab",
                     "-device", "qemu-xhci", *drive("usb"), "-device", "usb-storage,drive=usb,removable=on", *extra]
        if firmware == "uefi":
            shutil.copyfile(f"{OVMF}/OVMF_VARS_4M.fd", f"{self.root}/vars")
            arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M.fd", "-drive", f"if=pflash,format=raw,file={self.root}/vars"]
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
        self.log = open(os.path.join(self.root, "console"), "ab")

    def wait(self):
        beat = self.ironic.wait_for("/v1/heartbeat/", seconds=300)[0][4]
        assert beat["callback_url"] == "https://10.0.2.15:9999", beat["callback_url"]
        self.address = f"127.0.0.1:{self.agent_port}"
        self.context = ssl.create_default_context(cadata=beat["agent_verify_ca"])
        self.context.check_hostname = False  # it is reached through a forwarded port

    def log_text(self):
        with open(os.path.join(self.root, "console"), errors="replace") as file:
            return file.read()

    def url(self, username=None, secret=None):
        login = f"{username}%{secret}@" if username else ""
        return f"iscsi://{login}127.0.0.1:{self.iscsi_port}/{IQN}/1"

    def close(self):
        self.stop(9)
        self.ironic.close()
        shutil.rmtree(self.root, ignore_errors=True)


def agent_archive(agent, directory):
    """A cpio archive with that agent, to lie over the ramdisk's."""
    top = os.path.join(directory, "top")
    os.makedirs(os.path.join(top, "sbin"))
    shutil.copy(agent, os.path.join(top, "sbin/ironrack-agent"))
    archive = os.path.join(directory, "agent.cpio")
    with open(archive, "wb") as out:
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"sbin\nsbin/ironrack-agent\n", cwd=top, stdout=out, check=True)
    return archive


def make_image(path, firmware):
    shutil.copyfile(os.path.join(os.environ["AGENT_TEST_OUT"], "gpt.img" if firmware == "uefi" else "mbr.img"), path)


# --- rules; each gets the machine, in this order


def inventory(machine, firmware):
    """the inventory names the machine's fixed disks with serial, WWN, transport and path, and its card"""
    body = machine.ironic.of("/v1/continue_inspection")[0][4]
    disks = {one["name"]: one for one in body["inventory"]["disks"]}
    assert len(disks) == 4, list(disks)
    by_tran = {one["tran"]: one for one in disks.values()}
    virtio, nvme, sata = by_tran["virtio"], by_tran["nvme"], by_tran["sata"]
    assert virtio["name"] == "/dev/vda" and virtio["serial"] == "VIRTIO1" and virtio["size"] == 5 * GIB and virtio["by_path"].startswith("/dev/disk/by-path/pci-0000:00:"), virtio
    assert nvme["name"] == "/dev/nvme0n1" and nvme["serial"] == "NVME1" and nvme["wwn"] and nvme["by_path"].endswith("-nvme-1"), nvme
    assert sata["serial"] == "SATA1" and sata["wwn"] == "0x5000c50015ea71aa" and sata["hctl"] and "-ata-" in sata["by_path"], sata
    scsi = next(one for one in disks.values() if one["serial"] == "SCSI1")
    assert scsi["wwn"] == "0x5000c50015ea71ab" and scsi["vendor"] == "QEMU", scsi
    assert body["root_disk"]["name"] == "/dev/vda"
    card = body["inventory"]["interfaces"][0]
    assert card["mac_address"] == "52:54:00:12:34:56" and card["ipv4_address"] == "10.0.2.15" and card["has_carrier"], card
    assert card["pci_address"].startswith("0000:00:") and card["vendor"] == "0x1af4" and card["driver"] == "virtio_net", card
    assert body["inventory"]["boot"] == {"current_boot_mode": firmware, "pxe_interface": "52:54:00:12:34:56"}
    assert body["inventory"]["memory"]["physical_mb"] == 1024 and body["inventory"]["cpu"]["count"] == 2, body["inventory"]["memory"]


def target_needs_the_secret(machine, firmware):
    """the kernel's target takes the secret and refuses a wrong one and none"""
    result = machine.succeed("iscsi.start_iscsi_target", {"iqn": IQN, "chap": {"username": "u", "password": "correct-secret-1"}, "wipe_disk_metadata": True}, TOKEN)
    assert result["device"] == "/dev/vda" and result["size"] == 5 * GIB, result
    right = subprocess.run(["iscsi-readcapacity16", machine.url("u", "correct-secret-1")], capture_output=True, text=True, timeout=60)
    assert right.returncode == 0 and "10485760" in right.stdout + right.stderr or "10485759" in right.stdout, (right.stdout, right.stderr)
    for wrong in (machine.url("u", "wrong-secret-12"), machine.url("x", "correct-secret-1"), machine.url()):
        refused = subprocess.run(["iscsi-readcapacity16", wrong], capture_output=True, text=True, timeout=60)
        assert refused.returncode != 0, (wrong, refused.stdout)
    assert "correct-secret-1" not in machine.log_text()


def target_speaks_large_segments(machine, firmware):
    """the target offers UNMAP where the disk discards, does not claim that discarded blocks read as zeros, and takes WRITE SAME"""
    pages = subprocess.run(["iscsi-inq", "-e", "1", "-c", "178", machine.url("u", "correct-secret-1")], capture_output=True, text=True, timeout=60).stdout
    assert "lbpu:1" in pages.replace(" ", "").lower() and "lbprz:0" in pages.replace(" ", "").lower(), pages


def republished_with_another_secret(machine, firmware):
    """published again with another secret while an initiator writes, as after a restart of the conductor: its session ends, the old
    secret is refused, an image is written"""
    writer = subprocess.Popen(["qemu-img", "bench", "-w", "-f", "raw", "-c", "10000000", "-s", "65536", "-d", "16", machine.url("u", "correct-secret-1")],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(3)
    assert writer.poll() is None
    try:
        started = time.monotonic()
        machine.succeed("iscsi.start_iscsi_target", {"iqn": IQN, "chap": {"username": "u2", "password": "another-secret-2"}}, TOKEN)
        print(f"machine: {firmware}: published again under a writing session within {time.monotonic() - started:.1f} s", flush=True)
    finally:
        writer.kill()
        writer.wait()
    machine.succeed("iscsi.start_iscsi_target", {"iqn": IQN, "chap": {"username": "u2", "password": "another-secret-2"}}, TOKEN)
    old = subprocess.run(["iscsi-readcapacity16", machine.url("u", "correct-secret-1")], capture_output=True, timeout=60)
    assert old.returncode != 0
    image = os.path.join(machine.root, "image")
    make_image(image, firmware)
    subprocess.run(["qemu-img", "convert", "-n", "-O", "raw", "-f", "raw", image, machine.url("u2", "another-secret-2")], check=True, timeout=300, capture_output=True)


def stop_publishes_the_partitions(machine, firmware):
    """the target stopped, the kernel knows the image's partitions, and the bytes are on the disk"""
    result = machine.succeed("iscsi.stop_iscsi_target", {"iqn": IQN}, TOKEN)
    assert result["device"] == "/dev/vda", result
    with open(machine.disk["virtio"], "rb") as disk, open(os.path.join(machine.root, "image"), "rb") as image:
        assert disk.read(20 * MIB) == image.read(20 * MIB)


def config_drive(machine, firmware):
    """a config drive is written behind the image and found again by sfdisk"""
    content = bytearray(random.Random(7).randbytes(900_000))
    content[32768:32774] = b"\x01CD001"
    content[32808:32840] = b"config-2".ljust(32)
    step = {"step": {"step": "write_configdrive", "interface": "deploy", "args": {"configdrive": base64.b64encode(gzip.compress(bytes(content))).decode()}}}
    for _ in range(2):
        result = machine.succeed("deploy.execute_deploy_step", step, TOKEN)["deploy_result"]
        assert result["partition"] == "/dev/vda3", result
    table = json.loads(subprocess.check_output(["sfdisk", "-J", machine.disk["virtio"]]))["partitiontable"]
    last = table["partitions"][2]
    with open(machine.disk["virtio"], "rb") as disk:
        disk.seek(last["start"] * 512)
        assert disk.read(len(content)) == bytes(content)
    assert " vda: vda1 vda2 vda3" in base64_log(machine, "dmesg")


def base64_log(machine, name):
    import io
    import tarfile
    packed = base64.b64decode(machine.succeed("log.collect_system_logs", {}, TOKEN)["system_logs"])
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as archive:
        return archive.extractfile(name).read().decode(errors="replace")


def boot_entry(machine, firmware):
    """the boot entry is in the firmware's variables (UEFI), or not needed (BIOS)"""
    for _ in range(2):
        result = machine.succeed("image.install_bootloader", {"target_boot_mode": firmware, "root_uuid": None}, TOKEN)
    if firmware == "bios":
        assert result == {"entry": None}, result
    else:
        assert result["entry"].startswith("Boot") and result["label"] == "ironrack: debian" and result["loader"] == "\\EFI\\debian\\shimx64.efi", result


def metadata_erased(machine, firmware):
    """the metadata erase cleans all four fixed disks and leaves the USB stick alone"""
    for name in ("sata", "usb"):
        with open(machine.disk[name], "r+b") as disk:
            disk.seek(1080)
            disk.write(b"\x53\xef")
    machine.succeed("iscsi.start_iscsi_target", {"iqn": IQN}, TOKEN)  # as a failed deployment leaves it
    result = machine.succeed("clean.execute_clean_step", {"step": {"step": "erase_devices_metadata"}}, TOKEN)["clean_result"]
    assert len(result) == 4 and all(one["method"] == "metadata" for one in result.values()), result
    assert "ext2/3/4" in result["/dev/sda"]["found"] or "ext2/3/4" in result["/dev/sdb"]["found"], result
    for name in ("virtio", "sata", "nvme", "scsi"):
        assert subprocess.check_output(["wipefs", "-n", machine.disk[name]]) == b"", name
    with open(machine.disk["usb"], "rb") as disk:
        disk.seek(1080)
        assert disk.read(2) == b"\x53\xef"


def thorough_erase(machine, firmware):
    """the thorough erase formats the NVMe disk by itself and zeroes the others"""
    for name in ("nvme", "virtio"):
        with open(machine.disk[name], "r+b") as disk:
            disk.seek(GIB)
            disk.write(random.Random(3).randbytes(5 * MIB))
    result = machine.succeed("clean.execute_clean_step", {"step": {"step": "erase_devices"}}, TOKEN)["clean_result"]
    assert result["/dev/nvme0n1"]["method"] == "nvme format" and result["/dev/vda"]["method"] == "zeroed", result
    for name in ("nvme", "virtio"):
        with open(machine.disk[name], "rb") as disk:
            disk.seek(GIB)
            assert disk.read(5 * MIB) == bytes(5 * MIB), name


def powers_off(machine, firmware):
    """power_off ends the machine"""
    machine.succeed("standby.power_off", {}, TOKEN)
    assert machine.process.wait(60) == 0


RULES = [inventory, target_needs_the_secret, target_speaks_large_segments, republished_with_another_secret, stop_publishes_the_partitions, config_drive, boot_entry, metadata_erased,
         thorough_erase, powers_off]


def main():
    kernel, initrd = sys.argv[1:3]
    rest = sys.argv[3:]
    agent = rest.pop(0) if rest and os.path.isfile(rest[0]) else None
    work = tempfile.mkdtemp(prefix="agent-machine-")
    initrds = [initrd] + ([agent_archive(agent, work)] if agent else [])
    passed = failed = 0
    try:
        for firmware in os.environ.get("AGENT_TEST_FIRMWARE", "bios uefi").split():
            machine = QemuMachine(kernel, initrds, firmware)
            try:
                started = time.monotonic()
                machine.wait()
                print(f"machine: {firmware}: the agent's first heartbeat after {time.monotonic() - started:.0f} s", flush=True)
                for rule in RULES:
                    try:
                        rule(machine, firmware)
                        passed += 1
                    except Exception:
                        failed += 1
                        print(f"FAILED {firmware}: {rule.__doc__}\n" + traceback.format_exc(), flush=True)
                if failed:
                    print("\n".join(machine.log_text().splitlines()[-60:]))
            except Exception:
                failed += 1
                print(f"FAILED {firmware}: the machine does not heartbeat\n" + traceback.format_exc() + "\n".join(machine.log_text().splitlines()[-60:]))
            finally:
                machine.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"machine: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
