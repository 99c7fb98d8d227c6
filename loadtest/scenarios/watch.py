# SPDX-License-Identifier: MIT
"""What the servers did during a run: sampled pools, counters before and after."""

import contextlib
import os
import threading
import time
from pathlib import Path

import verdict
from remote import (Refused, fetch_json, increase, is_restarted, quantiles, series,
                    total)

SAMPLE_S = 0.2
RSS_S = 5
TICKS = os.sysconf("SC_CLK_TCK")


class Watch:
    """A thread that samples from `with` to its end."""

    def __init__(self, target):
        self.target = target
        self.samples = []  # (seconds, active, waiting, max)
        self.rss = []      # (seconds, {daemon: MB})
        self.peak_rss = {}
        self.pids = target.pids()
        self._urls = {name: url for name, url in (
            ("api", target.metrics_url), ("consumer", target.consumer_url)) if url}
        self._remarks = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.begin = time.monotonic()
        self._before = self._counters()
        self._cpu = {name: cpu_s(pid) for name, pid in self.pids.items()}
        self._stalled = cpu_stalled_s()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.begin
        self._stop.set()
        self._thread.join()

    def _counters(self):
        return {name: series(url) for name, url in self._urls.items()}

    def _run(self):
        while not self._stop.wait(SAMPLE_S):
            self._sample(time.monotonic() - self.begin)

    def _sample(self, now):
        self._sample_rss(now)
        if not self.target.metrics_url:
            return
        try:
            pool = fetch_json(f"{self.target.metrics_url}/actuator/pools/redis",
                              token=self.target.token, timeout=2)
        except (OSError, Refused, ValueError):
            return
        self.samples.append((now, pool["active"], pool["waiting"], pool["max"]))

    def _sample_rss(self, now):
        is_due = not self.rss or now - self.rss[-1][0] >= RSS_S
        # A peak of a second is seen in /proc only: to ask a daemon costs it more.
        if not is_due and not self.pids:
            return
        found = self._rss()
        self.peak_rss |= {name: max(mb, self.peak_rss.get(name, 0))
                          for name, mb in found.items()}
        if is_due:
            self.rss.append((now, found))

    def _rss(self):
        if self.pids:
            return {name: rss_mb(self.pids[name]) for name in ("api", "consumer")}
        return {name: mb for name, values in self._counters().items()
                if (mb := _resident_mb(values))}

    def figures(self):
        """After everything has come to rest: the work is complete then."""
        to_rest = time.monotonic() - self.begin
        found = {"seconds": round(self.seconds, 1),
                 "seconds_to_rest": round(to_rest, 1),
                 "cpu_stalled_share": round(
                     (cpu_stalled_s() - self._stalled) / to_rest, 2)}
        if self.samples:
            found["pool"] = {
                "max": self.samples[-1][3],
                "peak_active": max(s[1] for s in self.samples),
                "peak_waiting": max(s[2] for s in self.samples),
                "sampled_every_ms": SAMPLE_S * 1e3}
        if self.pids:
            # All CPU counts, so all of the time does.
            found["cores"] = {
                name: round((cpu_s(pid) - self._cpu[name]) / to_rest, 3)
                for name, pid in self.pids.items() if Path(f"/proc/{pid}").exists()}
        return found | self._counted()

    def _counted(self):
        """By the daemons themselves."""
        before, after = self._before, self._counters()
        for name in self._urls:
            if not before[name] or not after[name]:
                self._remark(name, "there", f"not there: {self._urls[name]}")
                before[name] = after[name] = {}
            elif is_restarted(before[name], after[name]):
                self._remark(name, "of all the run", "it restarted: since then")
                before[name] = {}
        api, consumer = after.get("api"), after.get("consumer", {})
        return _of_daemons(before["api"], api, before.get("consumer", {}),
                           consumer) if api else {}

    def _remark(self, name, limit, value):
        self._remarks.append(verdict.Row(f"figures of the {name}", limit, value, None))

    def rows(self):
        """What there is to say of the figures()."""
        return self._remarks


def _of_daemons(api_before, api, consumer_before, consumer):
    n = increase(api_before, api, "http_server_requests_seconds_count", "issue-async")
    cpu = increase(api_before, api, "process_cpu_seconds_total")
    return {
        "requests": n,
        "api_cpu_us_per_request": round(cpu * 1e6 / n, 1) if n else None,
        "issue": {name.split('"')[1]: value - api_before.get(name, 0)
                  for name, value in api.items()
                  if name.startswith("coupon_issue_total")
                  and value > api_before.get(name, 0)},
        "time_to_issue_ms": quantiles(
            consumer_before, consumer, "coupon_time_to_issue_seconds", 50, 95, 99),
        "rows": increase(consumer_before, consumer, "coupon_rows_written_total"),
        "rss_mb": {"api": round(_resident_mb(api), 1),
                   "consumer": round(_resident_mb(consumer), 1)}}


def _resident_mb(values):
    return total(values, "process_resident_memory_bytes") / 2**20


def cpu_s(pid):
    """Of a process and its children, the ended ones too."""
    return _own_cpu_s(pid) + sum(map(_own_cpu_s, _children(pid)))


def _children(pid):
    for of_thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that just ended
            yield from of_thread.read_text().split()


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
