# SPDX-License-Identifier: MIT
"""HTTP as the tests need it: one request, raw bytes, and load.

The load client keeps its connections open, sends one request at a time on
each, and records for every user what was answered and when.
"""

import asyncio
import http.client
import itertools
import json
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from stack import ROOT, die_with_parent

ISSUE = "/api/user-coupons/issue-async"


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, timeout=10,
            host="127.0.0.1"):
    """One request on a connection of its own; a dict is sent as JSON."""
    headers = dict(headers or {})
    if isinstance(body, dict):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return Reply(reply.status, _lower(reply.getheaders()), reply.read())
    finally:
        connection.close()


def raw(port, data, timeout=5):
    """Send these bytes; everything that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(data)
        chunks = []
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks)


def statuses(data):
    """The status codes of the replies in `data`, one after the other."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        found.append(int(head.split()[1]))
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        data = data[length:]
    return found


def _lower(headers):
    return {name.lower(): value for name, value in headers}


@dataclass
class Answer:
    """The last word on one user's request; status 0: none came."""

    user: int
    status: int = 0
    body: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)
    sent: float = 0.0
    done: float = 0.0
    tries: int = 0
    error: str = ""


class Wrk:
    """Issue requests as fast as `connections` get answers, each of a user of
    his own: loadtest/issue.lua in wrk, far faster than Load."""

    SCRIPT = ROOT / "loadtest/issue.lua"
    runs = itertools.count(1)

    def __init__(self, port, event, connections=16, threads=1):
        self._process = subprocess.Popen(
            ["wrk", "-t", str(threads), "-c", str(connections), "-d", "10m",
             "--timeout", "10s", "-s", self.SCRIPT, f"http://127.0.0.1:{port}/",
             "--", str(event), str(next(self.runs) * 10 ** 12)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)

    def stop(self):
        """{requests, seconds, p50_ms, p99_ms, broken, not_2xx}"""
        self._process.send_signal(signal.SIGINT)
        output, _ = self._process.communicate(timeout=30)
        return json.loads(output.splitlines()[-1])


class Load:
    """Issue requests of many users at once, in a thread of its own.

    `keys`: every user sends an Idempotency-Key, and repeats his request on
    another port when the connection breaks or the answer is 503.
    """

    def __init__(self, ports, event, users, connections=64, rate=None,
                 keys=False, patience=30.0):
        self.ports, self.event = list(ports), event
        self.users = iter(users)
        self.connections, self.rate, self.keys = connections, rate, keys
        self.patience = patience
        self.answers = []
        self._stop = False
        self._next_slot = 0.0
        self._executor = ThreadPoolExecutor(1)
        self._future = self._executor.submit(asyncio.run, self._run())

    def stop(self):
        """Send no further request; those on their way are waited for."""
        self._stop = True
        return self.join()

    def join(self, timeout=120):
        try:
            self._future.result(timeout)
        finally:
            self._stop = True
            self._executor.shutdown()
        return self.answers

    def count(self, status):
        return sum(answer.status == status for answer in list(self.answers))

    async def _run(self):
        self._next_slot = time.monotonic()
        await asyncio.gather(*(self._worker(n) for n in range(self.connections)))

    async def _worker(self, number):
        connection = Connection()
        while not self._stop:
            user = next(self.users, None)
            if user is None:
                break
            await self._pace()
            answer = Answer(user)
            await self._issue(connection, number, answer)
            self.answers.append(answer)
        connection.close()

    async def _pace(self):
        if self.rate:
            slot, self._next_slot = self._next_slot, max(
                self._next_slot, time.monotonic() - 1) + 1 / self.rate
            await asyncio.sleep(max(0, slot - time.monotonic()))

    async def _issue(self, connection, number, answer):
        begin = answer.sent = time.monotonic()
        while True:
            port = self.ports[(number + answer.tries) % len(self.ports)]
            answer.tries += 1
            try:
                status, headers, body = await connection.post(
                    port, ISSUE, self._body(answer.user), self._key(answer.user))
                answer.status, answer.headers, answer.body = status, headers, body
                answer.error = ""
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                connection.close()
                answer.status, answer.error = 0, repr(error)
            answer.done = time.monotonic()
            final = answer.status not in (0, 503)
            if final or not self.keys or answer.done - begin > self.patience:
                return
            await asyncio.sleep(0.05)

    def _body(self, user):
        return b'{"couponId":%d,"userId":%d}' % (self.event, user)

    def _key(self, user):
        return b"Idempotency-Key: k%d\r\n" % user if self.keys else b""


class Connection:
    """One keep-alive connection of an asyncio client; closed on any error."""

    def __init__(self):
        self.port = None
        self.reader = self.writer = None

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None

    async def post(self, port, path, body, extra):
        if self.writer is None or self.port != port:
            self.close()
            self.reader, self.writer = await asyncio.wait_for(
                asyncio.open_connection("127.0.0.1", port), 5)
            self.port = port
        self.writer.write(
            b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"%sContent-Length: %d\r\n\r\n%s"
            % (path.encode(), extra, len(body), body))
        return await asyncio.wait_for(self._reply(), 15)

    async def _reply(self):
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = _lower(line.split(": ", 1) for line in lines[1:] if line)
        body = await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), headers, json.loads(body)
