# SPDX-License-Identifier: MIT
"""Redis forgets, and the event is rebuilt from PostgreSQL and Kafka.

Numbers and users are never given twice, whatever Redis lost; at the end rows,
free numbers and the total add up.
"""

import os
import signal
from pathlib import Path

from service import wait_for
from stack import PATIENCE
from web import Load

TOTAL = 3000


def rebuilds(api, cause):
    return api.metric("coupon.rebuild", "COUNT", cause=cause, outcome="done")


def n_rebuilds(apis, cause):
    return sum(rebuilds(api, cause) for api in apis)


def check_rows(service, event, total):
    """What must hold whoever forgot what: G1, G2, G7 and one story."""
    rows = service.rows(event)
    numbers = [row[1] for row in rows]
    assert len(set(numbers)) == len(numbers) <= total
    assert all(1 <= number <= total for number in numbers)
    assert service.holders(event) == {row[0] for row in rows}
    service._check_sum(event, len(rows), total)


def sold_in_part(make_service, total=100):
    """(service, api, event, answers): thirty have a coupon, and all is at rest."""
    service = make_service()
    api = service.api()
    service.consumer()
    event = service.event(api, total)
    answers = Load([api.port], event, range(1, 31), keys=True).join()
    service.settle(event)
    return service, api, event, answers


def age(service, event, answers, next_, **fields):
    """Redis as it was when the event's next number was `next_`."""
    service.redis.hset(f"{{c:{event}}}:event", mapping={"next": next_, **fields})
    for answer in answers:
        if answer.body["seq"] >= next_:
            service.redis.hdel(f"{{c:{event}}}:users", answer.user)


def restart_redis(service):
    service.stack.stop("redis")
    service.stack.start("redis")


def goes_on(service, api, event, answers, users=range(31, 41), total=100):
    """More users are let in, and nobody was given a number twice."""
    answers = answers + Load([api.port], event, users, keys=True).join()
    assert {a.status for a in answers} == {202}
    service.settle(event)
    service.check(event, total, answers)


def test_flushall_under_load(make_service):
    service = make_service(partitions=3)
    apis = [service.api(), service.api()]
    service.consumer()
    event = service.event(apis[0], TOTAL)
    load = Load([a.port for a in apis], event, range(1, 6001), rate=1500, keys=True)
    wait_for(lambda: service.n_rows(event) > 500, what="rows under load")
    service.redis.flushall()
    answers = load.join()
    service.settle(event)
    check_rows(service, event, TOTAL)
    assert n_rebuilds(apis, "missing") >= 1
    # Everybody was answered for good: nobody waits for an event that is gone.
    assert {a.status for a in answers} <= {202, 409}
    # All stock is out, but for what was forgotten before Kafka had it: those
    # numbers are given back by a later rebuild, not lost.
    assert service.n_rows(event) > TOTAL * 0.9


def test_accepted_requests_keep_their_numbers(make_service):
    """What had reached Kafka survives, consumed or not."""
    service = make_service()
    api = service.api()
    consumer = service.consumer()
    event = service.event(api, 100)
    first = Load([api.port], event, range(1, 21), keys=True).join()
    service.settle(event)
    consumer.stop()
    second = Load([api.port], event, range(21, 41), keys=True).join()
    wait_for(lambda: service.redis.zcard(f"{{c:{event}}}:pending") == 0,
             what="Kafka's acknowledgement")
    service.redis.flushall()
    third = Load([api.port], event, range(41, 61), keys=True).join()
    assert {a.status for a in first + second + third} == {202}
    consumer.start().wait_ready()
    service.settle(event)
    service.check(event, 100, first + second + third)


def test_deserted_fence_is_lifted(make_service):
    """A rebuilder that died leaves a fenced event; somebody finds it."""
    service = make_service()
    api = service.api()
    service.consumer()
    event = service.event(api, 100)
    answers = Load([api.port], event, range(1, 11), keys=True).join()
    service.redis.hset(f"{{c:{event}}}:event", mapping={"fenced": 99, "epoch": 99})
    reply = api.post("/api/user-coupons/issue-async",
                     {"couponId": event, "userId": 11})
    assert (reply.status, reply.json["reason"]) == (503, "FENCED")
    answers += Load([api.port], event, range(12, 21), keys=True).join()
    assert {a.status for a in answers} == {202}
    assert rebuilds(api, "fenced") == 1
    service.settle(event)
    service.check(event, 100, answers)


def test_the_fence_of_an_event_long_over_is_lifted(make_service):
    service = make_service()
    api = service.api()
    event = service.event(api, 100)
    service.query("UPDATE coupon SET opens_at = '2000-01-01',"
                  " closes_at = '2000-01-02' WHERE id = %s", event)
    service.redis.hset(f"{{c:{event}}}:event", mapping={"fenced": 99, "epoch": 99})
    other = service.api()  # looks at these first of all, and then each minute
    wait_for(lambda: n_rebuilds([api, other], "fenced") == 1, what="the rebuild")
    assert api.get(f"/api/coupons/{event}").json["state"] == "CLOSED"


def test_a_stopped_api_does_not_keep_an_event_closed(make_service):
    """Its acknowledgement is waited for, but not for ever."""
    service = make_service()
    apis = [service.api(), service.api()]
    service.consumer()
    event = service.event(apis[0], 100)
    answers = Load([apis[0].port], event, range(1, 11), keys=True).join()
    service.settle(event)
    apis[1].signal(signal.SIGSTOP)
    service.redis.flushall()
    answers += Load([apis[0].port], event, range(11, 21), keys=True).join()
    apis[1].signal(signal.SIGCONT)
    assert {a.status for a in answers} == {202}
    service.settle(event)
    service.check(event, 100, answers)


def test_redis_back_with_older_numbers(make_service):
    """An old snapshot: found by the new run id, before numbers collide."""
    service, api, event, answers = sold_in_part(make_service)
    age(service, event, answers, 21)
    restart_redis(service)
    wait_for(lambda: rebuilds(api, "restarted") == 1, what="the rebuild")
    goes_on(service, api, event, answers)


def test_older_numbers_are_fenced_before_their_rebuild_begins(make_service):
    """It may have to wait: here for a lease that somebody else holds."""
    service, api, event, answers = sold_in_part(make_service)
    service.query("INSERT INTO event_rebuild VALUES (%s, 'somebody',"
                  " now() + interval '8 s') ON CONFLICT (coupon_id) DO UPDATE"
                  " SET holder = 'somebody', expires_at = excluded.expires_at",
                  event)
    service.redis.hset(f"{{c:{event}}}:event", "next", 21)
    restart_redis(service)
    wait_for(lambda: "older numbers" in api.log.read_text(), what="the check")
    goes_on(service, api, event, answers)


def test_an_api_that_starts_with_an_older_redis_gives_no_number_twice(make_service):
    """All stopped, an old snapshot put back, all started: no new run id."""
    service, api, event, answers = sold_in_part(make_service)
    api.stop()
    age(service, event, answers, 21)
    api = service.api(ready=False)
    wait_for(lambda: "api started" in api.tail(), what="its port")
    goes_on(service, api, event, answers)
    assert rebuilds(api, "restarted") == 1


def test_an_event_with_broken_keys_keeps_no_other_from_the_check(make_service):
    service, api, event, answers = sold_in_part(make_service)
    broken = service.event(api, 100)
    api.stop()
    service.redis.set(f"{{c:{broken}}}:pending", "no sorted set")
    age(service, event, answers, 21)
    api = service.api()
    wait_for(lambda: rebuilds(api, "restarted") == 1, what="the rebuild")
    assert f'"event not checked" coupon={broken}' in api.log.read_text()
    goes_on(service, api, event, answers)


def test_a_redis_from_before_more_stock_was_added(make_service):
    """Sold out, as far as it knows: its total is as old as its numbers."""
    service, api, event, answers = sold_in_part(make_service, total=30)
    version = service.redis.hget(f"{{c:{event}}}:event", "version")
    assert service.admin(api, "PUT", f"/api/coupons/{event}/total",
                         {"total": 60}).status == 200
    answers += Load([api.port], event, range(31, 51), keys=True).join()
    service.settle(event)
    age(service, event, answers, 31, total=30, version=version)
    restart_redis(service)
    wait_for(lambda: rebuilds(api, "restarted") == 1, what="the rebuild")
    goes_on(service, api, event, answers, range(51, 61), total=60)


def test_an_older_redis_is_fenced_although_kafka_is_away(make_service):
    """What PostgreSQL has rows of is not given out while Kafka is waited for."""
    service, api, event, answers = sold_in_part(make_service)
    api.stop()  # what it has seen would be known as well
    api = service.api()
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        age(service, event, answers, 21)
        restart_redis(service)
        wait_for(lambda: service.redis.hget(f"{{c:{event}}}:event", "fenced")
                 != "0", 3, "the fence, before the gate opens")
    finally:
        os.kill(broker, signal.SIGCONT)
    goes_on(service, api, event, answers)


def lease_of(service, event):
    """(fence epoch, end, whether that is yet to come) of its rebuild, or None."""
    rows = service.query(
        "SELECT c.fence_epoch, r.expires_at, r.expires_at > now()"
        " FROM event_rebuild r JOIN coupon c ON c.id = r.coupon_id"
        " WHERE c.id = %s", event)
    return rows[0] if rows else None


def test_a_rebuild_that_waits_for_kafka_keeps_its_lease_and_ends_when_told(make_service):
    """Kafka holds its answers back: nothing comes for longer than a lease."""
    service = make_service()
    api = service.api(**{"kafka.properties.fetch.min.bytes": 10_000_000,
                         "kafka.properties.fetch.wait.max.ms": 40_000})
    event = service.event(api, 100)
    assert Load([api.port], event, [1]).join()[0].status == 202
    wait_for(lambda: service.redis.zcard(f"{{c:{event}}}:pending") == 0,
             what="Kafka's acknowledgement")
    service.redis.hset(f"{{c:{event}}}:event", mapping={"fenced": 99, "epoch": 99})
    _, end, _ = wait_for(lambda: lease_of(service, event), what="the rebuild")
    wait_for(lambda: service.query("SELECT now() > %s", end)[0][0],
             what="the end of the first lease")
    epoch, _, holds = lease_of(service, event)
    assert (epoch, holds) == (100, True)
    api.signal(signal.SIGTERM)
    assert api.process.wait(8 * PATIENCE) == 0


def test_an_api_ends_when_told_while_it_checks_what_redis_holds(make_service):
    """Kafka holds its answers back for longer than anybody waits."""
    service = make_service()
    api = service.api()
    event = service.event(api, 100)
    assert Load([api.port], event, [1]).join()[0].status == 202
    wait_for(lambda: service.redis.zcard(f"{{c:{event}}}:pending") == 0,
             what="Kafka's acknowledgement")
    api.stop()
    api = service.api(ready=False, **{"kafka.properties.fetch.min.bytes": 10_000_000,
                                      "kafka.properties.fetch.wait.max.ms": 40_000})
    tasks = Path(f"/proc/{api.process.pid}/task")
    wait_for(lambda: [(task / "comm").read_text() for task in tasks.iterdir()]
             .count("rdk:main\n") == 2, what="a reader of the topic")
    api.signal(signal.SIGTERM)
    assert api.process.wait(8 * PATIENCE) == 0
