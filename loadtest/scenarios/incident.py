# SPDX-License-Identifier: MIT
"""make incident: the outage of the report, before and after its fix, as this
service is configured, and put right while it lasts; docs/incident.md."""

import json
import re
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

import draw
import generators
import queueing
import report
from chaos.proxy import Proxy
from remote import Refused, fetch_json
from table import PLENTY
from target import DIRECTORY, private_stack, wait_for
from watch import Watch

DELAY_MS = 50
# What queueing.solve() finds: requests/s, and seconds at the peak.
ORDINARY, HELD = 100, 1.37
# The live scene's load stays at the peak: nobody waits for it to pass.
STEP_AT, LIVE_SECONDS, RECOVERED_MS = 10, 75, 300

POOL, LIMITER = "redis.pool", "ratelimiter.coupon-issue"
BREAKER = "circuitbreaker.coupon-issue.enabled"
BEFORE = {
    f"{POOL}.max-active": 10, f"{POOL}.max-idle": 10, f"{POOL}.min-idle": 10,
    f"{POOL}.max-pipeline": 1, f"{POOL}.max-wait": "3s",
    "server.request-timeout": "10s", BREAKER: False, f"{LIMITER}.enabled": False}
AFTER = {**BEFORE, f"{POOL}.max-active": 50, f"{POOL}.max-idle": 50,
         f"{POOL}.min-idle": 50}
# As api.yaml ships, but for the ten connections.
OURS = {**BEFORE, f"{POOL}.max-pipeline": 64, f"{POOL}.max-wait": "500ms",
        "server.request-timeout": "1s", BREAKER: True,
        f"{LIMITER}.enabled": True, f"{LIMITER}.limit-for-period": 500}
FIX = {f"{POOL}.max-active": 50, f"{POOL}.max-idle": 50, f"{POOL}.max-pipeline": 64}


@dataclass
class Column:
    """One run, with what is said about it."""

    title: str
    arrivals: object
    samples: list
    violations: int

    def __post_init__(self):
        self.ok = self.arrivals.ms(status=202)
        self.n = len(self.arrivals.records)
        self.errors = self.arrivals.errors()

    def cells(self):
        """{name of a row: (value, text)}."""
        def at(percent):
            value = generators.percentile(self.ok, percent)
            return value, f"{value:,.0f} ms"
        limited = sum(r.status == 429 for r in self.arrivals.records)
        active, most = max((s[1], s[3]) for s in self.samples)
        waiting = max(s[2] for s in self.samples)
        return {
            "p50": at(50), "p95": at(95), "p99": at(99),
            "error rate": _share(self.errors, self.n),
            "refused at once (429)": _share(limited, self.n),
            "success rate": _share(len(self.ok), self.n),
            "max accepted/s": _max_rps(self.arrivals.records),
            "pool use": (active / most, f"{active} of {most}"),
            "waiting for a connection": (waiting, f"{waiting:,}"),
            "violations": (self.violations, str(self.violations))}

    def error_text(self):
        """What most of those that failed were told."""
        failed = Counter({key: n for key, n in self.arrivals.outcomes().items()
                          if key[0] not in (202, 409, 429)})
        if not failed:
            return ""
        return self.arrivals.first[failed.most_common(1)[0][0]] or "no answer"


def _share(n, total):
    return n / total, f"{n / total:.1%}"


def _max_rps(records):
    most = max(Counter(int(r.done) for r in records if r.status == 202).values())
    return most, f"{most:,}"


# ---- the runs ----

def measure(target, title, settings, profile, meanwhile=None):
    """A column; meanwhile(begin) runs in a thread beside the load."""
    print(f"{title} ...", flush=True)
    target.set(settings)
    event = target.new_event(title, PLENTY)
    log = DIRECTORY / "incident.csv"
    thread = threading.Thread(target=meanwhile or (lambda: None), daemon=True)
    with Watch(target) as watch:
        process = generators.start_openload(target, event, profile, log)
        thread.start()
        arrivals = generators.finish_openload(process, log)
    thread.join()
    settled = target.settle(event)
    found = target.verify()["violations"]
    accepted = len(arrivals.ms(status=202))
    # Who got no answer may have a coupon; who was told so must.
    if not accepted <= settled["issued"] <= accepted + arrivals.errors():
        found += 1
    return Column(title, arrivals, watch.samples, found)


class Operator:
    """Waits for the page and does what the runbook says; when, in seconds."""

    def __init__(self, target, alertmanager_port):
        self._target = target
        self._url = f"http://127.0.0.1:{alertmanager_port}/api/v2/alerts"
        self.paged = self.fixed = None

    def __call__(self):
        begin = time.monotonic()
        wait_for(self._is_paged, LIVE_SECONDS - 20, "the page")
        self.paged = time.monotonic() - begin
        self._target.set(FIX)
        self.fixed = time.monotonic() - begin

    def _is_paged(self):
        try:
            return any(alert["labels"]["alertname"] == "RedisPoolExhausted"
                       for alert in fetch_json(self._url))
        except (OSError, Refused):
            return False


def live(target, alertmanager_port):
    """(column, seconds of page, reload and recovery)."""
    operator = Operator(target, alertmanager_port)
    peak = queueing.PEAK
    column = measure(target, "live", BEFORE, [
        (0, ORDINARY), (STEP_AT, ORDINARY), (STEP_AT + 1, peak),
        (LIVE_SECONDS - 10, peak), (LIVE_SECONDS - 9, ORDINARY),
        (LIVE_SECONDS, ORDINARY)], operator)
    return column, operator.paged, operator.fixed, recovered(
        column.arrivals.records, operator.fixed)


def recovered(records, since):
    """The end of the last request after `since` that failed or was slow."""
    return max((r.done for r in records if r.due >= since and (
        r.status != 202 or r.done - r.due > RECOVERED_MS / 1e3)), default=since)


# ---- what is shown ----

REPORT = {"p95": "2,500 ms", "error rate": "8.5%", "success rate": "91.5%",
          "pool use": "10 of 10"}


def table(title, heads, rows):
    """Markdown."""
    return "\n".join([f"### {title}", "", "| | " + " | ".join(heads) + " |",
                      "|---" + "|--:" * len(heads) + "|",
                      *("| " + " | ".join(row) + " |" for row in rows), ""])


def change(value, base):
    return f" ({(value - base) / base:+.0%})" if base else ""


def pool_error(target):
    """How the api's log puts it, the last time."""
    found = re.findall(r'thread=http.*error="(Unable to acquire connection from pool'
                       r'[^"]*)"', (target.dir / "api.log").read_text(errors="replace"))
    if not found:
        raise RuntimeError("the pool did not run dry: its error is not in the log")
    return found[-1]


def tables(before, said, columns, scene):
    first = before.cells()
    others = [column.cells() for column in columns]
    _, paged, fixed, well = scene
    return "\n".join([
        table("3.2 The incident", ("report", "replayed"), [
            (name, REPORT.get(name, "-"), text) for name, (_, text) in first.items()]),
        f"The api's log:\n\n```\n{said}\n```\n\nThe clients were told:\n\n"
        f"```json\n{before.error_text()}\n```\n",
        table("5.1 Before and after", ("before", *(c.title for c in columns)), [
            (name, text, *(other[name][1] + change(other[name][0], value)
                           for other in others))
            for name, (value, text) in first.items()]),
        table("Put right while it lasts", ("s",), [
            ("from the load to the page", f"{paged - STEP_AT:.1f}"),
            ("from the page to the reload being done", f"{fixed - paged:.1f}"),
            ("from the reload to the last failed or slow request", f"{well - fixed:.1f}"),
        ])])


def about():
    origin = report.machine()
    return (f"Commit {report.commit()}, {origin['cores']} cores of {origin['cpu']}, "
            f"load {origin['load']:.1f}. Offered: {ORDINARY} requests/s, for "
            f"{HELD} s {queueing.PEAK}/s; Redis {DELAY_MS} ms away.\n")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    load = queueing.profile(ORDINARY, HELD)
    with private_stack() as target:
        target.start("redis", "postgres", "kafka", "consumer")
        proxy = Proxy(target.spare_port, {"redis": target.redis_port},
                      DIRECTORY / "toxiproxy.log")
        try:
            proxy.add("redis", "latency", ["downstream"], latency=DELAY_MS)
            target.start("api", LOCAL_REDIS_PORT=str(proxy.listen["redis"]))
            before = measure(target, "before", BEFORE, load)
            said = pool_error(target)
            columns = [measure(target, title, settings, load) for title, settings in (
                ("after: 50 connections", AFTER), ("ours: 10 pipelined", OURS))]
            target.start("prometheus", "alertmanager")
            scene = live(target, target.alertmanager_port)
        finally:
            proxy.close()
    show(before, said, columns, scene)
    sys.exit(any(column.violations for column in (before, *columns, scene[0])))


def show(before, said, columns, scene):
    print(about() + "\n" + tables(before, said, columns, scene))
    _draw("incident", [before, *columns], window=(15, 45))
    # The reload follows the page at once, and recovery the reload.
    _draw("incident-live", [scene[0]], [
        ("live", STEP_AT, "load"), ("live", scene[2], "page, reload")])
    (DIRECTORY / "incident.json").write_text(json.dumps({
        column.title: {name: text for name, (_, text) in column.cells().items()}
        for column in (before, *columns, scene[0])}, indent=1) + "\n")


def _draw(name, columns, marks=(), **options):
    figure = draw.timeline({c.title: (c.arrivals.records, c.samples)
                            for c in columns}, marks, **options)
    path = DIRECTORY / f"{name}.png"
    draw.png(path, figure)
    print(path)


if __name__ == "__main__":
    main()
