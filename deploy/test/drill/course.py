# SPDX-License-Identifier: MIT
"""One drill: break, sign, alert, act, recovery, all-clear, put back."""

import re
import time

import runbook
from monitor import Webhook
from service import wait_for

ALERT_S = 240       # from the break to the alert
RECOVERY_S = 180    # from what AUTO did; an operator has all the time
PROBE_S = 60


class Clock:
    """Seconds since the break, in front of every line."""

    def __init__(self):
        self.zero = time.monotonic()

    def restart(self):
        self.zero = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.zero

    def say(self, what, text):
        print(f"{self.seconds():7.1f} s  {what:<8} {text}", flush=True)


class Course:
    """The course of one drill; auto: do what the runbook says, too."""

    def __init__(self, drill, world, clock, auto):
        self.drill, self.world, self.auto = drill, world, auto
        self.clock, self.say = clock, clock.say
        self.marks = {}  # what -> seconds

    def run(self):
        drill, world = self.drill, self.world
        self._wait_for_quiet()
        webhook = self._listen()
        try:
            if drill.rate:
                world.users(drill.rate)
            world.undo.enter_context(drill.strike(world))
            self.clock.restart()
            self.say("break", drill.what)
            self._wait_for_sign()
            self._wait_for_alert()
            self._act()
            self._wait_for_recovery()
            self._wait_for_all_clear()
        finally:
            if webhook:
                webhook.close()
        return self.marks

    def _mark(self, what):
        self.marks[what] = self.clock.seconds()

    def _wait_for_quiet(self):
        """What still fires of an earlier outage would be mistaken for ours."""
        if self._firing():
            self.say("wait", self._firing()["labels"]["alertname"]
                     + " fires already, from before")
            wait_for(lambda: not self._firing(), ALERT_S, "quiet: there is an "
                     "outage, look into docs/runbook.md")

    def _listen(self):
        """Alertmanager's messages, unless somebody else takes them."""
        port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/",
                            self.world.stack.alert_webhook)
        try:
            return Webhook(int(port[1]), self._paged) if port else None
        except OSError:
            self.say("webhook", f"port {port[1]} is in use: messages go there")
            return None

    def _paged(self, message):
        self.say("webhook", f"{message.name} {message.status} ({message.severity})")

    # ---- what says so ----

    def _wait_for_sign(self):
        for figure in self.drill.figures:
            _, text = wait_for(lambda f=figure: self._bad(f), ALERT_S,
                               f"{figure.name} to show it")
            self.say("figure", text)
            self.marks.setdefault("sign", self.clock.seconds())

    def _bad(self, figure):
        found = figure.look(self.world)
        return found if found[0] else None

    def _wait_for_alert(self):
        if not self.drill.alerts:
            return
        alert = wait_for(self._firing, ALERT_S, f"alert {self.drill.alerts}")
        self._mark("alert")
        labels, notes = alert["labels"], alert["annotations"]
        self.say("alert", f"{labels['alertname']} ({labels['severity']}): "
                 f"{notes['summary']}. {notes['description']}")
        self.say("alert", notes["runbook_url"])

    def _firing(self):
        time.sleep(0.1)
        return next((a for a in self.world.prometheus.firing()
                     if a["labels"]["alertname"] in self.drill.alerts), None)

    # ---- what is done about it ----

    def _act(self):
        heading = self.drill.act or self.drill.section
        self._mark("act")
        if self.auto and self.drill.auto:
            self.drill.auto(self.world)
        elif self.auto:
            self._do(heading, "Act")
        else:
            self.say("you", "do what docs/runbook.md#" + runbook.anchor(heading)
                     + " says under Act; Ctrl-C gives up and puts all back")

    def _do(self, heading, part):
        """The runbook's own commands; what they print goes to the log."""
        blocks = runbook.part(heading, part)
        for line in "".join(blocks).splitlines():
            self.say(part.lower(), "$ " + line)
        if not blocks:
            self.say(part.lower(), f"the runbook has no command under {part}")
            return
        runbook.run(self.world.stack, [*runbook.preamble(), *blocks],
                    self.world.stack.env, self.world.elsewhere)

    def _wait_for_recovery(self):
        limit = RECOVERY_S if self.auto else 7 * 24 * 3600
        for figure in self.drill.figures:
            self.say("figure", wait_for(lambda f=figure: self._well(f), limit,
                                        f"{figure.name} to recover"))
        accepted = wait_for(self._try_one, PROBE_S, "a new user accepted")
        self._mark("accepted")
        wait_for(lambda: self._has_row(accepted), PROBE_S, "his row")
        self._mark("recovery")
        self.say("well", "a new user is accepted and has his row, "
                 f"{self.marks['recovery'] - self.marks['act']:.1f} s after act")
        if self.auto:
            self._do(self.drill.act or self.drill.section, "Verify")

    def _well(self, figure):
        """Its text, when it has been well for two seconds."""
        until = time.monotonic() + 2
        while time.monotonic() < until:
            is_bad, text = figure.look(self.world)
            if is_bad:
                return None
            time.sleep(0.1)
        return text

    def _try_one(self):
        time.sleep(0.1)
        return self.world.try_one()

    def _has_row(self, accepted):
        time.sleep(0.05)
        return self.world.has_row(accepted)

    def _wait_for_all_clear(self):
        if self.drill.lingers:
            self.say("alert", f"{self.drill.lingers}: not waited for")
        elif self.drill.alerts:
            wait_for(lambda: not self._firing(), ALERT_S, "the all-clear")
            self._mark("clear")
            self.say("alert", "resolved")


def summary(name, marks):
    """One row of the table in docs/drills.md."""
    def shown(*between):
        if any(mark not in marks for mark in between):
            return "-"
        return f"{marks[between[-1]] - (marks[between[0]] if between[1:] else 0):.0f}"
    return (f"| {name} | {shown('sign')} | {shown('alert')} | "
            f"{shown('act', 'recovery')} | {shown('act', 'clear')} |")
