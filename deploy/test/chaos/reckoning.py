# SPDX-License-Identifier: MIT
"""The journal of an event at rest against PostgreSQL, Redis and Kafka.

Every violation of G1-G7 has a name.  What Redis forgot before it reached
Kafka (G3's excuse) is counted as excused, as "relay away" where only Redis
and the apis, not Kafka, kept it from there, and what a Redis with old data
gave away and PostgreSQL refused as rejected.
"""

import bisect
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition

RELAY_AFTER_S = 3
# A relay sends what is due within this time of being able to.
RELAY_PASS_S = 2
EXCUSE_S = RELAY_AFTER_S + RELAY_PASS_S
# After a loss Redis may serve its old numbers until its fence is up.
UNFENCED_S = 15
DEADLINE_S = 1.0
# What client and machine may add to the deadline, times the threads that
# wanted each core meanwhile.
LATE_S = 1.0


@dataclass
class Loss:
    """Redis forgot what it had taken between these times (or before)."""

    begin: float
    end: float


@dataclass
class Facts:
    """What happened to everyone, for all events of a round."""

    losses: list = field(default_factory=list)
    # (begin, end) of what kept accepted requests from Kafka: Kafka away, and
    # no relay (Redis or all apis away)
    away: dict = field(default_factory=lambda: {"kafka": [], "relay": []})
    frozen: list = field(default_factory=list)   # (port, begin, end)
    crowds: list = field(default_factory=list)   # (time, threads per core)

    def crowd(self, begin, end):
        """The most threads per core that wanted to run in between."""
        first = bisect.bisect_left(self.crowds, (begin - 1,))
        last = bisect.bisect_right(self.crowds, (end + 1,))
        return max((n for _, n in self.crowds[first:last]), default=1.0)


def forgotten_since(loss, away):
    """Kafka has all that was accepted earlier: there was a time when it was
    due and nothing of `away` was in the way."""
    since = loss.end
    for begin, end in sorted(away, key=lambda span: span[1], reverse=True):
        if end >= since - RELAY_PASS_S:
            since = min(since, begin)
    return since - EXCUSE_S


def messages(port, topic):
    """Counter of (event, user, request): everything Kafka holds; its ends."""
    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}",
                         "group.id": "chaos-reckoning",
                         "enable.auto.commit": False,
                         "auto.offset.reset": "earliest"})
    try:
        partitions = consumer.list_topics(topic, 20).topics[topic].partitions
        marks = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), 20)
                 for p in partitions}
        consumer.assign([TopicPartition(topic, p, low)
                         for p, (low, _) in marks.items()])
        found, ends = Counter(), {p: end for p, (_, end) in marks.items()}
        left = sum(end - low for low, end in marks.values())
        while left > 0:
            # No more than there are: it would wait for them.
            for message in consumer.consume(min(left, 1000), 10):
                if message.error():
                    raise RuntimeError(message.error().str())
                if message.offset() >= ends[message.partition()]:
                    continue
                left -= 1
                body = json.loads(message.value())
                found[body["couponId"], body["userId"], body["requestId"]] += 1
        return found, ends
    finally:
        consumer.close()


class Reckoning:
    """One event's; run() fills violations and counts."""

    def __init__(self, service, event, tries, facts, in_kafka):
        self.service, self.event, self.facts = service, event, facts
        self.in_kafka = in_kafka
        self.violations, self.counts = [], Counter()
        self.tries = defaultdict(list)  # (user, key or request id) -> Try
        for entry in tries:
            self.tries[entry.user, entry.key or entry.request].append(entry)
        self._load()

    def _load(self):
        event, query = self.event, self.service.query
        self.total = query(
            "SELECT total FROM coupon WHERE id = %s", event)[0][0]
        self.rows = self.service.rows(event)
        self.row_of = {row[0]: row for row in self.rows}
        self.rejections = {(user, request): reason for user, request, reason
                           in query("SELECT user_id, request_id, reason FROM"
                                    " issue_rejection WHERE coupon_id = %s",
                                    event)}
        redis = self.service.redis
        self.state = redis.hgetall(f"{{c:{event}}}:event")
        self.free = [int(n) for n in redis.zrange(f"{{c:{event}}}:free", 0, -1)]
        self.n_pending = redis.zcard(f"{{c:{event}}}:pending")
        self.holders = {}
        for user, value in redis.hscan_iter(f"{{c:{event}}}:users", count=5000):
            if ":" not in user:
                request, seq, _ = value.split(":")
                self.holders[int(user)] = (request, int(seq))

    def violation(self, name, text):
        self.violations.append((name, f"event {self.event}: {text}"))

    def run(self):
        self._check_rows()
        self._check_slots()
        self._check_final_states()
        for (user, _), tries in self.tries.items():
            if user:
                self._check_request(user, tries)
        self._check_order()
        self._check_answers()
        return self

    # ---- G1, G2, G7 ----

    def _check_rows(self):
        numbers = Counter(row[1] for row in self.rows)
        if len(self.rows) > self.total or any(
                not 1 <= n <= self.total for n in numbers):
            self.violation("OVER_ISSUED", f"{len(self.rows)} rows, highest "
                           f"{max(numbers)}, total {self.total}")
        for number, count in numbers.items():
            if count > 1:
                self.violation("DUPLICATE_NUMBER", f"{number}: {count} rows")
        if len(self.row_of) != len(self.rows):
            self.violation("DUPLICATE_USER", "a user has two rows")
        self.counts["rows"] = len(self.rows)

    def _check_slots(self):
        if self.state.get("fenced", "0") != "0" or "next" not in self.state:
            self.violation("FENCED", str(self.state))
            return
        next_number = int(self.state["next"])
        available = self.total - next_number + 1 + len(self.free)
        if len(self.rows) + available != self.total:
            taken = {row[1] for row in self.rows} | set(self.free)
            leaked = [n for n in range(1, next_number) if n not in taken]
            self.violation(
                "LEAKED_SLOT", f"{len(self.rows)} rows + {available} available"
                f" != {self.total}; nobody has {leaked[:10]}")
        if int(self.state["total"]) != self.total:
            self.violation("STATE_MISMATCH", f"total {self.state['total']} in "
                           f"Redis, {self.total} in PostgreSQL")

    # ---- G3 ----

    def _check_final_states(self):
        for (user, request), reason in self.rejections.items():
            row = self.row_of.get(user)
            if row and row[2] == request:
                self.violation("TWO_FINAL_STATES",
                               f"{user}:{request} issued and {reason}")
        for user, (request, seq) in self.holders.items():
            row = self.row_of.get(user)
            if row and (row[2], row[1]) == (request, seq):
                continue
            if (user, request) in self.rejections:
                self.violation("REJECTED_HOLDER", f"{user}:{request}:{seq}")
            else:
                self.violation("STUCK_PENDING", f"{user}:{request}:{seq} is in"
                               " users, no row, no rejection")
        for user, row in self.row_of.items():
            if user not in self.holders:
                self.violation("STATE_MISMATCH", f"row {row[:3]} not in users")
        self.counts["pending"] = self.n_pending

    def _check_request(self, user, tries):
        """All tries of one user with one key."""
        request = tries[-1].key or tries[-1].request
        accepted = [t for t in tries if t.status == 202]
        row = self.row_of.get(user)
        mine = row if row and row[2] == request else None
        if accepted:
            self._check_accepted(user, request, accepted, mine)
        elif tries and all(t.is_refused() for t in tries):
            if mine or self.holders.get(user, ("",))[0] == request:
                if not any(t.code == "ALREADY_ISSUED" and t.request == request
                           for t in tries):
                    self.violation("REFUSED_WITH_TRACE", f"{user}:{request} "
                                   f"{tries[-1].status} {tries[-1].code}")
        elif mine:
            self.counts["issued after unknown"] += 1

    def _check_accepted(self, user, request, accepted, row):
        self.counts["accepted"] += 1
        seqs = {t.seq for t in accepted}
        if row and row[1] in seqs:
            if len(seqs) > 1:
                self._excuse("RENUMBERED", user, request, accepted)
            return
        if row:
            self._excuse("RENUMBERED", user, request, accepted)
        elif (user, request) in self.rejections:
            if any(self._is_near_loss(t) for t in accepted):
                self.counts["rejected"] += 1
            else:
                self.violation("ACCEPTED_THEN_REJECTED", f"{user}:{request} "
                               + self.rejections[user, request])
        elif (self.event, user, request) in self.in_kafka:
            self.violation("LOST_ACCEPT", f"{user}:{request}:{seqs} is in Kafka")
        else:
            self._excuse("LOST_ACCEPT", user, request, accepted)

    def _excuse(self, name, user, request, accepted):
        away = self.facts.away
        if self._is_forgotten(accepted[0], away["kafka"]):
            self.counts["excused"] += 1
        elif self._is_forgotten(accepted[0], away["kafka"] + away["relay"]):
            self.counts["relay away"] += 1
        else:
            self.violation(name, f"{user}:{request} {[t.seq for t in accepted]}"
                           f" accepted at {accepted[0].sent:.3f}")

    def _is_forgotten(self, entry, away):
        return any(forgotten_since(loss, away) <= entry.done
                   and entry.sent <= loss.end for loss in self.facts.losses)

    def _is_near_loss(self, entry):
        away = [*self.facts.away["kafka"], *self.facts.away["relay"]]
        return any(forgotten_since(loss, away) <= entry.done
                   and entry.sent <= loss.end + UNFENCED_S
                   for loss in self.facts.losses)

    # ---- G4, G6 ----

    def _check_order(self):
        if self.facts.losses:
            return  # a rebuild gives numbers back
        times = [row[3] for row in self.rows]
        if times != sorted(times):
            self.violation("ORDER", "accept times fall with rising numbers")
        self.counts["in order"] += 1

    def _check_answers(self):
        for tries in self.tries.values():
            for entry in tries:
                self._check_answer(entry)

    def _check_answer(self, entry):
        if entry.status == 503 and not (entry.outcome and entry.reason):
            self.violation("NO_REASON", str(entry))
        if entry.status >= 500 and entry.status != 503:
            self.violation("STATUS", str(entry))
        if entry.status == 0 and "Timeout" not in entry.error:
            self.counts["reset"] += 1
            return
        if entry.took > DEADLINE_S + LATE_S and not any(
                port == entry.port and begin <= entry.done
                and entry.sent <= end + LATE_S
                for port, begin, end in self.facts.frozen):
            self._check_late(entry)

    def _check_late(self, entry):
        crowd = self.facts.crowd(entry.sent, entry.done)
        if entry.took <= DEADLINE_S + crowd * LATE_S:
            self.counts["late on a crowded machine"] += 1
            return
        self.violation("LATE", f"{entry.took:.2f} s ({crowd:.0f} threads per"
                       f" core): {entry}")
