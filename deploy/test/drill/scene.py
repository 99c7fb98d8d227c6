# SPDX-License-Identifier: MIT
"""14:02 again, with a stopwatch: ten connections, one request on each, Redis
50 ms away; what the pool does not carry queues and fails.

The limiter and the breaker, which nobody had, are off.  Prometheus and
Alertmanager have their production intervals.  One lever ends it: max-active
from 10 to 50, by POST /actuator/refresh.
"""

import time

from drill.strikes import small_pool
from monitor import Webhook
from service import wait_for

ALERT_S = 300
CALM_S = 5  # without a failed request: recovered
LOOK_S = 1  # as often as the console does
THEN = {"sign": "nobody looked", "warning": "150", "critical": "210",
        "recovered": "480"}
NAMES = {
    "sign": "load to the first sign: requests wait for a connection",
    "warning": "load to the warning (`RedisPoolHigh` fires)",
    "critical": "load to the critical alert at the webhook",
    "recovered": "`POST /actuator/refresh` (10 -> 50) to the last failed request",
    "clear": "`POST /actuator/refresh` to the all-clear at the webhook",
}


class Scene:
    def __init__(self, world, clock, rate):
        self.world, self.clock, self.rate = world, clock, rate
        self.marks = {}

    def run(self):
        world = self.world
        port = int(world.stack.alert_webhook.rstrip("/").rpartition(":")[2])
        webhook = Webhook(port, self._message)
        world.undo.callback(webhook.close)
        world.configure("api", ratelimiter__coupon_issue__enabled="false")
        world.undo.enter_context(small_pool(world))
        self.clock.restart()
        world.users(self.rate, connections=self.rate)
        self.clock.say("load", f"{self.rate} requests/s; the pool carries 200")
        self._wait("sign", self._sign, LOOK_S)
        self._wait("warning", self._warning, 0.2)
        self._wait("critical", lambda: "critical" in self.marks, 0.05)
        self._resize()
        self._wait("clear", lambda: "clear" in self.marks, 0.05)
        return self.marks

    def _mark(self, what, text=""):
        self.marks.setdefault(what, self.clock.seconds())
        self.clock.say(what, text or NAMES[what])

    def _wait(self, what, condition, every):
        end = time.monotonic() + ALERT_S
        while not condition():
            assert time.monotonic() < end, NAMES[what]
            time.sleep(every)
        if what not in self.marks:
            self._mark(what)

    def _sign(self):
        return self.world.api.metric("redis.connection.pending", pool="redis")

    def _warning(self):
        return any(alert["labels"]["alertname"] == "RedisPoolHigh"
                   for alert in self.world.prometheus.firing())

    def _message(self, message):
        if message.name == "RedisPoolExhausted":
            self._mark("critical" if message.status == "firing" else "clear")

    def _resize(self):
        """10 -> 50, and the time of the last request that failed."""
        self.marks["before"] = self._failed()
        self.world.configure("api", redis__pool__max_active=50)
        begin = self.marks["refresh"] = self.clock.seconds()
        self.clock.say("refresh", "redis.pool.max-active 10 -> 50")
        wait_for(lambda: time.monotonic() - self._last_failure() > CALM_S,
                 ALERT_S, "an end of the failures")
        after = self._last_failure() - self.clock.zero
        self._mark("recovered")
        self.marks["recovered"] = max(after, begin)

    def _failures(self):
        return [a for a in list(self.world.load.answers) if a.status != 202]

    def _failed(self):
        """The share of requests that failed so far, in percent."""
        answers = len(self.world.load.answers)
        return 100 * len(self._failures()) / max(1, answers)

    def _last_failure(self):
        return max((a.done for a in self._failures()), default=0)

    def table(self):
        """Markdown, for docs/drills.md."""
        lines = ["| | 14:02 | now |", "|---|--:|--:|"]
        for mark, name in NAMES.items():
            since = self.marks["refresh"] if mark in ("recovered", "clear") else 0
            lines.append(f"| {name} | {THEN.get(mark, '-')} s | "
                         f"{self.marks[mark] - since:.1f} s |")
        lines[2] = lines[2].replace("looked s", "looked")
        return "\n".join([*lines, "", f"{self.rate} requests/s, "
                          f"{self.marks['before']:.0f} % of them failed before "
                          "the refresh."])
