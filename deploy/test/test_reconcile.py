# SPDX-License-Identifier: MIT
"""The reconciler: what was lost is sent again, what is at odds is rebuilt."""

import pytest

from service import wait_for
from web import ISSUE, Load

TOTAL = 20
ISSUED = 10


def settled_event(service, api):
    """An event with 10 of 20 issued, at rest."""
    event = service.event(api, TOTAL)
    wait_for(lambda: service.redis.hget(f"{{c:{event}}}:event", "fenced") == "0")
    answers = Load([api.port], event, range(1, ISSUED + 1)).join()
    assert {a.status for a in answers} == {202}
    service.settle(event)
    return event


@pytest.fixture
def running(service):
    """(service, api, event)"""
    api = service.api(reconcile__interval="1s")
    service.consumer()
    return service, api, settled_event(service, api)


def test_a_request_that_kafka_lost_is_sent_again_and_issued(running):
    service, api, event = running
    service.redis.hset(f"{{c:{event}}}:event", "next", 12)
    now = int(service.redis.time()[0]) * 1000
    service.redis.hset(f"{{c:{event}}}:users", "77", f"lost:11:{now}")
    wait_for(lambda: service.n_rows(event) == ISSUED + 1, 60, "the lost row")
    assert service.rows(event)[-1][:3] == (77, 11, "lost")
    assert api.metric("coupon.reconcile.restored") == 1
    assert service.verify("--event", str(event), "--at-rest")[0] == 0


def test_the_number_of_a_rejected_holder_goes_to_the_next_request(running):
    service, api, event = running
    service.redis.hset(f"{{c:{event}}}:event", "next", 12)
    now = int(service.redis.time()[0]) * 1000
    service.redis.hset(f"{{c:{event}}}:users", "77", f"refused:11:{now}")
    service.query("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
                  " seq, reason) VALUES (%s, 77, 'refused', 11, 'NUMBER_TAKEN')",
                  event)
    wait_for(lambda: service.redis.hget(f"{{c:{event}}}:users", "77") is None,
             60, "the rebuild")
    reply = api.post(ISSUE, {"couponId": event, "userId": 78})
    assert (reply.status, reply.json["seq"]) == (202, 11)
    wait_for(lambda: service.n_rows(event) == ISSUED + 1)
    assert service.verify("--event", str(event), "--at-rest")[0] == 0


def test_a_row_that_users_lacks_comes_back_by_a_rebuild(running):
    service, _, event = running
    service.redis.hdel(f"{{c:{event}}}:users", "1")
    wait_for(lambda: service.redis.hget(f"{{c:{event}}}:users", "1"), 90,
             "the rebuild")
    assert service.verify("--event", str(event), "--at-rest")[0] == 0


def test_one_api_compares_and_the_gauge_says_what_it_found(running):
    """From pass to pass the same, until it dies: then the other."""
    service, api, event = running
    apis = [api, service.api(reconcile__interval="1s")]
    service.query("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
                  " seq, reason) SELECT coupon_id, user_id, request_id, seq,"
                  " 'DUPLICATE' FROM user_coupon WHERE coupon_id = %s"
                  " AND user_id = 1", event)

    def found(daemon):
        return daemon.metric("coupon.reconcile.violations",
                             violation="TWO_FINAL_STATES")

    def passes(daemon):
        return daemon.metric("coupon.reconcile", "COUNT")
    wait_for(lambda: any(found(a) for a in apis), what="the gauge")
    one, other = sorted(apis, key=found, reverse=True)
    begun, others = passes(one), passes(other)
    seen = set()

    def five_passes():
        seen.add((found(one), found(other)))
        return passes(one) >= begun + 5
    wait_for(five_passes, 30)
    assert passes(other) == others
    assert seen == {(1, 0)}
    one.kill()
    wait_for(lambda: found(other) == 1, what="the successor")
    service.query("DELETE FROM issue_rejection")
    wait_for(lambda: found(other) == 0, what="it is gone")


def test_an_event_with_broken_keys_holds_up_no_other(running):
    """Relay, upkeep, reconciler and metrics go on with the one behind it."""
    service, api, broken = running
    event = settled_event(service, api)
    for part in ("event", "pending"):
        service.redis.delete(f"{{c:{broken}}}:{part}")
        service.redis.set(f"{{c:{broken}}}:{part}", "no such thing")

    def task_error(name):
        tasks = api.get("/actuator/scheduledtasks").json["fixedDelay"]
        task = next(t for t in tasks if t["runnable"]["target"] == name)
        last = task.get("lastExecution", {})
        return last.get("exception", {}).get("message", "")
    for name in ("relay", "upkeep", "reconcile"):
        wait_for(lambda: f"event {broken}: redis: WRONGTYPE" in task_error(name),
                 what=f"what {name} says of it")

    service.redis.hset(f"{{c:{event}}}:event", mapping={"fenced": 99, "epoch": 99})
    wait_for(lambda: service.redis.hget(f"{{c:{event}}}:event", "fenced") == "0",
             what="the upkeep")
    with service.redis.pipeline() as accepted:
        accepted.hset(f"{{c:{event}}}:event", "next", ISSUED + 2)
        accepted.hset(f"{{c:{event}}}:users", "77", f"lost:{ISSUED + 1}:1000")
        accepted.zadd(f"{{c:{event}}}:pending", {f"77:lost:{ISSUED + 1}": 1000})
        accepted.execute()
    wait_for(lambda: service.n_rows(event) == ISSUED + 1, what="the relay")
    service.query("INSERT INTO issue_rejection (coupon_id, user_id, request_id,"
                  " seq, reason) SELECT coupon_id, user_id, request_id, seq,"
                  " 'DUPLICATE' FROM user_coupon WHERE coupon_id = %s"
                  " AND user_id = 1", event)
    wait_for(lambda: api.metric("coupon.reconcile.violations",
                                violation="TWO_FINAL_STATES") == 1,
             what="the reconciler")
    wait_for(lambda: api.metric("coupon.event.given", coupon=event) == ISSUED + 1,
             what="the metrics")


def test_nothing_is_restored_or_rebuilt_while_requests_are_on_their_way(service):
    api = service.api(reconcile__interval="1s")
    service.consumer()
    event = service.event(api, 100000)
    wait_for(lambda: service.redis.hget(f"{{c:{event}}}:event", "fenced") == "0")
    load = Load([api.port], event, range(1, 100001), rate=2000)
    wait_for(lambda: api.metric("coupon.reconcile", "COUNT") >= 3, 40, "passes")
    load.stop()
    assert api.metric("coupon.reconcile.restored") == 0
    assert api.metric("coupon.rebuild", "COUNT", cause="at_odds") == 0
    assert api.metric("coupon.reconcile.violations") == 0
    service.settle(event)
    assert service.verify("--event", str(event), "--at-rest")[0] == 0


def test_what_is_counted_of_an_event_once_is_not_counted_again(service):
    """counted_to ends before the first gap, and starts over after a DELETE."""
    api = service.api()
    event = service.event(api, 5000)
    # Long past: nobody compares it with Redis, which these rows pass by.
    service.query("UPDATE coupon SET opens_at = '2000-01-01',"
                  " closes_at = '2000-01-02' WHERE id = %s", event)

    def insert(first, last):
        service.query(
            "INSERT INTO user_coupon (coupon_id, user_id, seq, request_id,"
            " accepted_at) SELECT %s, n, n, 'r', now()"
            " FROM generate_series(%s, %s) n", event, first, last)

    def counts(to, issued):
        row = service.query("SELECT counted_to FROM coupon WHERE id = %s", event)
        return row == [(to,)] and \
            api.get(f"/api/coupons/{event}").json["issued"] == issued
    insert(1, 1999)
    insert(2001, 4000)
    assert api.get(f"/api/coupons/{event}").json["issued"] == 3999
    wait_for(lambda: counts(1999, 3999), 60, "what is before the gap")
    insert(2000, 2000)
    wait_for(lambda: counts(4000, 4000), 60, "all")
    service.query("DELETE FROM user_coupon WHERE coupon_id = %s AND seq = 3001",
                  event)
    assert api.get(f"/api/coupons/{event}").json["issued"] == 3999
    wait_for(lambda: counts(3000, 3999), 60, "what is before the new gap")
    service.query("TRUNCATE user_coupon")
    assert counts(0, 0)
