# SPDX-License-Identifier: MIT
"""Poison in the topic: it holds up nobody, and an operator deals with it."""

import json
import subprocess

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from service import timestamp, wait_for
from web import Load

UNKNOWN = 987654  # an event that Redis knows and PostgreSQL does not


def brokers(service):
    return f"127.0.0.1:{service.stack.kafka_port}"


def message(**members):
    good = {"v": 1, "requestId": "r1", "couponId": UNKNOWN, "userId": 1,
            "seq": 1, "acceptedAt": timestamp(0)}
    return json.dumps({**good, **members})


def poison(spoilt_event):
    """{value: reason}; one of them identifies its request."""
    return {
        "no JSON": "UNREADABLE",
        b"\xff\xfe\x00\x1b[2J": "UNREADABLE",
        "[1, 2]": "UNREADABLE",
        "": "UNREADABLE",
        message(v="1"): "UNREADABLE",
        message(v=0): "UNREADABLE",
        message(userId="one"): "UNREADABLE",
        message(couponId=1.5): "UNREADABLE",
        message(requestId="two words"): "UNREADABLE",
        message(couponId=spoilt_event, userId=7, seq="7"): "INVALID",
        message(userId=42, requestId="early"): "EVENT_UNKNOWN",
    }


class Letters:
    """consumer --dead-letters, with the settings of a running one."""

    def __init__(self, service, **settings):
        self.service = service
        self.settings = {
            "kafka.topic": service.topic,
            "kafka.dead-letter-topic": f"{service.topic}.dlq", **settings}

    def run(self, *arguments):
        command = self.service.stack.command("consumer", 1)
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        return subprocess.run(
            [*command, "--dead-letters", *arguments], text=True, timeout=30,
            env=self.service.stack.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def list(self, *arguments):
        result = self.run("list", "--json", *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        return [json.loads(line) for line in result.stdout.splitlines()]

    def one(self, **members):
        """PARTITION:OFFSET of the only letter with these members."""
        found = [letter for letter in self.list("--all")
                 if members.items() <= letter.items()]
        assert len(found) == 1, found
        return "{partition}:{offset}".format(**found[0])

    def states(self):
        return {(letter.get("requestId"), letter["state"], letter["outcome"])
                for letter in self.list("--all") if "requestId" in letter}

    def log_end(self):
        """Messages in kafka.topic so far."""
        consumer = Consumer({"bootstrap.servers": brokers(self.service),
                             "group.id": "test"})
        ends = [consumer.get_watermark_offsets(
            TopicPartition(self.service.topic, n), timeout=5)[1] for n in (0, 1)]
        consumer.close()
        return sum(ends)


@pytest.fixture
def poisoned(make_service):
    """(service, letters, poison) after good requests with poison between."""
    service = make_service(partitions=2)
    api, _ = service.api(), service.consumer()
    event = service.event(api, total=100000)
    spoilt_event = service.event(api, total=10)
    service.redis.hset(f"{{c:{UNKNOWN}}}:event", "total", "10")
    producer = Producer({"bootstrap.servers": brokers(service)})
    bad = poison(spoilt_event)

    load = Load([api.port], event, range(1, 601), rate=600)
    wait_for(lambda: service.n_rows(event) > 20)
    for n, value in enumerate(bad):
        producer.produce(service.topic, value, partition=n % 2,
                         headers={"traceparent": f"trace-{n}"})
    producer.flush(10)
    answers = load.join()
    service.settle(event)
    service.check(event, 100000, answers)
    assert service.n_rows(event) == 600
    letters = Letters(service)
    wait_for(lambda: len(letters.list()) == len(bad), what="all letters")
    yield service, letters, bad
    service.redis.delete(f"{{c:{UNKNOWN}}}:event")


def test_poison_is_set_aside_listed_replayed_and_discarded(poisoned):
    service, letters, bad = poisoned
    check_list(letters, bad)
    check_show(letters)
    check_replay(service, letters)
    check_discard(letters)


def check_list(letters, bad):
    listed = letters.list()
    assert sorted(letter["headers"]["reason"] for letter in listed) == sorted(
        bad.values())
    assert {letter["state"] for letter in listed} == {"OPEN"}
    for letter in listed:
        headers = letter["headers"]
        assert headers["original-topic"] == letters.service.topic
        assert int(headers["original-partition"]) in (0, 1)
        assert int(headers["original-offset"]) >= 0
        assert headers["failed-at"] == headers["first-failed-at"]
        assert headers["traceparent"].startswith("trace-")
        assert headers["error"]
    table = letters.run("list", "--reason", "INVALID")
    assert table.returncode == 0
    assert len(table.stdout.splitlines()) == 2
    assert "\x1b" not in letters.run("list").stdout


def check_show(letters):
    ids = [f"{letter['partition']}:{letter['offset']}"
           for letter in letters.list()]
    shown = letters.run("show", *ids)
    assert shown.returncode == 0
    assert "no JSON" in shown.stdout
    assert r"\xff\xfe\x00\x1b[2J" in shown.stdout
    assert letters.run("show", "0:4711").returncode == 3


def check_replay(service, letters):
    early = letters.one(requestId="early")
    rejected = letters.one(outcome="INVALID")
    before = letters.log_end()
    assert before == 611
    dry = letters.run("replay", "--all")
    assert dry.returncode == 3  # most are refused: they cannot be read
    assert f"{early}  would be replayed" in dry.stdout
    assert f"{rejected}  refused: the request was rejected: INVALID" in dry.stdout
    assert "1 would be replayed, 10 refused" in dry.stdout
    assert letters.log_end() == before
    assert letters.run("replay", rejected, "--execute").returncode == 3
    assert letters.log_end() == before

    # Too early: it comes back, with the time of its first failure.
    assert letters.run("replay", early, "--execute").returncode == 0
    assert letters.log_end() == before + 1
    wait_for(lambda: len(letters.list("--reason", "EVENT_UNKNOWN")) == 2)
    first, again = letters.list("--reason", "EVENT_UNKNOWN")
    assert (first["state"], again["state"]) == ("REPLAYED", "OPEN")
    assert again["headers"]["first-failed-at"] == first["headers"]["failed-at"]
    assert again["headers"]["failed-at"] > first["headers"]["failed-at"]
    assert again["headers"]["traceparent"] == first["headers"]["traceparent"]
    twice = letters.run("replay", early, "--execute")
    assert twice.returncode == 3 and "refused: REPLAYED at" in twice.stdout

    # Repaired: it is issued.
    service.query(
        "INSERT INTO coupon (id, name, total, opens_at, closes_at)"
        " VALUES (%s, 'late', 10, now(), now() + '1 day')", UNKNOWN)
    done = letters.run("replay", "--reason", "EVENT_UNKNOWN", "--execute")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "1 replayed, 0 refused" in done.stdout
    wait_for(lambda: service.n_rows(UNKNOWN) == 1, what="issued at last")
    assert [row[:3] for row in service.rows(UNKNOWN)] == [(42, 1, "early")]
    assert letters.states() == {
        ("r1", "OPEN", "INVALID"), ("early", "REPLAYED", "ISSUED")}


def check_discard(letters):
    listed = len(letters.list())
    dry = letters.run("discard", "--reason", "UNREADABLE")
    assert dry.returncode == 0 and "9 would be discarded" in dry.stdout
    assert len(letters.list()) == listed
    done = letters.run("discard", "--reason", "UNREADABLE", "--execute")
    assert done.returncode == 0 and "9 discarded" in done.stdout
    assert len(letters.list()) == listed - 9
    assert len(letters.list("--all")) == listed
    assert letters.run("discard", "--reason", "UNREADABLE",
                       "--execute").stdout.startswith("0 discarded")


def test_what_cannot_be_asked_is_named(make_service):
    service = make_service()
    producer = Producer({"bootstrap.servers": brokers(service)})
    producer.produce(f"{service.topic}.dlq", "no JSON")
    producer.flush(10)
    for settings, words in (
            ({"kafka.dead-letter-topic": "nowhere"}, "nowhere"),
            ({"datasource.url": "postgresql://127.0.0.1:1/coupon"},
             "pool: postgres")):
        letters = Letters(service, **settings)
        result = letters.run("list")
        assert result.returncode == 1, result
        assert words in result.stderr and result.stderr.count("\n") == 1
    for arguments in ([], ["replay"], ["list", "--execute"], ["show", "1"],
                      ["discard", "--all", "0:1"], ["mend"]):
        assert letters.run(*arguments).returncode == 2, arguments
