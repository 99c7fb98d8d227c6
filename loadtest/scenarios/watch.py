# SPDX-License-Identifier: MIT
"""What the servers did during a run: sampled pools, counters before and after."""

import os
import threading
import time
from pathlib import Path

from remote import Refused, fetch_json, increase, quantiles, series, total

SAMPLE_S = 0.2
TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """A thread that samples from `with` to its end."""

    def __init__(self, target):
        self.target = target
        self.samples = []  # (seconds, active, waiting, max)
        self.rss = []      # (seconds, {process: MB})
        self.pids = target.pids()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.begin = time.monotonic()
        self._api = series(self.target.metrics_url) if self.target.metrics_url else {}
        self._consumer = self._consumers()
        self._cpu = {name: cpu_s(pid) for name, pid in self.pids.items()}
        self._stalled = cpu_stalled_s()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.begin
        self._stop.set()
        self._thread.join()

    def _consumers(self):
        return series(self.target.consumer_url) if self.target.consumer_url else {}

    def _run(self):
        while not self._stop.wait(SAMPLE_S):
            self._sample(time.monotonic() - self.begin)

    def _sample(self, now):
        if not self.rss or now - self.rss[-1][0] >= 5:
            self.rss.append((now, {name: rss_mb(self.pids[name])
                                   for name in ("api", "consumer") if name in self.pids}))
        if not self.target.metrics_url:
            return
        try:
            pool = fetch_json(f"{self.target.metrics_url}/actuator/pools/redis",
                              token=self.target.token, timeout=2)
        except (OSError, Refused):
            return
        self.samples.append((now, pool["active"], pool["waiting"], pool["max"]))

    def figures(self):
        """After everything has come to rest: the work is complete then."""
        found = {"seconds": round(self.seconds, 1),
                 "cpu_stalled_share": round(
                     (cpu_stalled_s() - self._stalled) / self.seconds, 2)}
        if self.samples:
            found["pool"] = {
                "max": self.samples[-1][3],
                "peak_active": max(s[1] for s in self.samples),
                "peak_waiting": max(s[2] for s in self.samples),
                "sampled_every_ms": SAMPLE_S * 1e3}
        if self._api:
            found |= self._server()
        return found

    def _server(self):
        api, consumer = series(self.target.metrics_url), self._consumers()
        n = increase(self._api, api, "http_server_requests_seconds_count",
                     "issue-async")
        cpu = increase(self._api, api, "process_cpu_seconds_total")
        found = {
            "requests": n,
            "api_cpu_us_per_request": round(cpu * 1e6 / n, 1) if n else None,
            "issue": {name.split('"')[1]: value - self._api.get(name, 0)
                      for name, value in api.items()
                      if name.startswith("coupon_issue_total")
                      and value > self._api.get(name, 0)},
            "time_to_issue_ms": quantiles(
                self._consumer, consumer, "coupon_time_to_issue_seconds", 50, 95, 99),
            "rows": increase(self._consumer, consumer, "coupon_rows_written_total"),
            "rss_mb": {"api": round(total(api, "process_resident_memory_bytes") / 2**20, 1),
                       "consumer": round(total(
                           consumer, "process_resident_memory_bytes") / 2**20, 1)}}
        if self.pids:
            found["cores"] = {
                name: round((cpu_s(pid) - self._cpu[name]) / self.seconds, 3)
                for name, pid in self.pids.items()}
        return found


def cpu_s(pid):
    """Of a process and its children, the ended ones too."""
    return _own_cpu_s(pid) + sum(
        _own_cpu_s(int(child)) for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split())


def _own_cpu_s(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICKS


def rss_mb(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def cpu_stalled_s():
    """How long something on this machine has waited for a CPU."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(line.rpartition("total=")[2]) / 1e6
