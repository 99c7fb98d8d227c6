# SPDX-License-Identifier: MIT
"""After the end: a flood that costs nothing, and more stock that is seen."""

import contextlib
import itertools
import time

import pytest

from delay import DelayProxy
from service import wait_for
from stack import PATIENCE
from web import Load

LATCH = 0.2
users = itertools.count(1)


@pytest.fixture
def slow_redis(stack):
    """A port at which Redis answers in 50 ms."""
    proxy = DelayProxy(stack.spare_port, stack.redis_port, 0.05)
    yield stack.spare_port
    proxy.close()


def sold_out_event(service, api):
    event = service.event(api, total=1)
    answers = Load([api.port], event, itertools.islice(users, 2), connections=1).join()
    assert [a.status for a in answers] == [202, 409]
    return event


@contextlib.contextmanager
def flood(api, event):
    load = Load([api.port], event, users, connections=64)
    try:
        yield load
    finally:
        load.stop()


def admitted(api):
    return api.metric("coupon.admission", "COUNT", verdict="admitted")


def scripts_run(service):
    """EVALSHA of everybody: the upkeep's, too."""
    return service.redis.info("commandstats")["cmdstat_evalsha"]["calls"]


def test_a_flood_costs_one_command_per_latch_time(service, slow_redis):
    """Also while Redis is slow: one asks, and the others are told meanwhile."""
    api = service.api(**{
        "redis.port": slow_redis, "latch.duration": f"{LATCH * 1000:.0f}ms",
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.limit-for-period": 20})
    event = sold_out_event(service, api)

    def ran(seconds):
        before = scripts_run(service)
        time.sleep(seconds)  # the length of the look
        return scripts_run(service) - before
    with flood(api, event) as load:
        wait_for(lambda: load.count(409) > 200, what="the flood")
        begin, before = time.monotonic(), admitted(api)
        flooded = ran(0.8)
        probes = admitted(api) - before
        most = (time.monotonic() - begin) / LATCH + 1
    assert 1 <= probes <= most
    assert flooded <= ran(0.8) + 3 + most
    assert {(a.status, a.body["code"]) for a in load.answers} == {(409, "SOLD_OUT")}


def test_more_stock_of_another_process_is_seen_within_the_latch_time(service):
    here, there = service.api(), service.api()
    service.consumer()
    event = sold_out_event(service, here)
    with flood(here, event) as load:
        wait_for(lambda: load.count(409) > 200, what="the flood")
        reply = service.admin(there, "PUT", f"/api/coupons/{event}/total", {"total": 101})
        added = time.monotonic()
        assert reply.status == 200, reply
        wait_for(lambda: load.count(202) == 100, 5, "the new stock")
    first = min(a.done for a in load.answers if a.status == 202)
    assert first - added < (LATCH + 0.2) * PATIENCE
    assert here.metric("coupon.admission", "COUNT", verdict="sold_out_latch") > 200
    assert {a.status for a in load.answers} == {202, 409}
