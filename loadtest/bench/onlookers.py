# SPDX-License-Identifier: MIT
"""Who looks on: what a request takes while somebody scrapes, or has consoles
open.  How much of a difference is noise, nobody over nobody says."""

import contextlib
import http.client
import os
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import load
from bench import DIRECTORY, PATIENT, endless_event
from browser import browsing
from generators import finish_openload, percentile, start_openload
from queries import issued
from report import Figure, around, p99_ms

RATE = 1000  # requests/s, a tenth of what two cores carry
SCRAPES = 100  # a second
SCRAPER = f"{SCRAPES} scrapes/s"
CONSOLES = 5
RECORDED_S = 10  # of one console
SHOWN = 500  # coupons, of which the console tells how long they took


@dataclass
class Run:
    p50_ms: float
    p99_ms: float
    cpu_s: float  # of the api
    asked: int  # by who looks on


def onlookers(bench):
    """p99 of issue requests while somebody scrapes or has consoles open."""
    management = bench.stack.spare_port
    with bench.service() as service:
        apart = service.api(ready=False, management__port=management, **PATIENT)
        shared = service.api(**PATIENT)
        consumer = service.consumer()
        issued(service, shared, SHOWN)  # what the consoles show
        consumer.stop()
        event = endless_event(service, shared)
        yield from _looked_at(bench, apart, event, management, "management.port")
        yield from _looked_at(bench, shared, event, shared.port, "server.port")


def _looked_at(bench, api, event, port, where):
    cases = {
        "nobody": ([], 1, 0),
        "nobody again": ([], 1, 0),
        SCRAPER: ([(0, "/actuator/prometheus")], 1 / SCRAPES, 1),
        f"{CONSOLES} consoles": (_recorded(port), RECORDED_S, CONSOLES),
    }
    _run(bench, api, event, _Onlookers(port, *cases["nobody"]))  # warms up
    runs = {name: [] for name in cases}
    for round_ in range(bench.rounds):
        # To and fro, so that a drift of the machine is nobody's.
        for name in list(cases)[::-1 if round_ % 2 else 1]:
            runs[name].append(_run(bench, api, event, _Onlookers(port, *cases[name])))
    quiet = runs.pop("nobody")
    yield from (_latency(f"{name} on {where}", some, quiet)
                for name, some in runs.items())
    yield Figure(
        f"CPU of the api per scrape of everything, {where}", "ms", "< 2",
        [(a.cpu_s - b.cpu_s) / a.asked * 1e3 for a, b in zip(runs[SCRAPER], quiet)])


def _latency(name, runs, quiet):
    def p50_ms(run):
        return run.p50_ms
    return Figure(
        f"p99 of issue requests, {RATE:,}/s: {name} over nobody",
        "x", "", [a.p99_ms / b.p99_ms for a, b in zip(runs, quiet)],
        f"{around(runs, p99_ms)} over {around(quiet, p99_ms, ' ms')}, p50 "
        f"{around(runs, p50_ms)} over {around(quiet, p50_ms, ' ms')}; "
        f"{sum(run.asked for run in runs):,} requests of theirs")


def _run(bench, api, event, others):
    seconds = 3 * bench.seconds
    log = DIRECTORY / "onlookers.csv"
    before = load.cpu_seconds(api.process.pid)
    with others:
        arrivals = finish_openload(start_openload(
            SimpleNamespace(host="127.0.0.1", port=api.port), event,
            [(0, RATE), (seconds, RATE)], log, first_user=load.first_user()), log)
    assert set(arrivals.outcomes()) == {(202, "")}, arrivals.outcomes()
    latency = arrivals.ms()
    return Run(percentile(latency, 50), percentile(latency, 99),
               load.cpu_seconds(api.process.pid) - before, others.asked)


def _recorded(port):
    """[(second, path)]: what a real page asks for in RECORDED_S seconds."""
    with browsing(f"http://127.0.0.1:{port}/console") as page:
        page.wait_drawn(2)
        begin = page.run("return performance.now()")
        end = begin + RECORDED_S * 1000
        page.wait(lambda: page.run("return performance.now()") > end,
                  2 * RECORDED_S, "the recording")
        asked = page.run(
            "return performance.getEntriesByType('resource')"
            ".filter((e) => e.initiatorType === 'fetch').map((e) =>"
            " [e.startTime, new URL(e.name).port,"
            "  new URL(e.name).pathname + new URL(e.name).search])")
    plan = [((at - begin) / 1000, path) for at, its_port, path in asked
            if begin <= at < end and its_port == str(port)]
    assert len(plan) >= RECORDED_S, plan
    return plan


class _Onlookers:
    """Clients that work through a plan every `period` seconds.

    They would be on other machines: here they run at the lowest priority.
    """

    def __init__(self, port, plan, period, clients):
        self.port, self.plan, self.period = port, plan, period
        self.asked = 0
        self._failure = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(n / clients,))
            for n in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failure:
            raise self._failure

    def _work(self, begin):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        begin += time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            with contextlib.closing(connection):
                while not self._over.is_set():
                    for second, path in self.plan:
                        if self._over.wait(begin + second - time.monotonic()):
                            break
                        self._ask(connection, path)
                    begin += self.period
        except (OSError, AssertionError) as failure:
            self._failure = failure

    def _ask(self, connection, path):
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200, (path, reply.status)
        with self._lock:
            self.asked += 1
