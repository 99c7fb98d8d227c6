# SPDX-License-Identifier: MIT
"""Many users, few coupons, two api processes: the guarantees G1-G5 and G7."""

import random
from collections import Counter

from web import Load


def test_5000_users_race_for_1000_coupons_through_two_apis(make_service):
    service = make_service(partitions=3)
    apis = [service.api(), service.api()]
    service.consumer()
    event = service.event(apis[0], total=1000)

    users = list(range(1, 5001))
    random.Random(1).shuffle(users)
    answers = Load([a.port for a in apis], event, users, connections=128).join()

    outcomes = Counter((a.status, a.body.get("code")) for a in answers)
    assert outcomes == {(202, None): 1000, (409, "SOLD_OUT"): 4000}
    service.settle(event)
    service.check(event, 1000, answers)
    assert service.n_rows(event) == 1000


def test_a_user_who_asks_many_times_at_once_gets_one_coupon(make_service):
    service = make_service()
    apis = [service.api(), service.api()]
    service.consumer()
    event = service.event(apis[0], total=1000)

    users = [user for user in range(1, 51) for _ in range(20)]
    answers = Load([a.port for a in apis], event, users, connections=100).join()

    outcomes = Counter((a.status, a.body.get("code")) for a in answers)
    assert outcomes == {(202, None): 50, (409, "ALREADY_ISSUED"): 950}
    ids = {a.user: a.body["requestId"] for a in answers if a.status == 202}
    for answer in answers:  # every refusal names the request that won
        assert answer.body["requestId"] == ids[answer.user]
    service.settle(event)
    service.check(event, 1000, answers)


def test_more_stock_reopens_a_sold_out_event(service):
    api = service.api()
    service.consumer()
    event = service.event(api, total=100)
    first = Load([api.port], event, range(1, 201)).join()
    assert sum(a.status == 202 for a in first) == 100

    reply = service.admin(api, "PUT", f"/api/coupons/{event}/total", {"total": 150})
    assert reply.status == 200, reply
    second = Load([api.port], event, range(201, 401)).join()
    assert sum(a.status == 202 for a in second) == 50
    service.settle(event)
    service.check(event, 150, first + second)


def test_a_retry_with_its_key_gets_the_same_answer(service):
    api = service.api()
    service.consumer()
    event = service.event(api, total=100)
    first = Load([api.port], event, range(1, 51), keys=True).join()
    again = Load([api.port], event, range(1, 51), keys=True).join()

    told = {a.user: (a.status, a.body["requestId"], a.body["seq"]) for a in first}
    assert {a.user: (a.status, a.body["requestId"], a.body["seq"])
            for a in again} == told
    service.settle(event)
    assert service.n_rows(event) == 50
