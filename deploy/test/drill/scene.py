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

ALERT_S = 300
CALM_S = 5  # without too many failed requests: recovered
TOO_MANY = 0.05  # ErrorRateHigh's
LOOK_S = 1  # as often as the console does
THEN = {"sign": "nobody looked", "warning": "150", "critical": "210",
        "recovered": "480"}
NAMES = {
    "sign": "load to the first sign: requests wait for a connection",
    "warning": "load to the warning (`RedisPoolHigh` fires)",
    "critical": "load to the critical alert at the webhook",
    "recovered": "`POST /actuator/refresh` (10 -> 50) to less than 5 % failing",
    "clear": "`POST /actuator/refresh` to the all-clear at the webhook",
}


def failed(answers):
    """The share that was not accepted."""
    answers = list(answers)
    return sum(a.status != 202 for a in answers) / max(1, len(answers))


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
        """10 -> 50, and the end of the last second that ErrorRateHigh minds."""
        self.marks["before"] = 100 * failed(self.world.load.answers)
        self.world.configure("api", redis__pool__max_active=50)
        begin = time.monotonic()
        self.marks["refresh"] = self.clock.seconds()
        self.clock.say("refresh", "redis.pool.max-active 10 -> 50")
        seconds = 0
        calm_since = 0
        while seconds - calm_since < CALM_S:
            assert seconds < ALERT_S, NAMES["recovered"]
            seconds += 1
            time.sleep(max(0, begin + seconds - time.monotonic()))
            if failed(self._answers(begin + seconds - 1)) > TOO_MANY:
                calm_since = seconds
        self.marks["recovered"] = self.marks["refresh"] + max(calm_since, 1)
        self.clock.say("recovered", f"{max(calm_since, 1)} s after the refresh")

    def _answers(self, since):
        """Those of one second."""
        return [a for a in list(self.world.load.answers)
                if since <= a.done < since + 1]

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
