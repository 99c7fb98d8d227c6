# SPDX-License-Identifier: MIT
"""A Kubernetes API client of a few lines: JSON over one connection a thread."""

import http.client
import json
import ssl
import threading

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Kube:
    def __init__(self, pki, port):
        self._context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
        self._context.load_cert_chain(f"{pki}/admin.crt", f"{pki}/admin.key")
        self._port = port
        self._local = threading.local()

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=self._context, timeout=timeout)

    def call(self, method, path, body=None, kind="application/json"):
        """(status, object); a connection that broke while idle is replaced."""
        payload = None if body is None else json.dumps(body)
        for last in (False, True):
            try:
                if not getattr(self._local, "connection", None):
                    self._local.connection = self.connect()
                self._local.connection.request(
                    method, path, payload, {"Content-Type": kind})
                reply = self._local.connection.getresponse()
                return reply.status, json.loads(reply.read())
            except (OSError, http.client.HTTPException):
                self._local.connection = None
                if last:
                    raise

    def get(self, path):
        status, found = self.call("GET", path)
        if status != 200:
            raise LookupError(f"{path}: {status} {found.get('message')}")
        return found

    def patch_status(self, path, status):
        return self.call("PATCH", f"{path}/status", {"status": status}, STRATEGIC)

    def watch(self, path):
        """Events of a list, from its beginning, for as long as it goes."""
        connection = self.connect(timeout=None)
        try:
            found = self.get(path)
            for item in found["items"]:
                yield "ADDED", item
            version = found["metadata"]["resourceVersion"]
            sign = "&" if "?" in path else "?"
            connection.request("GET", f"{path}{sign}watch=1&resourceVersion={version}")
            for line in connection.getresponse():
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()


def is_ready(pod):
    """What a Service routes to."""
    return not pod["metadata"].get("deletionTimestamp") and any(
        c["type"] == "Ready" and c["status"] == "True"
        for c in pod.get("status", {}).get("conditions", []))
