"""The agent's program with a machine made of files: disks, sysfs, configfs, UEFI variables."""

import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import http.client
import time

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"


class Machine:
    """A directory that looks like a machine to the agent. Removed by close()."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="agent-test-")
        for name, mac in (("eth0", "52:54:00:00:00:01"), ("eth1", "52:54:00:00:00:02")):
            self.write(f"sys/class/net/{name}/address", mac)
            self.write(f"sys/class/net/{name}/type", "1")
            self.write(f"sys/class/net/{name}/carrier", "1" if name == "eth0" else "0")
            self.write(f"sys/class/net/{name}/device/vendor", "0x8086")
        self.write("sys/class/net/lo/address", "00:00:00:00:00:00")
        self.write("sys/class/net/lo/type", "772")
        self.write("sys/class/dmi/id/sys_vendor", "QEMU")
        self.write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Test CPU\ncpu MHz\t\t: 2400.0\nphysical id\t: 0\nflags\t\t: aes vmx\n\nprocessor\t: 1\nphysical id\t: 1\n")
        self.write("proc/meminfo", "MemTotal:        2014264 kB\n")
        os.makedirs(self.path("config"))
        self.disks = []

    def path(self, name):
        return os.path.join(self.root, name)

    def write(self, name, content):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def add_disk(self, size, template=None, name=None):
        disk = self.path(name or f"disk{len(self.disks)}")
        if template:
            shutil.copyfile(template, disk)
        with open(disk, "ab") as file:
            file.truncate(size)
        self.disks.append(disk)
        return disk

    def add_uefi(self):
        """Firmware with one boot entry of its own and one that ironrack left."""
        def option(label):
            return b"\x07\0\0\0" + b"\x01\0\0\0" + b"\x04\0" + label.encode("utf-16-le") + b"\0\0" + b"\x7f\xff\x04\0"
        self.write("sys/firmware/efi/fw_platform_size", "64")
        self.write(f"efivars/Boot0000-{GLOBAL}", option("UEFI PXE"))
        self.write(f"efivars/Boot0001-{GLOBAL}", option("ironrack: old"))
        self.write(f"efivars/BootOrder-{GLOBAL}", b"\x07\0\0\0" + b"\x01\0\0\0")

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Agent:
    """A running agent. `call` speaks HTTPS to it and checks its certificate as the appliance does. In `extra` options
    "{root}" is the machine's directory."""

    def __init__(self, program, machine, cmdline, extra=()):
        self.machine = machine
        machine.write("cmdline", cmdline)
        arguments = [program, "--proc-cmdline", machine.path("cmdline"), "--sysfs", machine.path("sys"), "--procfs", machine.path("proc"),
                     "--configfs", machine.path("config"), "--efivars", machine.path("efivars"), "--ipmi-device", "/nonexistent",
                     "--listen", "127.0.0.1:0", "--power-file", machine.path("power"), "--kept-state", machine.path("run/state")]
        # A machine without disks still must not show those of the host.
        for disk in machine.disks or [machine.path("no-disk")]:
            arguments += ["--disk", disk]
        self.log = open(machine.path("agent.log"), "ab")
        self.process = subprocess.Popen(arguments + [one.format(root=machine.root) for one in extra], stderr=self.log)
        self.address = None
        self.context = None

    def log_text(self):
        return self.machine.read("agent.log").decode()

    def follow(self, heartbeat):
        """Takes address and certificate from a heartbeat's body."""
        self.address = heartbeat["callback_url"].removeprefix("https://")
        self.context = ssl.create_default_context(cadata=heartbeat["agent_verify_ca"])

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.address, timeout=timeout, context=self.context)

    def call(self, method, target, body=None, timeout=90):
        connection = self.connect(timeout)
        try:
            connection.request(method, target, body if body is None or isinstance(body, (bytes, str)) else json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def command(self, name, params, token):
        """Runs a command to its end."""
        status, document = self.call("POST", f"/v1/commands/?wait=false&agent_token={token}", {"name": name, "params": params})
        assert status == 200, (status, document)
        deadline = time.monotonic() + 120
        while document["command_status"] == "RUNNING" and time.monotonic() < deadline:
            _, document = self.call("GET", f"/v1/commands/{document['id']}?wait=true")
        return document

    def succeed(self, name, params, token):
        document = self.command(name, params, token)
        assert document["command_status"] == "SUCCEEDED", document
        return document["command_result"]

    def stop(self, sig=signal.SIGTERM):
        """Ends the process and answers its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it did not end"
        finally:
            self.log.close()
