# SPDX-License-Identifier: MIT
"""What can happen to the service, and how it ends.

A fault is a generator: up to its `yield` it strikes, after it it heals.  The
campaign waits its duration in between.  `c` is the campaign: c.service,
c.stack, c.proxy, c.apis, c.consumers; c.lost() notes that Redis forgot.
"""

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from service import wait_for

BOTH = ("upstream", "downstream")


@dataclass(frozen=True)
class Fault:
    name: str
    strike: Callable  # (campaign, which of the pair) -> generator
    seconds: tuple    # shortest and longest
    proxied: bool = False
    once: bool = False

    @property
    def keeps_from_kafka(self):
        """What keeps accepted requests from Kafka: "kafka" itself, or
        "relay" (no Redis to read the outbox from, or no api); or None."""
        if self.name.endswith("slow"):
            return None
        if self.target == "kafka":
            return "kafka"
        if self.target == "redis" or self.name.startswith(("both", "all")):
            return "relay"
        return None

    @property
    def target(self):
        """What it strikes; two at once never strike the same."""
        first = self.name.split()[0]
        return "daemon" if first in ("api", "consumer", "both", "all") else first


def is_alive(pid):
    """Any thread of it: the last one closes its ports."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            return True
    return False


def _family(pid):
    """pid and its children (PostgreSQL's backends)."""
    found = [pid]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


# ---- our daemons ----

def _killed(kind):
    def strike(c, which):
        daemon = getattr(c, kind)[which]
        daemon.kill()
        yield
        daemon.start()
    return strike


def _stopped(kind):
    def strike(c, which):
        daemon = getattr(c, kind)[which]
        begin = time.time()
        daemon.signal(signal.SIGSTOP)
        yield
        daemon.signal(signal.SIGCONT)
        c.frozen.append((daemon.port, begin, time.time()))
    return strike


def _terminated(kind):
    def strike(c, which):
        daemon = getattr(c, kind)[which]
        status = daemon.stop(40)
        if status != 0:
            c.violation("EXIT_STATUS", f"{kind} ended with {status} on SIGTERM")
        yield
        daemon.start()
    return strike


def _all_killed(*kinds):
    def strike(c, _):
        daemons = [daemon for kind in kinds for daemon in getattr(c, kind)]
        for daemon in daemons:
            daemon.kill()
        yield
        for daemon in daemons:
            daemon.start()
    return strike


# ---- servers ----

def _start(c, name):
    """On a machine busy with other work once may not be enough."""
    wait_for(lambda: c.stack.run("start", name, check=False).returncode == 0,
             300, f"start of {name}")


def _server_signalled(name, number):
    def strike(c, _):
        pid = c.stack.pid(name)
        os.kill(pid, number)
        wait_for(lambda: not is_alive(pid), 60, f"end of {name}")
        yield
        _start(c, name)
    return strike


def _server_stopped(name):
    def strike(c, _):
        pids = _family(c.stack.pid(name))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
        for pid in reversed(pids):
            if is_alive(pid):
                os.kill(pid, signal.SIGCONT)
    return strike


def _server_restarted(name):
    def strike(c, _):
        c.stack.stop(name)
        yield
        _start(c, name)
    return strike


def _flushed(c, _):
    begin = time.time()
    c.service.redis.flushall()
    c.lost(begin, time.time())
    yield


def _old_snapshot(c, _):
    """Redis comes back with the files it had when the fault began."""
    files = c.stack.dir / "redis/appendonlydir"
    old = c.stack.dir / "redis/old"
    shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(files, old)
    begin = time.time()
    yield
    pid = c.stack.pid("redis")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid), 20, "end of redis")
    end = time.time()
    shutil.rmtree(files)
    old.rename(files)
    _start(c, "redis")
    c.lost(begin, end)


def _sessions_ended(c, _):
    c.service.query_as("postgres", "SELECT pg_terminate_backend(pid) FROM"
                       " pg_stat_activity WHERE usename = 'coupon'")
    yield


def _read_only(c, _):
    for value in ("on", "off"):
        c.service.query_as("postgres", "ALTER SYSTEM SET"
                           f" default_transaction_read_only = {value}")
        c.service.query_as("postgres", "SELECT pg_reload_conf()")
        if value == "on":
            yield


def _more_partitions(c, _):
    c.stack.tool("coupon-topic", "--alter", "--topic", c.service.topic,
                 "--partitions", "3")
    yield


# ---- the network ----

def _toxic(name, kind, streams=BOTH, **attributes):
    def strike(c, _):
        c.proxy.add(name, kind, streams, **attributes)
        yield
        c.proxy.remove(name, kind, streams)
    return strike


def _refused(name):
    def strike(c, _):
        c.proxy.enable(name, False)
        yield
        c.proxy.enable(name, True)
    return strike


def _network(name, latency):
    def fault(what, strike, seconds):
        return Fault(f"{name} {what}", strike, seconds, proxied=True)
    return [
        fault("slow", _toxic(name, "latency", ("downstream",),
                             latency=latency, jitter=latency // 2), (1, 3)),
        fault("black hole", _toxic(name, "timeout", timeout=0), (1, 4)),
        fault("connections reset", _toxic(name, "reset_peer", timeout=0),
              (0.2, 1)),
        fault("cut after 4 KB", _toxic(name, "limit_data", bytes=4096), (1, 2)),
        fault("unreachable", _refused(name), (0.5, 3)),
    ]


def catalogue(proxied=True):
    """Every fault; without those that need the proxy."""
    faults = [
        Fault("api killed", _killed("apis"), (0, 2)),
        Fault("api stopped", _stopped("apis"), (1, 8)),
        Fault("api ended", _terminated("apis"), (0, 1)),
        Fault("consumer killed", _killed("consumers"), (0, 2)),
        Fault("consumer stopped", _stopped("consumers"), (1, 9)),
        Fault("consumer ended", _terminated("consumers"), (0, 1)),
        Fault("both apis killed", _all_killed("apis"), (0, 1)),
        Fault("all daemons killed", _all_killed("apis", "consumers"), (0, 1)),
        Fault("redis killed", _server_signalled("redis", signal.SIGKILL), (0, 2)),
        Fault("redis stopped", _server_stopped("redis"), (0.2, 3)),
        Fault("redis restarted", _server_restarted("redis"), (0, 1)),
        Fault("redis flushed", _flushed, (0, 0)),
        Fault("redis from old files", _old_snapshot, (0.5, 5)),
        Fault("kafka killed", _server_signalled("kafka", signal.SIGKILL),
              (0, 3)),
        Fault("kafka stopped", _server_stopped("kafka"), (1, 5)),
        Fault("kafka restarted", _server_restarted("kafka"), (0, 3)),
        Fault("postgres killed", _server_signalled("postgres", signal.SIGKILL),
              (0, 2)),
        Fault("postgres shut down at once",
              _server_signalled("postgres", signal.SIGQUIT), (0, 2)),
        Fault("postgres stopped", _server_stopped("postgres"), (1, 5)),
        Fault("postgres restarted", _server_restarted("postgres"), (0, 2)),
        Fault("postgres sessions ended", _sessions_ended, (0, 0)),
        Fault("postgres read-only", _read_only, (1, 3)),
        Fault("topic 1 -> 3 partitions", _more_partitions, (0, 0), once=True),
    ]
    if proxied:
        faults += _network("redis", 60)
        faults += _network("kafka", 200)
        faults += _network("postgres", 60)
    return faults


@dataclass(frozen=True)
class Stroke:
    """A fault of the schedule."""

    fault: Fault
    which: int
    seconds: float
    gap: float     # before it
    overlaps: bool  # does not wait for the one before to heal


def schedule(rng, n, faults):
    """n strokes: decks of all faults, each shuffled, one after the other."""
    strokes, deck = [], []
    while len(strokes) < n:
        if not deck:
            deck = [f for f in faults
                    if not (f.once and any(s.fault is f for s in strokes))]
            rng.shuffle(deck)
        fault = deck.pop()
        previous = strokes[-1].fault.target if strokes else fault.target
        strokes.append(Stroke(
            fault, rng.randrange(2), round(rng.uniform(*fault.seconds), 1),
            round(rng.uniform(0.1, 1), 1), rng.random() < 0.2 and fault.target != previous))
    return strokes
