# SPDX-License-Identifier: MIT
"""More than there is room or time for: who waits, who is refused, who gets in."""

import itertools
import resource
import socket
import time
from collections import Counter

import pytest

from service import wait_for
from web import ISSUE, Load

CROWD = 10_000
RSS_MAX_KB = 250_000


def limiter_metric(api, name):
    return api.metric(f"resilience4j.ratelimiter.{name}")


def test_who_may_wait_for_a_permit_keeps_no_thread(service):
    api = service.api(**{
        "server.threads": 2, "server.request-timeout": "20s",
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.limit-for-period": 10,
        "ratelimiter.coupon-issue.limit-refresh-period": "2s",
        "ratelimiter.coupon-issue.timeout-duration": "15s"})
    service.consumer()
    event = service.event(api, 100)
    load = Load([api.port], event, range(1, 41), connections=40)
    wait_for(lambda: limiter_metric(api, "waiting_threads") >= 10,
             what="requests that wait")
    # Both threads answer others meanwhile: one connection after the other.
    for _ in range(8):
        assert api.get(f"/api/user-coupons/{event}/4711").status == 404
    assert limiter_metric(api, "waiting_threads") > 0
    answers = load.join()
    assert [a.status for a in answers] == [202] * 40
    service.settle(event)
    service.check(event, 100, answers)


def test_nobody_waits_for_a_permit_that_comes_too_late(service):
    api = service.api(**{
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.limit-for-period": 10,
        "ratelimiter.coupon-issue.limit-refresh-period": "1m",
        "ratelimiter.coupon-issue.timeout-duration": "1m"})
    service.consumer()
    event = service.event(api, 100)
    answers = Load([api.port], event, range(1, 41), connections=40).join()
    # A minute may begin meanwhile, but no answer waits for it.
    assert 10 <= sum(a.status == 202 for a in answers) <= 20
    assert limiter_metric(api, "waiting_threads") == 0
    for answer in answers:
        if answer.status != 202:
            assert (answer.status, answer.body["code"]) == (429, "RATE_LIMITED")
            assert 60 <= int(answer.headers["retry-after"]) <= 180


@pytest.fixture
def crowd():
    """Opens connections that never finish their request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CROWD + 1000:
        pytest.skip(f"{hard} open files are too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    opened = []

    def open_one(port, start):
        sock = socket.create_connection(("127.0.0.1", port), 30)
        sock.sendall(start)
        opened.append(sock)
    yield open_one
    for sock in opened:
        sock.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def rss_kb(daemon):
    with open(f"/proc/{daemon.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status
                    if line.startswith("VmRSS:"))


def test_ten_thousand_who_never_finish_keep_nobody_out(service, crowd):
    """Half of them in their headers, half in a body of almost 4 KB."""
    api = service.api()
    service.consumer()
    event = service.event(api, 1000)
    starts = [
        b"GET / HTTP/1.1\r\nHost: t\r\nX-Pad: " + 2000 * b"x",
        b"POST " + ISSUE.encode() + b" HTTP/1.1\r\nHost: t\r\n"
        b"Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
        + 3900 * b" ",
    ]
    for number in range(CROWD):
        crowd(api.port, starts[number % 2])
    wait_for(lambda: connections(api) >= CROWD - 100, 60, "all are in")
    assert rss_kb(api) < RSS_MAX_KB
    for path in ("/actuator/health/liveness", "/actuator/health/readiness"):
        assert api.get(path, timeout=60).status == 200
    answers = Load([api.port], event, range(1, 101), connections=20).join()
    assert {a.status for a in answers} == {202}
    reply = service.admin(api, "POST", "/actuator/refresh")
    assert reply.status == 200
    assert connections(api) <= CROWD + 200
    assert api.metric("http.server.connections.displaced") >= 10
    service.settle(event)
    service.check(event, 1000, answers)


def connections(api):
    return api.metric("http.server.connections", server="http")


def test_a_crowd_is_not_told_to_come_back_at_once(service):
    """Retry-After as it is on the wire: some 500 refused, 20 get in a second."""
    api = service.api(**{
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.limit-for-period": 20})
    event = service.event(api, 1000)
    answers = Load([api.port], event, range(1, 601), connections=64).join()
    told = Counter(int(a.headers["retry-after"]) for a in answers if a.status == 429)
    assert 1 <= min(told) and 10 < max(told) <= 31
    assert len(told) > 10
    assert max(told.values()) < sum(told.values()) / 4


def test_an_event_may_have_a_limit_of_its_own(service):
    api = service.api(**{
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.limit-for-period": 30,
        "ratelimiter.coupon-issue.limit-refresh-period": "1h",
        "ratelimiter.coupon-issue.events.2": 5})
    events = [service.event(api, 1000) for _ in range(3)]
    assert 2 in events
    for event in sorted(events, key=lambda event: event != 2):
        answers = Load([api.port], event, range(1, 41), connections=20).join()
        # The others share what its refusals have not touched.
        took = {2: 5}.get(event, 30 if event == min(events) else 0)
        assert Counter(a.status for a in answers) == Counter(
            {202: took, 429: 40 - took}), event


def test_in_smooth_mode_permits_come_evenly(service):
    api = service.api(**{
        "ratelimiter.coupon-issue.enabled": "true",
        "ratelimiter.coupon-issue.mode": "smooth",
        "ratelimiter.coupon-issue.limit-for-period": 50})
    event = service.event(api, 1000)
    begin = time.monotonic()
    load = Load([api.port], event, itertools.count(1), connections=8, rate=400)
    wait_for(lambda: load.count(202) >= 40, 5, "permits")
    answers = load.stop()
    took = time.monotonic() - begin
    taken = sorted(a.done for a in answers if a.status == 202)
    # A tenth of a second's at once; a cycle would have had all of its 50.
    assert len(taken) <= 50 * took + 7
    assert taken[-1] - taken[0] > 0.5
    assert load.count(429) > load.count(202)
