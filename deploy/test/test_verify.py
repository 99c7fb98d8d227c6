# SPDX-License-Identifier: MIT
"""coupon-verify finds every violation that is seeded, and no other.

One event at rest, with everything that is allowed in it; each test breaks
one thing, looks, and puts everything back.
"""

import json

import confluent_kafka
import pytest

from service import Service, timestamp, wait_for
from stack import DIRECTORY
from web import Load

TOTAL = 20
ISSUED = 10  # users 1..10; numbers 11 and 12 are free, 13 is next
TABLES = ("coupon", "user_coupon", "issue_rejection", "consumer_offset")
KEYS = {
    "user_coupon_pkey": "PRIMARY KEY (coupon_id, user_id)",
    "user_coupon_coupon_id_seq_key": "UNIQUE (coupon_id, seq)",
}


class DataSet:
    """An event at rest, whose daemons have ended."""

    def __init__(self, service):
        self.service, self.redis = service, service.redis
        api, _ = service.api(), service.consumer()
        self.event = service.event(api, TOTAL)
        wait_for(lambda: self.redis.hget(self.key("event"), "fenced") == "0")
        answers = Load([api.port], self.event, range(1, ISSUED + 1)).join()
        assert {a.status for a in answers} == {202}
        service.settle(self.event)
        for daemon in service.daemons:
            daemon.stop()
        self.redis.hset(self.key("event"), "next", 13)
        self.redis.zadd(self.key("free"), {"11": 11, "12": 12})
        self.sql("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
                 " seq, reason) VALUES (%s, 50, 'r50', 99, 'NUMBER_TOO_HIGH')")
        self.redis.hset(self.key("users"), "50:r50", "NUMBER_TOO_HIGH:99:0")

    def key(self, part):
        return f"{{c:{self.event}}}:{part}"

    def sql(self, text, *parameters):
        return self.service.query(text, self.event, *parameters)

    def hold(self, user, value, field=None):
        self.redis.hset(self.key("users"), field or str(user), value)

    def row_of(self, user):
        """(number, request id)"""
        return self.sql("SELECT seq, request_id FROM user_coupon"
                        " WHERE coupon_id = %s AND user_id = %s", user)[0]

    def produce(self, user, request, seq):
        producer = confluent_kafka.Producer({
            "bootstrap.servers": f"127.0.0.1:{self.service.stack.kafka_port}"})
        producer.produce(self.service.topic, key=str(user), value=json.dumps({
            "v": 1, "requestId": request, "couponId": self.event,
            "userId": user, "seq": seq, "acceptedAt": timestamp(-60)}))
        assert producer.flush(20) == 0

    def look(self, *arguments):
        """The exit status and {(violation, user, number)}."""
        status, report = self.service.verify(
            "--event", str(self.event), *arguments)
        found = {(f["violation"], f.get("userId"), f.get("seq"))
                 for event in report["events"] for f in event["findings"]}
        assert status == (1 if found else 0)
        return found

    def snapshot(self):
        rows = {table: self.service.query(f"SELECT * FROM {table}")
                for table in TABLES}
        keys = {key: self.redis_raw.dump(key) for key in self.redis_raw.keys()}
        return rows, keys

    @property
    def redis_raw(self):
        connection = self.redis.connection_pool.connection_kwargs
        return type(self.redis)(port=connection["port"])

    def restore(self, snapshot):
        rows, keys = snapshot
        self.service.query("TRUNCATE coupon CASCADE; TRUNCATE issue_rejection,"
                           " consumer_offset")
        connection = self.service.connect()
        with connection.cursor() as cursor:
            for table in TABLES:
                for row in rows[table]:
                    marks = ", ".join(["%s"] * len(row))
                    cursor.execute(
                        f"INSERT INTO {table} VALUES ({marks})", row)
            for name, key in KEYS.items():
                cursor.execute(
                    f"ALTER TABLE user_coupon DROP CONSTRAINT IF EXISTS {name},"
                    f" ADD CONSTRAINT {name} {key}")
        connection.close()
        raw = self.redis_raw
        raw.flushall()
        for key, value in keys.items():
            raw.restore(key, 0, value)
        # Messages stay in Kafka: they count as consumed from now on.
        self.consume_all()

    def consume_all(self):
        consumer = confluent_kafka.Consumer({
            "bootstrap.servers": f"127.0.0.1:{self.service.stack.kafka_port}",
            "group.id": "test-verify"})
        _, high = consumer.get_watermark_offsets(
            confluent_kafka.TopicPartition(self.service.topic, 0), timeout=20)
        consumer.close()
        self.service.query("UPDATE consumer_offset SET next_offset = %s", high)


@pytest.fixture(scope="module")
def shared(stack):
    directory = DIRECTORY / "logs" / "test_verify"
    directory.mkdir(parents=True, exist_ok=True)
    service = Service(stack, directory)
    data = DataSet(service)
    yield data
    # No test left anything behind: each would have found what others did.
    assert data.look("--at-rest") == set()
    service.close()


@pytest.fixture
def data(shared):
    snapshot = shared.snapshot()
    yield shared
    shared.restore(snapshot)


def over_issued(data):
    data.sql("UPDATE user_coupon SET seq = 21 WHERE coupon_id = %s"
             " AND user_id = 1")
    number, request = data.row_of(1)
    data.hold(1, f"{request}:{number}:1")
    data.redis.hset(data.key("event"), "next", 22)
    for free in range(1, 22):  # nothing else is wrong
        if free not in {row[1] for row in data.service.rows(data.event)}:
            data.redis.zadd(data.key("free"), {str(free): free})
    return {("OVER_ISSUED", 1, 21)}


def more_rows_than_total(data):
    """A total that was lowered, in PostgreSQL and in Redis."""
    data.sql("UPDATE coupon SET total = 9 WHERE id = %s")
    data.redis.hset(data.key("event"), "total", 9)
    user = data.sql("SELECT user_id FROM user_coupon WHERE coupon_id = %s"
                    " AND seq = 10")[0][0]
    return {("OVER_ISSUED", user, 10)}


def duplicate_user(data):
    data.service.query("ALTER TABLE user_coupon DROP CONSTRAINT user_coupon_pkey")
    data.sql("INSERT INTO user_coupon SELECT coupon_id, user_id, 11,"
             " 'twin', accepted_at, issued_at FROM user_coupon"
             " WHERE coupon_id = %s AND user_id = 1")
    data.redis.zrem(data.key("free"), "11")
    return {("DUPLICATE_USER", 1, max(11, data.row_of(1)[0]))}


def duplicate_number(data):
    data.service.query(
        "ALTER TABLE user_coupon DROP CONSTRAINT user_coupon_coupon_id_seq_key")
    number = data.row_of(1)[0]
    data.sql("INSERT INTO user_coupon SELECT coupon_id, 77, seq, 'twin',"
             " accepted_at, issued_at FROM user_coupon"
             " WHERE coupon_id = %s AND user_id = 1")
    data.hold(77, f"twin:{number}:1")
    return {("DUPLICATE_NUMBER", 77, number)}


def number_held_twice(data):
    """And in the outbox, so that it is on its way."""
    number = data.row_of(1)[0]
    data.hold(77, f"twin:{number}:1")
    data.produce(77, "twin", number)
    return {("DUPLICATE_NUMBER", 77, number), ("UNCONSUMED", 77, number)}


def two_final_states(data):
    number, request = data.row_of(1)
    data.sql("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
             " seq, reason) VALUES (%s, 1, %s, %s, 'DUPLICATE')",
             request, number)
    return {("TWO_FINAL_STATES", 1, number)}


def lost_accept(data):
    data.redis.hset(data.key("event"), "next", 14)
    data.hold(77, "lost:13:1")
    return {("LOST_ACCEPT", 77, 13)}


def lost_row(data):
    """PostgreSQL forgot the row, Redis has its holder."""
    number = data.row_of(1)[0]
    data.sql("DELETE FROM user_coupon WHERE coupon_id = %s AND user_id = 1")
    return {("LOST_ACCEPT", 1, number)}


def leaked_slot(data):
    data.redis.zrem(data.key("free"), "12")
    return {("LEAKED_SLOT", None, 12)}


def next_too_high(data):
    data.redis.hset(data.key("event"), "next", 15)
    return {("LEAKED_SLOT", None, 13), ("LEAKED_SLOT", None, 14)}


def stuck_pending(data):
    data.redis.hset(data.key("event"), "next", 14)
    data.hold(77, "stuck:13:1")
    data.redis.zadd(data.key("pending"), {"77:stuck:13": 1})
    return {("STUCK_PENDING", 77, 13)}


def orphan_pending(data):
    data.redis.zadd(data.key("pending"), {"77:nobody:13": 1})
    return {("ORPHAN_PENDING", 77, 13)}


def unconsumed(data):
    data.redis.hset(data.key("event"), "next", 14)
    data.hold(77, "late:13:1")
    data.produce(77, "late", 13)
    return {("UNCONSUMED", 77, 13)}


def rejected_holder(data):
    data.redis.hset(data.key("event"), "next", 14)
    data.hold(77, "refused:13:1")
    data.sql("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
             " seq, reason) VALUES (%s, 77, 'refused', 13, 'NUMBER_TAKEN')")
    return {("STATE_MISMATCH", 77, 13)}


def row_that_users_lacks(data):
    data.redis.hdel(data.key("users"), "1")
    return {("STATE_MISMATCH", 1, data.row_of(1)[0])}


def row_under_another_number(data):
    number, request = data.row_of(1)
    data.hold(1, f"{request}:11:1")
    data.redis.zrem(data.key("free"), "11")
    return {("STATE_MISMATCH", 1, number)}


def row_under_another_request(data):
    number = data.row_of(1)[0]
    data.hold(1, f"other:{number}:1")
    return {("STATE_MISMATCH", 1, number)}


def rejected_only_in_redis(data):
    data.hold(77, "DUPLICATE:13:0", field="77:r77")
    return {("STATE_MISMATCH", 77, None)}


def held_number_is_free(data):
    number = data.row_of(1)[0]
    data.redis.zadd(data.key("free"), {str(number): number})
    return {("STATE_MISMATCH", 1, number)}


def next_too_low(data):
    data.redis.hset(data.key("event"), "next", 10)
    data.redis.delete(data.key("free"))
    user = data.sql("SELECT user_id FROM user_coupon WHERE coupon_id = %s"
                    " AND seq = 10")[0][0]
    return {("STATE_MISMATCH", user, 10)}


def free_number_ahead(data):
    data.redis.zadd(data.key("free"), {"13": 13})
    return {("STATE_MISMATCH", None, 13)}


def fields_differ(data):
    data.redis.hset(data.key("event"), "total", TOTAL + 1)
    return {("STATE_MISMATCH", None, None)}


def version_behind(data):
    data.sql("UPDATE coupon SET version = version + 1 WHERE id = %s")
    return {("STATE_MISMATCH", None, None)}


def version_ahead(data):
    data.redis.hincrby(data.key("event"), "version", 1)
    return {("STATE_MISMATCH", None, None)}


def missing_in_redis(data):
    data.redis.flushall()
    return {("STATE_MISMATCH", None, None)}


def missing_in_postgresql(data):
    data.service.query("TRUNCATE coupon CASCADE; TRUNCATE issue_rejection")
    return {("STATE_MISMATCH", None, None)}


def fenced(data):
    data.redis.hset(data.key("event"), mapping={"fenced": 7, "epoch": 7})
    return {("FENCED_TOO_LONG", None, None)}


SEEDS = (
    over_issued, more_rows_than_total, duplicate_user, duplicate_number,
    number_held_twice, two_final_states, lost_accept, lost_row, leaked_slot,
    next_too_high, stuck_pending, orphan_pending, unconsumed, rejected_holder,
    row_that_users_lacks, row_under_another_number, row_under_another_request,
    rejected_only_in_redis, held_number_is_free, next_too_low,
    free_number_ahead, fields_differ, version_behind, version_ahead,
    missing_in_redis, missing_in_postgresql, fenced,
)


def test_a_clean_event_has_no_violation(data):
    assert data.look("--at-rest") == set()
    assert data.look() == set()
    assert data.look("--at-rest", "--whole-topic") == set()


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.__name__)
def test_a_seeded_violation_is_found_and_no_other(data, seed):
    """That it is gone once the data are back, the next one shows."""
    assert seed(data) == data.look("--at-rest")


def test_while_running_the_same_is_found_but_not_what_is_on_its_way(data):
    expected = lost_accept(data)
    data.produce(88, "coming", 14)
    data.redis.hset(data.key("event"), "next", 16)
    data.hold(88, "coming:14:1")
    now = int(data.redis.time()[0]) * 1000
    data.hold(99, f"pending:15:{now}")
    data.redis.zadd(data.key("pending"), {"99:pending:15": now})
    assert data.look() == expected


def test_the_whole_topic_shows_rows_that_redis_forgot_too(data):
    data.sql("DELETE FROM user_coupon WHERE coupon_id = %s AND user_id = 1")
    number = next(n for n in range(1, 11) if n not in
                  {row[1] for row in data.service.rows(data.event)})
    data.redis.hdel(data.key("users"), "1")
    data.redis.zadd(data.key("free"), {str(number): number})
    assert data.look("--at-rest") == set()
    # Other tests left messages behind that never became final.
    assert ("LOST_ACCEPT", 1) in {
        found[:2] for found in data.look("--at-rest", "--whole-topic")}


def test_what_cannot_be_checked_is_neither_clean_nor_wrong(data):
    with pytest.raises(AssertionError, match="there is no event"):
        data.service.verify("--event", "4711")
    with pytest.raises(AssertionError, match="unknown argument"):
        data.service.verify("--bogus")


def test_repair_says_what_would_be_done_and_writes_nothing(data):
    lost_accept(data)
    before = data.snapshot()
    _, report = data.service.verify("--repair", "--at-rest")
    repairs = [f["repair"] for e in report["events"] for f in e["findings"]]
    assert repairs == ["would be sent again"]
    assert data.snapshot() == before
