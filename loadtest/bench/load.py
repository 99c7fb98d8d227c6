# SPDX-License-Identifier: MIT
"""Load from wrk, and what the processes behind it did meanwhile."""

import itertools
import json
import os
import resource
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "issue.lua"
USERS_PER_RUN = 10_000_000_000
TICKS = os.sysconf("SC_CLK_TCK")
_runs = itertools.count(1)


@dataclass
class Run:
    """One run of wrk; cpu: seconds used by each process watched."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    broken: int
    not_2xx: int
    cpu: dict = field(default_factory=dict)

    @property
    def rate(self):
        return self.requests / self.seconds

    def cpu_us(self, name):
        """CPU per request."""
        return self.cpu[name] * 1e6 / self.requests


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no VmRSS of {pid}")


def command(port, event, connections, seconds, limit=0, timeout=10):
    """wrk that issues requests for an event, each of a user of his own."""
    return ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s",
            "--timeout", f"{timeout}s", "-s", SCRIPT, f"http://127.0.0.1:{port}/",
            "--", str(event), str(next(_runs) * USERS_PER_RUN), str(limit)]


def parse(output):
    return Run(**json.loads(output.splitlines()[-1]))


def wrk(*arguments, **options):
    before = _children_seconds()
    result = subprocess.run(command(*arguments, **options), check=True, text=True,
                            stdin=subprocess.DEVNULL, capture_output=True)
    run = parse(result.stdout)
    run.cpu["wrk"] = _children_seconds() - before
    return run


def watched(processes, settle, *arguments, **options):
    """wrk(), and the CPU of {name: pid} until settle() returns."""
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    run = wrk(*arguments, **options)
    settle()
    for name, pid in processes.items():
        run.cpu[name] = cpu_seconds(pid) - before[name]
    return run


def _children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
