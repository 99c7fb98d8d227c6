# SPDX-License-Identifier: MIT
"""The two load generators: k6 for users who think, openload for arrivals that
wait for nobody."""

import csv
import json
import math
import os
import resource
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from target import LOCAL, ROOT

OPENLOAD = ROOT / "build/release/bench/openload"
SCRIPT = ROOT / "loadtest/k6/issue.js"
EXPECTED = {"", "SOLD_OUT", "ALREADY_ISSUED", "RATE_LIMITED"}


def children_cpu_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def k6(scenario, target, event, stem):
    """k6's summary with the CPU time it took; its report is `stem`.html."""
    program = subprocess.run([LOCAL / "install-go-tool", "k6"], check=True,
                             text=True, stdout=subprocess.PIPE).stdout.strip()
    summary = stem.with_suffix(".k6.json")
    seconds = "10s" if scenario == "soak" else "1s"
    environment = dict(
        os.environ, K6_NO_USAGE_REPORT="true", K6_AUTO_EXTENSION_RESOLUTION="false",
        K6_WEB_DASHBOARD="true", K6_WEB_DASHBOARD_PORT="-1",
        K6_WEB_DASHBOARD_PERIOD=seconds,
        K6_WEB_DASHBOARD_EXPORT=str(stem.with_suffix(".html")),
        SCENARIO=scenario, URL=target.url, EVENT=str(event.id),
        FIRST_USER=str(event.first_user), SUMMARY=str(summary))
    before = children_cpu_s()
    # k6 answers 99 when a threshold failed: the verdict says so.
    log = stem.with_suffix(".log")
    code = subprocess.run(
        [program, "run", "--quiet", f"--log-output=file={log}", SCRIPT],
        env=environment, stdin=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 99):
        raise RuntimeError(f"k6 ended with {code}: {log}")
    data = json.loads(summary.read_text())
    summary.unlink()
    outcomes = {name.removeprefix("outcome_"): metric["values"]
                for name, metric in data["metrics"].items()
                if name.startswith("outcome_")}
    return {"name": "k6", "cpu_s": children_cpu_s() - before,
            "seconds": data["state"]["testRunDurationMs"] / 1e3,
            "accepted": outcomes["accepted"]["passes"],
            "errors": data["metrics"]["errors"]["values"]["passes"],
            "shares": {name: values["rate"] for name, values in outcomes.items()},
            "summary": data}


class Record(NamedTuple):
    """One request; seconds since the begin."""

    due: float
    sent: float
    done: float
    status: int
    code: str


@dataclass
class Arrivals:
    """A run of openload."""

    records: list
    cpu_s: float
    connections: int
    begin_unix: float
    first: dict  # (status, code) -> the first body

    def ms(self, begin="due", end="done", status=None):
        """Sorted spans; latency counts from when a request was due."""
        return sorted(1e3 * (getattr(r, end) - getattr(r, begin))
                      for r in self.records if status in (None, r.status))

    def outcomes(self):
        """How many requests ended in which (status, code)."""
        return Counter((r.status, r.code) for r in self.records)

    def errors(self):
        """Neither accepted nor refused for a reason that is no fault."""
        return sum(r.status not in (202, 409, 429) or r.code not in EXPECTED
                   for r in self.records)

    def last_accept_unix(self):
        return self.begin_unix + max(
            (r.done for r in self.records if r.status == 202), default=0.0)

    def summary(self):
        """For the result file."""
        n = len(self.records)
        return {"name": "openload", "cpu_s": self.cpu_s,
                "connections": self.connections, "requests": n,
                "seconds": max(r.done for r in self.records),
                "accepted": sum(r.status == 202 for r in self.records),
                "errors": self.errors(),
                "shares": {f"{status} {code}".strip(): count / n
                           for (status, code), count in self.outcomes().items()},
                "latency_ms": spread(self.ms()),
                "accepted_ms": spread(self.ms(status=202)),
                "service_ms": spread(self.ms("sent")),
                "own_delay_ms": spread(self.ms(end="sent"))}


def percentile(ordered, percent):
    return ordered[int((len(ordered) - 1) * percent / 100)] if ordered else 0.0


def spread(ordered):
    return {f"p{q}": round(percentile(ordered, q), 3) for q in (50, 95, 99, 100)}


def start_openload(target, event, profile, log, users=10**12, connections=100,
                   first_user=1):
    """openload under way; finish_openload() is its end.

    profile: [(second, requests/s)] with straight lines between.
    """
    with tempfile.TemporaryFile("w+") as times:
        times.writelines(f"{due:.6f}\n" for due in arrivals(profile))
        times.seek(0)
        return subprocess.Popen(
            [OPENLOAD, target.host, str(target.port), str(event),
             str(first_user), str(users), str(connections), log],
            stdin=times, stdout=subprocess.PIPE, text=True)


def arrivals(profile):
    """When the requests of a profile are due."""
    k = 0.0  # requests into the segment, a part of one carried over
    for (begin, low), (end, high) in zip(profile, profile[1:]):
        n, slope = (low + high) / 2 * (end - begin), (high - low) / (end - begin)
        while k < n:
            # From k = low * t + slope * t * t / 2; this form bears slope 0.
            yield begin + 2 * k / (low + math.sqrt(low * low + 2 * slope * k) or 1)
            k += 1
        k -= n


def finish_openload(process, log):
    output = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"openload ended with {process.returncode}")
    report = json.loads(output)
    with open(log, encoding="ascii") as file:
        rows = csv.reader(file)
        next(rows)
        records = [Record(float(due), float(sent), float(done), int(status), code)
                   for due, sent, done, status, code in rows]
    return Arrivals(records, report["cpu_s"], report["connections"],
                    report["begin_unix_ms"] / 1e3,
                    {(a["status"], a["code"]): a["first"] for a in report["answers"]})
