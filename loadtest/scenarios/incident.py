# SPDX-License-Identifier: MIT
"""make incident: the outage of the report, before and after its fix, as this
service is configured, and put right while it lasts; docs/incident.md."""

import json
import re
import signal
import sys
import threading
import time

import columns
import draw
import generators
import queueing
import report
from chaos.proxy import Proxy
from columns import Column, Scene
from remote import Refused, fetch_json
from table import PLENTY
from target import DIRECTORY, private_stack, wait_for
from watch import Watch

DELAY_MS = 50
# What queueing.solve() finds: requests/s, and seconds at the peak.
ORDINARY, HELD = 100, 1.37
# The live scene's load stays at the peak: nobody waits for it to pass.
STEP_AT, LIVE_SECONDS = 10, 75

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


# ---- the runs ----

def measure(target, title, settings, profile, meanwhile=None):
    """A column and the time.monotonic() of its begin; meanwhile() runs in a
    thread beside the load."""
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
    # The generator connects first: its clock begins after the others'.
    begin = arrivals.begin_unix - time.time() + time.monotonic()
    samples = [(second + watch.begin - begin, *rest)
               for second, *rest in watch.samples]
    issued = target.settle(event)["issued"]
    return Column(title, arrivals, samples, *columns.audited(
        target.verify(), issued, arrivals)), begin


class Operator:
    """Waits for the page and does what the runbook says: when, by
    time.monotonic(), or the trouble it had."""

    def __init__(self, target, alertmanager_port, patience_s=LIVE_SECONDS - 20):
        self._target, self._patience_s = target, patience_s
        self._url = f"http://127.0.0.1:{alertmanager_port}/api/v2/alerts"
        self.paged = self.asked = self.reloaded = None
        self.trouble = ""

    def __call__(self):
        try:
            wait_for(self._is_paged, self._patience_s, f"the page ({columns.ALERT})")
            self.paged = time.monotonic()
            self._target.write(FIX)
            self.asked = time.monotonic()
            self._target.refresh(self._target.url)
            self.reloaded = time.monotonic()
        except (OSError, Refused) as error:  # a TimeoutError is an OSError
            self.trouble = f"not repaired: {error}"

    def _is_paged(self):
        try:
            return any(alert["labels"]["alertname"] == columns.ALERT
                       for alert in fetch_json(self._url))
        except (OSError, Refused):
            return False

    def times(self, begin):
        return [at and at - begin for at in (self.paged, self.asked, self.reloaded)]


def live(target, alertmanager_port):
    operator = Operator(target, alertmanager_port)
    peak = queueing.PEAK
    column, begin = measure(target, "live", BEFORE, [
        (0, ORDINARY), (STEP_AT, ORDINARY), (STEP_AT + 1, peak),
        (LIVE_SECONDS - 10, peak), (LIVE_SECONDS - 9, ORDINARY),
        (LIVE_SECONDS, ORDINARY)], operator)
    return Scene(column, STEP_AT, *operator.times(begin), operator.trouble)


def pool_error(target):
    """How the api's log puts it, the last time; "" if it never does."""
    found = re.findall(rf'thread=http.*error="({columns.ERROR_TEXT}[^"]*)"',
                       (target.dir / "api.log").read_text(errors="replace"))
    return found[-1] if found else ""


# ---- what is shown ----

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
            before, _ = measure(target, "before", BEFORE, load)
            said = pool_error(target)
            after, _ = measure(target, "after: 50 connections", AFTER, load)
            ours, _ = measure(target, "ours: 10 pipelined", OURS, load)
            show(said, before, after, ours)
            target.start("prometheus", "alertmanager")
            scene = live(target, target.alertmanager_port)
        finally:
            proxy.close()
    show_live(before, after, ours, scene)
    missing = columns.unmet(before, said, after, ours, scene)
    for line in missing:
        print(f"NOT MET: {line}")
    sys.exit(bool(missing))


def show(said, *runs):
    """Before the live scene, which can go wrong in more ways."""
    print(about(), columns.incident(runs[0], said), columns.comparison(*runs), sep="\n")
    _draw("incident", runs, window=(15, 45))
    _write(runs)


def show_live(before, after, ours, scene):
    print(columns.comparison(before, after, ours, live=scene.column),
          columns.repair(scene), sep="\n")
    marks = [("live", STEP_AT, "load")]
    if scene.reloaded is not None:
        # The reload follows the page at once, and recovery the reload.
        marks.append(("live", scene.asked, "page, reload"))
    _draw("incident-live", [scene.column], marks)
    _write((before, after, ours, scene.column))


def _write(runs):
    (DIRECTORY / "incident.json").write_text(json.dumps({
        column.title: {name: text for name, (_, text) in column.cells().items()}
        for column in runs}, indent=1) + "\n")


def _draw(name, runs, marks=(), **options):
    figure = draw.timeline({run.title: (run.arrivals.records, run.samples)
                            for run in runs}, marks, **options)
    path = DIRECTORY / f"{name}.png"
    draw.png(path, figure)
    print(path)


if __name__ == "__main__":
    main()
