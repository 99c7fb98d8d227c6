# SPDX-License-Identifier: MIT
"""14:02 again, with a stopwatch: ten connections, one request on each, Redis
50 ms away; what the pool does not carry queues and fails.

The limiter and the breaker, which nobody had, are off.  Prometheus and
Alertmanager have their production intervals.  The console is open in a real
browser: its first sign is read off the page.  One lever ends it: max-active
from 10 to 50, by POST /actuator/refresh.
"""

import time

from browser import browsing
from drill.strikes import small_pool
from monitor import Webhook
from service import wait_for

ALERT_S = 300
CALM_S = 5  # without too many failed requests: recovered
TOO_MANY = 0.05  # ErrorRateHigh's
THEN = {"sign": "nobody looked", "warning": "150 s", "critical": "210 s",
        "recovered": "480 s"}
NAMES = {
    "sign": "load to the first sign on the console: its Redis panel changes colour",
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
        self.page = None

    def run(self):
        world = self.world
        port = int(world.stack.alert_webhook.rstrip("/").rpartition(":")[2])
        webhook = Webhook(port, self._message)
        world.undo.callback(webhook.close)
        world.configure("api", ratelimiter__coupon_issue__enabled="false")
        world.undo.enter_context(small_pool(world))
        self._open_console()
        self.clock.restart()
        world.users(self.rate, connections=self.rate)
        self.clock.say("load", f"{self.rate} requests/s; the pool carries 200")
        self._wait("sign", self._sign, 0.05)
        self.clock.say("console", self.page.text("#verdict li"))
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

    def _open_console(self):
        port = self.world.stack.api_port
        self.page = self.world.undo.enter_context(
            browsing(f"http://127.0.0.1:{port}/console"))
        wait_for(lambda: self._redis_panel() == "ok", 30, "a calm console")

    def _redis_panel(self):
        """"" before it was drawn."""
        return self.page.attribute('[data-panel="redis"]', "data-severity") or ""

    def _sign(self):
        return self._redis_panel() in ("warning", "critical")

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
            lines.append(f"| {name} | {THEN.get(mark, '-')} | "
                         f"{self.marks[mark] - since:.1f} s |")
        return "\n".join([*lines, "", f"{self.rate} requests/s, "
                          f"{self.marks['before']:.0f} % of them failed before "
                          "the refresh."])
