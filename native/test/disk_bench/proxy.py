"""A wire that errs, between the tool and a target."""

import socket
import threading

from .targets import TestTarget
from .tool import expect_same, garbage, stream


class Proxy:
    """Stands between; `meddle(data, towards_target, total)` returns bytes to pass on, or None to cut the connection."""

    def __init__(self, port, meddle):
        self.target = port
        self.meddle = meddle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self, name="disk"):
        return f"iscsi://127.0.0.1:{self.port}/iqn.2026-01.test:{name}/1"

    def accept(self):
        while True:
            try:
                ours, _ = self.listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self.connections += 1
            for source, sink, towards in [(ours, theirs, True), (theirs, ours, False)]:
                threading.Thread(target=self.pump, args=(source, sink, towards, self.connections), daemon=True).start()

    def pump(self, source, sink, towards, connection):
        total = 0
        try:
            while True:
                data = source.recv(65536)
                if not data:
                    break
                passed = self.meddle(data, towards, total, connection)
                total += len(data)
                if passed is None:
                    break
                sink.sendall(passed)
        except OSError:
            pass
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()


def through(meddle, image, options=(), **target_options):
    target = TestTarget(**target_options)
    proxy = Proxy(target.port, meddle)
    try:
        garbage(target.disk())
        status, answer, errors = stream(image, proxy.url(), options=options)
        assert status == 0, f"{errors} {answer}"
        expect_same(image, target.disk())
        return proxy.connections
    finally:
        proxy.close()
        target.close()
