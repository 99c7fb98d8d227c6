# SPDX-License-Identifier: MIT
"""Clients that keep a journal of every answer.

Most requests are of new users.  A client whose connection breaks or who is
told 503 asks again with the same Idempotency-Key, on the other api, for as
long as his patience lasts.  Some users ask twice: with the same key (the same
answer is due) or with another (at most one coupon is).
"""

import asyncio
import itertools
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from web import ISSUE, Connection

PATIENCE_S = 20
ANSWER_TIMEOUT_S = 15
CORES = os.cpu_count()


def crowd():
    """Runnable threads per core, at least 1: how much longer all takes."""
    with open("/proc/loadavg") as loadavg:
        runnable = int(loadavg.read().split()[3].partition("/")[0])
    return max(1.0, runnable / CORES)


@dataclass
class Try:
    """One request and its answer; status 0: none came."""

    event: int
    user: int
    key: str      # "" without Idempotency-Key
    port: int
    sent: float   # wall clock, comparable to Redis TIME
    took: float = 0.0
    status: int = 0
    code: str = ""
    outcome: str = ""
    reason: str = ""
    request: str = ""
    seq: int = 0
    error: str = ""

    @property
    def done(self):
        return self.sent + self.took

    def is_refused(self):
        """Told, without doubt, that nothing happened."""
        return 400 <= self.status < 500 or self.outcome == "REFUSED"


class Journal:
    """Every Try, in memory and in a file of JSON lines."""

    def __init__(self, path):
        self._file = path.open("w")
        self._lock = threading.Lock()
        self.tries = []

    def add(self, entry):
        with self._lock:
            self.tries.append(entry)
            self._file.write(json.dumps(asdict(entry)) + "\n")

    def close(self):
        self._file.close()


class Load:
    """Requests at `rate` a second for `events`, until stopped.

    events: [(id, weight, keyed)].  A thread of its own; lag is the longest
    its loop came late, by which answers seem to have taken longer, crowds
    [(time, crowd())] what the machine was busy with.
    """

    users = itertools.count(1)  # of all loads: a user is of one event

    def __init__(self, ports, events, rate, seed, journal, connections=48):
        self._ports, self._rate, self._journal = ports, rate, journal
        self._random = random.Random(seed)
        self._events, self._weights = events, [e[1] for e in events]
        self._n = connections
        self._known = []  # (event, user, key) of earlier requests
        self._stop = False
        self._slot = 0.0
        self.lag, self.crowds = 0.0, []
        self._executor = ThreadPoolExecutor(1)
        self._future = self._executor.submit(asyncio.run, self._run())

    def stop(self):
        """Send no new request; those on their way end."""
        self._stop = True
        try:
            self._future.result(PATIENCE_S + ANSWER_TIMEOUT_S + 10)
        finally:
            self._executor.shutdown(wait=False)

    async def _run(self):
        self._slot = time.monotonic()
        watch = asyncio.ensure_future(self._watch_lag())
        await asyncio.gather(*(self._client(i) for i in range(self._n)))
        watch.cancel()

    async def _watch_lag(self):
        while True:
            begin = time.monotonic()
            self.crowds.append((time.time(), crowd()))
            await asyncio.sleep(0.05)
            self.lag = max(self.lag, time.monotonic() - begin - 0.05)

    async def _client(self, number):
        connection = Connection()
        while not self._stop:
            slot, self._slot = self._slot, max(
                self._slot, time.monotonic() - 0.5) + 1 / self._rate
            await asyncio.sleep(max(0, slot - time.monotonic()))
            await self._issue(connection, number, *self._choose())
        connection.close()

    def _choose(self):
        dice = self._random.random()
        if self._known and dice < 0.1:
            event, user, key = self._random.choice(self._known)
            return event, user, key if dice < 0.04 else f"again-{key}"
        (event, _, keyed), = self._random.choices(self._events, self._weights)
        user = next(Load.users)
        key = f"k{self._random.getrandbits(64):016x}" if keyed else ""
        if keyed:
            self._known.append((event, user, key))
        return event, user, key

    async def _issue(self, connection, number, event, user, key):
        give_up = time.monotonic() + PATIENCE_S
        while True:
            port = self._ports[number % len(self._ports)]
            entry = await ask(connection, port, event, user, key)
            self._journal.add(entry)
            final = entry.status not in (0, 503)
            if final or not key or time.monotonic() > give_up:
                return
            number += 1
            await asyncio.sleep(self._random.uniform(0.1, 0.5))


async def ask(connection, port, event, user, key):
    """One request as a Try."""
    entry = Try(event, user, key, port, time.time())
    begin = time.monotonic()
    extra = b"Idempotency-Key: %s\r\n" % key.encode() if key else b""
    try:
        entry.status, _, body = await asyncio.wait_for(connection.post(
            port, ISSUE, b'{"couponId":%d,"userId":%d}' % (event, user),
            extra), ANSWER_TIMEOUT_S)
        entry.code, entry.outcome = body.get("code", ""), body.get("outcome", "")
        entry.reason = body.get("reason") or ""
        entry.request = body.get("requestId", "")
        entry.seq = body.get("seq", 0)
    except (OSError, EOFError, asyncio.TimeoutError) as error:
        connection.close()
        entry.error = repr(error)
    entry.took = time.monotonic() - begin
    return entry
