# SPDX-License-Identifier: MIT
"""The campaign: rounds of faults under load, quiet, reckoning."""

import asyncio
import itertools
import json
import random
import statistics
import time
from collections import Counter, defaultdict

from chaos.faults import catalogue, schedule
from chaos.load import Journal, Load, ask
from chaos.proxy import Proxy
from chaos.reckoning import Facts, Loss, Reckoning, messages
from service import Service, timestamp, wait_for
from stack import PATIENCE
from web import Connection

ROUND = 10          # faults between two reckonings
RATE = 150          # requests a second
RECOVERED_S = 90    # longer is a violation
VERIFIED_S = 20     # idle events of earlier rounds may still be rebuilt
QUIET_S = 120       # the reconciler looks once a minute


def start(stack, directory):
    """The servers behind a proxy; Kafka is reached only through it."""
    proxy = Proxy(stack.spare_port, {
        "kafka": stack.kafka_port, "redis": stack.redis_port,
        "postgres": stack.postgres_port}, directory / "toxiproxy.log")
    stack.start("redis", "postgres", "kafka")
    return proxy


class Campaign:
    """Two apis and two consumers behind the proxy, and what befell them."""

    def __init__(self, stack, directory, seed, proxy=None, rate=RATE):
        """proxy: what start() gave, or None."""
        self.stack, self.directory, self.seed = stack, directory, seed
        self.proxy, self.rate = proxy, rate
        self.random = random.Random(seed)
        self.facts = Facts()
        self.violations, self.counts = [], Counter()
        self.ending = False  # after this round
        self.recoveries = defaultdict(list)  # fault -> seconds
        self.struck = Counter()
        self._probes = itertools.count(10 ** 12)
        self.service = Service(stack, directory)
        settings = self._settings()
        self.apis = [self.service.api(**settings) for _ in range(2)]
        self.consumers = [self.service.consumer(**settings) for _ in range(2)]
        self.probe_event = self.service.event(self.apis[0], 1_000_000)

    def _settings(self):
        settings = {
            "circuitbreaker.coupon-issue.wait-duration-in-open-state": "1s"}
        if self.proxy:
            listen = self.proxy.listen
            settings |= {
                "redis.port": listen["redis"],
                "kafka.bootstrap-servers": f"127.0.0.1:{listen['kafka']}",
                "datasource.url": "postgresql://coupon@127.0.0.1:"
                                  f"{listen['postgres']}/coupon"}
        return settings

    # ---- what faults tell ----

    def lost(self, begin, end):
        self.facts.losses.append(Loss(begin, end))

    @property
    def frozen(self):
        return self.facts.frozen

    def violation(self, name, text):
        self.violations.append((name, text))
        self.say(f"VIOLATION {name}: {text}")

    def say(self, text):
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with (self.directory / "campaign.log").open("a") as log:
            log.write(line + "\n")

    # ---- faults ----

    def schedule(self, n_faults):
        return schedule(self.random, n_faults,
                        catalogue(self.proxy is not None))

    def run(self, strokes):
        for number in range(0, len(strokes), ROUND):
            if self.ending:
                self.say("ended early, as asked to")
                return
            self._round(number // ROUND + 1, strokes[number:number + ROUND])

    def _round(self, number, strokes):
        self.facts = Facts()
        events = [(self._event(1_000_000), 4, True),
                  (self._event(300), 2, True),
                  (self._event(1_000_000), 1, False)]
        journal = Journal(self.directory / f"journal-{number}.jsonl")
        load = Load([a.port for a in self.apis], events, self.rate,
                    f"{self.seed}-{number}", journal)
        try:
            self._strike_all(strokes, small=events[1][0])
        finally:
            load.stop()
            journal.close()
        self.facts.crowds = load.crowds
        self._wait_for_quiet([e[0] for e in events])
        self._reckon(number, [e[0] for e in events], journal, load.lag)

    def _event(self, total):
        """Created through an api, again until it answers."""
        def create():
            try:
                return self.service.event(self.apis[0], total)
            except (OSError, AssertionError):
                return None
        return wait_for(create, 60, "a new event")

    def _strike_all(self, strokes, small):
        """One after the other; an overlapping one before the last heals."""
        total = 300
        while strokes:
            together, strokes = [strokes[0]], strokes[1:]
            if strokes and strokes[0].overlaps:
                together.append(strokes[0])
                strokes = strokes[1:]
            time.sleep(together[0].gap)
            total += 60
            self._more_stock(small, total)
            self._strike(together)

    def _more_stock(self, event, total):
        """Best effort: what a fault prevents is published later."""
        try:
            self.service.admin(self.random.choice(self.apis), "PUT",
                               f"/api/coupons/{event}/total", {"total": total})
        except OSError:
            pass

    def _strike(self, strokes):
        names = " + ".join(stroke.fault.name for stroke in strokes)
        begin, running = time.time(), []
        for stroke in strokes:
            fault = stroke.fault.strike(self, stroke.which)
            next(fault)
            running.append(fault)
            self.struck[stroke.fault.name] += 1
            time.sleep(stroke.seconds)
        for fault in running:
            next(fault, None)
        healed = time.time()
        self._look_for_crashes(names)
        seconds = self._recover(names)
        for away in {stroke.fault.keeps_from_kafka for stroke in strokes}:
            if away:
                self.facts.away[away].append((begin, time.time()))
        for stroke in strokes:
            self.recoveries[stroke.fault.name].append(seconds)
        self.say(f"{names}: {healed - begin:.1f} s, recovered in {seconds:.2f} s")

    def _look_for_crashes(self, names):
        """Every daemon runs once the faults are over."""
        for daemon in [*self.apis, *self.consumers]:
            status = daemon.process.poll()
            if status is not None:
                self.violation("CRASHED", f"{names}: {daemon.log.name} ended "
                               f"with {status}")
                daemon.start()

    # ---- recovery ----

    def _recover(self, names):
        """Seconds until each api accepts someone and his row appears."""
        begin = time.monotonic()
        try:
            asyncio.run(asyncio.wait_for(
                self._probe_all(), RECOVERED_S * PATIENCE))
        except asyncio.TimeoutError:
            self.violation("NOT_RECOVERED", f"{names}: no new row within "
                           f"{RECOVERED_S * PATIENCE} s")
        return time.monotonic() - begin

    async def _probe_all(self):
        users = [(api, next(self._probes)) for api in self.apis * 2]
        await asyncio.gather(*(self._probe(a.port, u) for a, u in users))
        while not await asyncio.to_thread(
                self._has_rows, [user for _, user in users]):
            await asyncio.sleep(0.05)

    async def _probe(self, port, user):
        connection = Connection()
        while True:
            entry = await ask(connection, port, self.probe_event, user,
                              f"probe{user}")
            if entry.status == 202:
                connection.close()
                return
            await asyncio.sleep(0.05)

    def _has_rows(self, users):
        return self.service.query(
            "SELECT count(*) FROM user_coupon WHERE coupon_id = %s AND"
            " user_id = ANY(%s)", self.probe_event, users)[0][0] == len(users)

    # ---- quiet ----

    def _wait_for_quiet(self, events):
        begin = time.monotonic()
        try:
            for event in [*events, self.probe_event]:
                left = QUIET_S - (time.monotonic() - begin)
                wait_for(lambda: self._is_quiet(event), max(left, 1))
        except AssertionError:
            self.say(f"not quiet after {QUIET_S} s")
        seconds = time.monotonic() - begin
        self.recoveries["(quiet after a round)"].append(seconds)

    def _is_quiet(self, event):
        """At rest and whole; the reckoning says what is not."""
        time.sleep(0.2)
        quiet = Reckoning(self.service, event, [], self.facts, set()).run()
        return not quiet.violations and quiet.n_pending == 0

    # ---- the reckoning ----

    def _reckon(self, number, events, journal, lag):
        in_kafka, _ = messages(self.stack.kafka_port, self.service.topic)
        found, counts = [], Counter()
        tries = defaultdict(list)
        for entry in journal.tries:
            tries[entry.event].append(entry)
        for event in [*events, self.probe_event]:
            result = Reckoning(self.service, event, tries[event], self.facts,
                               in_kafka).run()
            found += result.violations
            counts += result.counts
        found += self._second_opinion()
        counts["answers"] = len(journal.tries)
        counts["UNKNOWN"] = sum(t.outcome == "UNKNOWN" for t in journal.tries)
        self.counts += counts
        codes = Counter((t.status, t.code, t.reason) for t in journal.tries)
        self.say(f"round {number}: " + ", ".join(
            f"{n} {name}" for name, n in sorted(counts.items())))
        self.say(f"  answers: {dict(codes.most_common(12))}, client lag "
                 f"{lag:.2f} s")
        names = Counter(name for name, _ in found)
        for name, text in found[:20]:
            self.violation(name, text)
        if len(found) > 20:
            self.violation("MORE", str(names))

    def _second_opinion(self):
        """coupon-verify's, of every event so far."""
        report = None

        def is_clean():
            nonlocal report
            status, report = self.service.verify("--at-rest")
            return status == 0
        try:
            wait_for(is_clean, VERIFIED_S)
        except AssertionError:
            return [("VERIFY", json.dumps(report)[:1000])]
        return []

    # ---- the end ----

    def close(self):
        self.service.close()

    def table(self):
        """Per fault how often, and how long until the service was back."""
        lines = [f"{'fault':<28}{'count':>6}{'median s':>10}{'max s':>8}"]
        for name in sorted(self.recoveries):
            seconds = self.recoveries[name]
            lines.append(f"{name:<28}{len(seconds):>6}"
                         f"{statistics.median(seconds):>10.1f}"
                         f"{max(seconds):>8.1f}")
        return "\n".join(lines)

    def totals(self):
        names = Counter(name for name, _ in self.violations)
        def count(*kinds):
            return sum(names[kind] for kind in kinds)
        return (
            f"seed {self.seed}: {sum(self.struck.values())} faults, "
            f"{self.counts['answers']} answers, {self.counts['accepted']} "
            f"accepted, {self.counts['rows']} rows; "
            f"{count('OVER_ISSUED')} over-issued, "
            f"{count('DUPLICATE_USER', 'DUPLICATE_NUMBER')} duplicate, "
            f"{count('LOST_ACCEPT', 'STUCK_PENDING')} lost, "
            f"{count('LEAKED_SLOT')} leaked, {len(self.violations)} violations"
            f" in all; excused {self.counts['excused']}, relay away "
            f"{self.counts['relay away']}, rejected "
            f"{self.counts['rejected']}")
