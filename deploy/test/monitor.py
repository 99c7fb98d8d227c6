# SPDX-License-Identifier: MIT
"""What an operator gets from Prometheus and Alertmanager."""

import json
import threading
import time
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from web import request


class Prometheus:
    """The HTTP API of the one on this port."""

    def __init__(self, port):
        self.port = port

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        reply = request(self.port, "GET", f"/api/v1/{path}?{query}")
        assert reply.status == 200, reply
        return reply.json["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def firing(self):
        """The alerts that fire, as dictionaries."""
        return [alert for alert in self.ask("alerts")["alerts"]
                if alert["state"] == "firing"]


@dataclass(frozen=True)
class Message:
    """One alert in what Alertmanager sent."""

    name: str
    severity: str
    status: str   # firing or resolved
    at: float     # monotonic


class Webhook:
    """Keeps what Alertmanager sends; tells each message to `listener`."""

    def __init__(self, port, listener=None):
        self.messages = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                for alert in json.loads(self.rfile.read(length))["alerts"]:
                    labels = alert["labels"]
                    hook.messages.append(Message(
                        labels["alertname"], labels.get("severity", ""),
                        alert["status"], time.monotonic()))
                    if listener:
                        listener(hook.messages[-1])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def seen(self):
        """{(alert name, status)}"""
        return {(m.name, m.status) for m in list(self.messages)}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
