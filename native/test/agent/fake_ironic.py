"""The appliance's side of the agent protocol, as little of it as the agent uses, on 127.0.0.1."""

import http.server
import json
import threading
import urllib.parse

TOKEN = "t0ken-" + "a" * 40


class FakeIronic:
    """Records what it is asked; answers as its fields say. The fields may be changed while it runs."""

    def __init__(self, port=0):
        self.version = "1.93"
        self.token = TOKEN
        self.lookup_status = 200
        self.heartbeat_status = 202
        self.inspection_status = 202
        self.heartbeat_timeout = 2
        self.requests = []  # (method, path, query, headers, body)
        self.changed = threading.Condition()
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, document=None):
                body = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                if body:
                    self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle_one(self):
                url = urllib.parse.urlsplit(self.path)
                length = int(self.headers.get("Content-Length", 0))
                text = self.rfile.read(length) if length else b""
                body = json.loads(text) if text else None
                query = urllib.parse.parse_qs(url.query)
                with fake.changed:
                    fake.requests.append((self.command, url.path, query, dict(self.headers), body))
                    fake.changed.notify_all()
                if url.path == "/":
                    return self.answer(200, {"default_version": {"id": "v1", "version": fake.version, "min_version": "1.1"}})
                if url.path == "/v1/lookup":
                    if fake.lookup_status != 200:
                        return self.answer(fake.lookup_status, {"error_message": json.dumps({"faultstring": "not now"})})
                    return self.answer(200, {
                        "node": {"uuid": "1be26c0b-03f2-4d2e-ae87-c02d7f33c123", "properties": {}},
                        "config": {"heartbeat_timeout": fake.heartbeat_timeout, "agent_token": fake.token, "agent_token_required": True},
                    })
                if url.path.startswith("/v1/heartbeat/"):
                    status = fake.heartbeat_status
                    return self.answer(status, None if status == 202 else {"error_message": json.dumps({"faultstring": "no"})})
                if url.path == "/v1/continue_inspection":
                    return self.answer(fake.inspection_status)
                return self.answer(404)

            do_GET = handle_one
            do_POST = handle_one

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # an agent that is stopped hangs up in the middle of an answer
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def of(self, path):
        with self.changed:
            return [one for one in self.requests if one[1].startswith(path)]

    def wait_for(self, path, count=1, seconds=30):
        """The requests to a path, when there are so many."""
        with self.changed:
            if not self.changed.wait_for(lambda: sum(one[1].startswith(path) for one in self.requests) >= count, seconds):
                raise AssertionError(f"no {count} requests to {path} within {seconds} s; got {[one[:2] for one in self.requests]}")
        return self.of(path)
