# SPDX-License-Identifier: MIT
"""toxiproxy between the daemons and Redis, PostgreSQL and Kafka.

Built once, into the cache: deploy/local/install-go-tool.
"""

import json
import subprocess
import urllib.request

from service import die_with_parent, wait_for
from stack import ROOT


def build():
    """The program's path; a RuntimeError says what is missing."""
    made = subprocess.run([ROOT / "deploy/local/install-go-tool", "toxiproxy"],
                          check=False, text=True, stdout=subprocess.PIPE)
    if made.returncode:
        raise RuntimeError("no toxiproxy (--no-proxy does without)")
    return made.stdout.strip()


class Proxy:
    """One toxiproxy with a proxy per server: listen[name] is its port."""

    def __init__(self, port, upstreams, log):
        self._port = port
        self.listen = {name: port + 1 + i for i, name in enumerate(upstreams)}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [build(), "-host", "127.0.0.1", "-port", str(port)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                preexec_fn=die_with_parent)
        wait_for(self._is_up, 10, "toxiproxy")
        for name, upstream in upstreams.items():
            self._call("POST", "/proxies", {
                "name": name, "enabled": True,
                "listen": f"127.0.0.1:{self.listen[name]}",
                "upstream": f"127.0.0.1:{upstream}"})

    def _is_up(self):
        try:
            return self._call("GET", "/version")
        except OSError:
            return None

    def _call(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}", method=method,
            data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.read() or b" "

    def add(self, name, kind, streams, **attributes):
        for stream in streams:
            self._call("POST", f"/proxies/{name}/toxics", {
                "name": f"{kind}-{stream}", "type": kind, "stream": stream,
                "attributes": attributes})

    def remove(self, name, kind, streams):
        for stream in streams:
            self._call("DELETE", f"/proxies/{name}/toxics/{kind}-{stream}")

    def enable(self, name, enabled):
        self._call("POST", f"/proxies/{name}", {"enabled": enabled})

    def close(self):
        self._process.kill()
        self._process.wait()
