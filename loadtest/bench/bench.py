# SPDX-License-Identifier: MIT
"""What a measure works with: the stack, daemons on it, the baseline."""

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy/test"))
sys.path.append(str(ROOT / "loadtest/scenarios"))  # behind our own directory

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
           "circuitbreaker__coupon_issue__slow_call_duration_threshold": "20s"}


class Bench:
    """One stack for the whole run; a Service per measure."""

    def __init__(self, rounds, seconds):
        self.rounds, self.seconds = rounds, seconds
        self.events = {}
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
            wait_for(lambda: process.poll() is not None or _listens(port), 20, name)
            assert process.poll() is None, f"{name} ended"
            yield process.pid, port
        finally:
            process.terminate()
            process.wait()

    def constant(self, connections, threads=2, seconds=None, timeout=10):
        """A run against the constant reply."""
        with self.program("constant", threads) as (pid, port):
            load.wrk(port, 1, connections, 1, timeout=timeout)
            return load.watched({"server": pid}, lambda: None, port, 1,
                                connections, seconds or self.seconds,
                                timeout=timeout)

    def issue(self, service, api, connections, seconds=None, **options):
        """A run of accepted requests, for the one event that this service has.

        To make another takes a rebuild, which reads whatever no consumer has.
        """
        if service not in self.events:
            self.events[service] = endless_event(service, api)
        event = self.events[service]
        load.wrk(api.port, event, connections, 1, **options)
        settle(service, event)
        return self.issue_more(service, api, connections, event,
                               seconds=seconds, **options)

    def issue_more(self, service, api, connections, event, events=1,
                   seconds=None, **options):
        """A run of accepted requests, round `events` that are there."""
        before = accepted(api)
        run = load.watched(
            self.processes(api), lambda: settle(service, event, events),
            api.port, event, connections, seconds or self.seconds,
            events=events, **options)
        # What was cut off when wrk ended is accepted and not counted by it.
        extra = accepted(api) - before - run.requests
        assert 0 <= extra <= connections and not run.not_2xx, (run, extra)
        return run

    def processes(self, api):
        return {"server": api.process.pid, "redis": self.stack.pid("redis"),
                "kafka": self.stack.pid("kafka")}


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def new_event(service, api, total):
    """An event; an api just started may still be connecting to PostgreSQL."""
    def created():
        try:
            return service.event(api, total)
        except (AssertionError, OSError):
            return None
    return wait_for(created, 60, "an event")


def accepted(api):
    return int(api.metric("coupon.issue", outcome="ACCEPTED"))


def settle(service, event, events=1):
    """Kafka has everything that was accepted."""
    keys = [f"{{c:{event + i}}}:pending" for i in range(events)]
    wait_for(lambda: not service.redis.exists(*keys), 60, "an empty outbox")


def endless_event(service, api):
    """An event that the reconciler leaves alone.

    It looks after what has not ended long ago.  No consumer runs here, so it
    would read each new event as a whole, from Redis and from Kafka, again and
    again: a third of the api's CPU for what no service in use has.
    """
    event = new_event(service, api, MANY)
    service.query("UPDATE coupon SET opens_at = '2000-01-01',"
                  " closes_at = '2000-01-02' WHERE id = %s", event)
    return event
