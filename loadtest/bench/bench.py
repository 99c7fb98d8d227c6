# SPDX-License-Identifier: MIT
"""What a measure works with: the stack, daemons on it, the baseline."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/test"))

# pylint: disable=wrong-import-position
import load  # noqa: E402
from service import Service, wait_for  # noqa: E402
from stack import Stack  # noqa: E402

DIRECTORY = ROOT / "build/bench"
PROGRAMS = ROOT / "build/release/bench"
MANY = 2_000_000_000
# Without the limits that would refuse requests; the limiter is off already.
PLENTY = {"outbox__limit": "100000000", "server__max_connections": "12000"}
# Also without what answers for a request that waits long, or counts it.
PATIENT = {**PLENTY, "server__request_timeout": "20s",
           "redis__pool__max_wait": "20s", "redis__timeout": "5s",
           "circuitbreaker__coupon_issue__enabled": "false"}


class Bench:
    """One stack for the whole run; a Service per measure."""

    def __init__(self, rounds, seconds):
        self.rounds, self.seconds = rounds, seconds
        DIRECTORY.mkdir(parents=True, exist_ok=True)
        self.stack = Stack(DIRECTORY)
        self.stack.start("redis", "postgres", "kafka")

    def close(self):
        self.stack.close()

    @contextlib.contextmanager
    def service(self, partitions=3):
        service = Service(self.stack, DIRECTORY, partitions)
        try:
            yield service
        finally:
            service.close()

    @contextlib.contextmanager
    def program(self, name, *arguments):
        """One of loadtest/*.c that serves the spare port."""
        port = self.stack.spare_port
        process = subprocess.Popen(
            [PROGRAMS / name, str(port), *map(str, arguments)],
            stdin=subprocess.DEVNULL)
        try:
            time.sleep(0.2)
            assert process.poll() is None, f"{name} ended"
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()

    def constant(self, connections, threads=2):
        """A run against the constant reply."""
        with self.program("constant", threads) as (pid, port):
            load.wrk(port, 1, connections, 1)
            return load.watched({"server": pid}, lambda: None, port, 1,
                                connections, self.seconds)

    def issue(self, service, api, connections, seconds=None, **options):
        """A run of accepted requests, for an event of its own."""
        seconds = seconds or self.seconds
        event = new_event(service, api, MANY)
        load.wrk(api.port, event, connections, 1, **options)
        settle(service, event)
        before = accepted(api)
        run = load.watched(self.processes(api), lambda: settle(service, event),
                           api.port, event, connections, seconds, **options)
        # What was cut off when wrk ended is accepted and not counted by it.
        extra = accepted(api) - before - run.requests
        assert 0 <= extra <= connections and not run.not_2xx, (run, extra)
        forget(service, event)
        return run

    def processes(self, api):
        return {"server": api.process.pid, "redis": self.stack.pid("redis"),
                "kafka": self.stack.pid("kafka")}


def new_event(service, api, total):
    """An event; an api just started may still be connecting to PostgreSQL."""
    def created():
        try:
            return service.event(api, total)
        except AssertionError:
            return None
    return wait_for(created, 20, "an event")


def accepted(api):
    return int(api.metric("coupon.issue", outcome="ACCEPTED"))


def settle(service, event):
    """Kafka has everything that was accepted."""
    wait_for(lambda: not service.redis.zcard(f"{{c:{event}}}:pending"), 60,
             "an empty outbox")


def forget(service, event):
    """Free the memory that the holders of a measured event take."""
    service.redis.unlink(f"{{c:{event}}}:users")
