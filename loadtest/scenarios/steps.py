# SPDX-License-Identifier: MIT
"""What is done to the servers while the load runs, and whether it was."""

import subprocess
import threading
import time

from remote import Refused, fetch_json, series, total
from target import Stack, wait_for
from verdict import Row


class Steps:
    """A thread that does each of [(second, name, function)] at its second."""

    def __init__(self, steps):
        self._steps = steps
        self._rows = {name: Row(name, "done", "not done", False) for _, name, _ in steps}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._begin = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _run(self):
        for second, name, do in self._steps:
            if self._over.wait(max(self._begin + second - time.monotonic(), 0)):
                return
            self._rows[name] = self._done(name, do)

    def _done(self, name, do):
        try:
            do()
        except (OSError, Refused, ValueError, subprocess.SubprocessError) as error:
            return Row(name, "done", str(error), False)
        value = f"at {time.monotonic() - self._begin:.0f} s"
        print(f"  {name}: {value}", flush=True)
        return Row(name, "done", value, True)

    def rows(self):
        return list(self._rows.values())


class NoSteps(Steps):
    """Of a deployment that is not ours to change."""

    def __init__(self, steps):
        super().__init__([])
        self._rows = {name: Row(name, "done", "not from here", None)
                      for _, name, _ in steps}


def of_soak(target, seconds):
    """A third through, the pool shrinks and grows; at half, the topic grows."""
    kind = Steps if isinstance(target, Stack) else NoSteps
    return kind([
        (seconds / 3, "pool 50 -> 10", lambda: _resize(target, 10)),
        (seconds * 5 / 12, "pool 10 -> 50", lambda: _resize(target, 50)),
        (seconds / 2, "two more partitions", lambda: _grow(target))])


def _resize(target, size):
    target.set({"redis.pool.max-active": size, "redis.pool.max-idle": size})
    wait_for(lambda: fetch_json(f"{target.url}/actuator/pools/redis",
                                token=target.token)["max"] == size, 10,
             f"a pool of {size}")


def _grow(target):
    n = target.grow_topic(2)
    wait_for(lambda: total(series(target.consumer_url),
                           "kafka_consumer_assigned_partitions") == n, 60,
             f"{n} partitions in the consumer's hands")
