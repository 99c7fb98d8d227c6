# SPDX-License-Identifier: MIT
"""Load from wrk, and what the processes behind it did meanwhile."""

import itertools
import json
import os
import resource
import selectors
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
USERS_PER_RUN = 10_000_000_000
TICKS = os.sysconf("SC_CLK_TCK")
_runs = itertools.count(1)


@dataclass
class Run:
    """One run of wrk; cpu: seconds used by each process watched, from the
    first request until rest_s after the last, when nothing is left to do."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    broken: int
    not_2xx: int
    cpu: dict = field(default_factory=dict)
    rest_s: float = 0

    @property
    def rate(self):
        return self.requests / self.seconds

    @property
    def sustained(self):
        """Requests/s of which nothing piles up behind the answers."""
        return self.requests / (self.seconds + self.rest_s)

    def cores(self, name):
        return self.cpu[name] / (self.seconds + self.rest_s)

    def cpu_us(self, name):
        """CPU per request."""
        return self.cpu[name] * 1e6 / self.requests


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cores_over(pids, seconds):
    """What each of {name: pid} uses of a core, its children included."""
    before = {name: _family_seconds(pid) for name, pid in pids.items()}
    begin = time.monotonic()
    time.sleep(seconds)  # the length of the look
    took = time.monotonic() - begin
    return {name: (_family_seconds(pid) - before[name]) / took
            for name, pid in pids.items()}


def _family_seconds(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_seconds(pid) + sum(cpu_seconds(child) for child in children)


def rss_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS of {pid}")


def command(port, event, connections, seconds, limit=0, events=1, timeout=10):
    """wrk that issues requests for an event, each of a user of his own."""
    return _command(port, connections, seconds, timeout, "issue.lua", event,
                    first_user(), limit, events)


def first_user():
    """Users that no other run has, from this one on."""
    return next(_runs) * USERS_PER_RUN


def _command(port, connections, seconds, timeout, script, *arguments):
    return ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s",
            "--timeout", f"{timeout}s", "-s", SCRIPTS / script,
            f"http://127.0.0.1:{port}/", "--", *map(str, arguments)]


def parse(output):
    return Run(**json.loads(output.splitlines()[-1]))


def wrk(*arguments, **options):
    return _run(command(*arguments, **options))


def queries(processes, port, path, first, count, connections, seconds):
    """GETs of `path`, where %d runs through `count` numbers."""
    return _watched(processes, lambda: None, _command(
        port, connections, seconds, 10, "query.lua", path, first, count))


def watched(processes, settle, *arguments, **options):
    """wrk(), and the CPU of {name: pid} until settle() returns."""
    return _watched(processes, settle, command(*arguments, **options))


def _watched(processes, settle, words):
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    run = _run(words)
    ended = time.monotonic()
    settle()
    run.rest_s = time.monotonic() - ended
    for name, pid in processes.items():
        run.cpu[name] = cpu_seconds(pid) - before[name]
    return run


def _run(words):
    before = _children_seconds()
    result = subprocess.run(words, check=True, text=True,
                            stdin=subprocess.DEVNULL, capture_output=True)
    run = parse(result.stdout)
    run.cpu["wrk"] = _children_seconds() - before
    return run


def _children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# ---- exactly so many requests ----

def exactly(count, port, connections, request):
    """Send request(0) .. request(count - 1), one at a time per connection.

    For counts, not for times: it is slow.  The status of each answer.
    """
    statuses, sent = [], 0
    with selectors.DefaultSelector() as selector:
        for _ in range(min(connections, count)):
            sock = socket.create_connection(("127.0.0.1", port), 60)
            selector.register(sock, selectors.EVENT_READ)
            sock.sendall(request(sent))
            sent += 1
        while len(statuses) < count:
            for key, _ in selector.select(60):
                answer = key.fileobj.recv(65536)
                assert answer.startswith(b"HTTP/1.1 "), answer
                statuses.append(int(answer[9:12]))
                if sent < count:
                    key.fileobj.sendall(request(sent))
                    sent += 1
        for key in list(selector.get_map().values()):
            key.fileobj.close()
    return statuses


def post(event, user):
    body = b'{"couponId":%d,"userId":%d}' % (event, user)
    return (b"POST /api/user-coupons/issue-async HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body))


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
