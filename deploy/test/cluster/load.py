#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Users, in an open loop: each asks once for a coupon, at its own time.

A new connection goes to one of the addresses in a file, which somebody keeps
as a Service's endpoints are; it is kept for 100 requests, whatever becomes of
the endpoint meanwhile, as connections through a Service are.  They take turns,
and SPARE of them always wait for theirs.  Told on standard input: `RATE`
requests a second from now on, or `end`.  Prints a line of JSON for each second,
and one in sum.

    load.py ENDPOINTS COUPON SPARE
"""

import asyncio
import json
import sys
import time
from collections import Counter, deque
from pathlib import Path

TIMEOUT_S = 5
IN_FLIGHT = 3000
REQUESTS = 100  # on one connection
BODY = b'{"couponId":%d,"userId":%d}'
REQUEST = (b"POST /api/user-coupons/issue-async HTTP/1.1\r\nHost: coupon\r\n"
           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s")


class Connection(asyncio.Protocol):
    """One request at a time, kept as long as the server keeps it."""

    def __init__(self):
        self.reply, self.data, self.open, self.asked = None, b"", False, 0

    def connection_made(self, transport):
        self.transport, self.open = transport, True

    def connection_lost(self, error):
        self.open = False
        if self.reply and not self.reply.done():
            self.reply.set_exception(error or ConnectionResetError("closed unanswered"))

    def data_received(self, data):
        self.data += data
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return
        head = head.lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.data = b""
        if b"connection: close" in head:
            self.open = False
            self.transport.close()
        if not self.reply.done():
            self.reply.set_result((int(head[9:12]), body))

    async def ask(self, request):
        self.reply = asyncio.get_running_loop().create_future()
        self.asked += 1
        self.transport.write(request)
        return await asyncio.wait_for(self.reply, TIMEOUT_S)


class Users:
    def __init__(self, endpoints, coupon, spare):
        self.endpoints, self.coupon = Path(endpoints), int(coupon)
        self.spare = int(spare)
        self.rate, self.ended = 0, False
        self.targets, self.idle = [], deque()
        self.user, self.turn = 0, 0
        self.asking = set()
        self.answers, self.times = Counter(), []
        self.total, self.all_times = Counter(), []

    def _say(self, line):
        if line.strip() in ("end", ""):
            self.ended = True
        else:
            self.rate = float(line)

    async def _connection(self):
        while len(self.idle) > self.spare:
            connection = self.idle.popleft()
            if connection.open:
                return connection
        self.turn += 1
        host, port = self.targets[self.turn % len(self.targets)]
        _, connection = await asyncio.wait_for(
            asyncio.get_running_loop().create_connection(Connection, host, port),
            TIMEOUT_S)
        return connection

    def _keep(self, connection):
        if connection.open and connection.asked < REQUESTS:
            self.idle.append(connection)
        else:
            connection.transport.close()

    async def _one(self, user, due):
        try:
            connection = await self._connection()
            body = BODY % (self.coupon, user)
            answer = outcome(*await connection.ask(REQUEST % (len(body), body)))
            self._keep(connection)
        except (OSError, asyncio.TimeoutError) as error:
            answer = f"failed: {type(error).__name__}"
        self.answers[answer] += 1
        self.times.append(time.perf_counter() - due)

    async def _look(self):
        """Who is to be asked; nobody keeps a connection to who is not."""
        while True:
            try:
                found = json.loads(self.endpoints.read_text())
            except (OSError, ValueError):
                found = None
            if found is not None:
                self.targets = [tuple(target) for target in found]
            await asyncio.sleep(0.1)

    def _send(self, due):
        if not self.targets or len(self.asking) > IN_FLIGHT:
            self.answers["failed: not sent"] += 1
            return
        self.user += 1
        task = asyncio.ensure_future(self._one(self.user, due))
        self.asking.add(task)
        task.add_done_callback(self.asking.discard)

    def _print(self, second):
        self.times.sort()
        print(json.dumps({
            "second": second, "time": time.time(), "rate": self.rate,
            "endpoints": len(self.targets),
            "answers": self.answers, **quantiles(self.times)}), flush=True)
        self.total.update(self.answers)
        self.all_times += self.times
        self.answers, self.times = Counter(), []

    async def run(self):
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin, lambda: self._say(sys.stdin.readline()))
        look = asyncio.ensure_future(self._look())
        began = last = time.perf_counter()
        owed, second = 0.0, 0
        while not self.ended:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            owed += (now - last) * self.rate
            last = now
            while owed >= 1:
                owed -= 1
                self._send(now)
            if now - began >= second + 1:
                second += 1
                self._print(second)
        if self.asking:
            await asyncio.wait(self.asking, timeout=TIMEOUT_S)
        look.cancel()
        self._print(second + 1)
        self.all_times.sort()
        print(json.dumps({"users": self.user, "total": self.total,
                          **quantiles(self.all_times)}), flush=True)


def outcome(status, reply):
    if status == 202:
        return "accepted"
    code = json.loads(reply).get("code", "") if reply else ""
    if (status, code) == (409, "SOLD_OUT"):
        return "sold out"
    return f"failed: {status} {code}"


def quantiles(times):
    return {f"p{q}": round(times[int(len(times) * q / 100)] * 1000, 1)
            for q in (50, 95, 99)} if times else {}


if __name__ == "__main__":
    asyncio.run(Users(*sys.argv[1:]).run())
