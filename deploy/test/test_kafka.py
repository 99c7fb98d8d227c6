# SPDX-License-Identifier: MIT
"""Kafka silent, refusing, away with all apis: 202s go on, and all is issued.

No copy is a failure, but many would be a storm: Kafka must not meet more than
a few of each request when it comes back.
"""

import json
import os
import re
import signal
import time
from collections import Counter

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from chaos.reckoning import messages
from service import wait_for
from web import Load

FEW = 3  # the first copy, and one by the relay of each api


def copies(service):
    """{(event, user, request): how many messages} of the topic."""
    return messages(service.stack.kafka_port, service.topic)[0]


def pending(service, event):
    return service.redis.zcard(f"{{c:{event}}}:pending")


def admin_of(service):
    return AdminClient(
        {"bootstrap.servers": f"127.0.0.1:{service.stack.kafka_port}"})


def outage(service, seconds, rate, **settings):
    """Both apis under load while Kafka does not answer; all answers."""
    apis = [service.api(**settings), service.api(**settings)]
    service.consumer()
    event = service.event(apis[0], 10_000_000)
    load = Load([a.port for a in apis], event, range(1, 10_000_000), rate=rate)
    wait_for(lambda: service.n_rows(event) > 100, what="rows under load")
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        time.sleep(seconds)  # the length of the outage is what is tested
    finally:
        os.kill(broker, signal.SIGCONT)
    answers = load.stop()
    service.settle(event, 120)
    service.check(event, 10_000_000, answers)
    assert {a.status for a in answers} == {202}
    return apis, answers


def test_an_outage_of_kafka_makes_no_storm(make_service):
    """Longer than everything that makes an api send again."""
    service = make_service(partitions=3)
    apis, answers = outage(
        service, 8, 300, outbox__relay_after="1s",
        **{"kafka.properties.message.timeout.ms": 2500,
           "kafka.properties.socket.timeout.ms": 2000})
    sent = copies(service)
    assert len(sent) == len(answers)
    assert max(sent.values()) <= FEW, Counter(sent.values())
    again = sum(api.metric("coupon.relay.sent") for api in apis)
    assert 0 < again <= FEW * len(answers)


@pytest.mark.long
def test_three_minutes_without_kafka_at_2000_requests_a_second(make_service):
    """As shipped, but for an outbox that holds three minutes of it."""
    service = make_service(partitions=3)
    apis, answers = outage(service, 180, 2000, outbox__limit=1_000_000)
    sent = copies(service)
    print(len(answers), "requests, copies of each:",
          sorted(Counter(sent.values()).items()), "by relays:",
          [api.metric("coupon.relay.sent") for api in apis])
    assert len(sent) == len(answers)
    assert max(sent.values()) <= 2 * FEW


def test_a_full_outbox_refuses_and_then_takes_again(service):
    api = service.api(outbox__limit=50)
    service.consumer()
    event = service.event(api, 1000)
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        answers = Load([api.port], event, range(1, 101), connections=1).join()
    finally:
        os.kill(broker, signal.SIGCONT)
    assert [a.status for a in answers] == [202] * 50 + [503] * 50
    refused = answers[-1]
    assert (refused.body["reason"], refused.body["outcome"]) == (
        "OUTBOX_FULL", "REFUSED")
    assert int(refused.headers["retry-after"]) >= 1
    service.settle(event)
    answers += Load([api.port], event, range(101, 151), keys=True).join()
    service.settle(event)
    service.check(event, 1000, answers)


def test_requests_wait_while_kafka_rejects_their_messages(service):
    name = f"{service.topic}-strict"
    limit = "max.message.bytes"
    admin = admin_of(service)
    admin.create_topics([NewTopic(name, 1, 1, config={limit: "40"})])[name].result()
    settings = {"kafka.topic": name, "outbox.relay-after": "500ms"}
    api = service.api(**settings)
    service.consumer(**settings)
    event = service.event(api, 100)
    answers = Load([api.port], event, range(1, 21)).join()
    assert {a.status for a in answers} == {202}
    wait_for(lambda: api.metric("kafka.producer.errors", cause="OTHER") >= 20,
             what="Kafka's rejections")
    assert pending(service, event) == 20 and service.n_rows(event) == 0
    resource = ConfigResource("topic", name)
    resource.set_config(limit, "1000000")
    admin.alter_configs([resource])[resource].result()
    service.settle(event)
    service.check(event, 100, answers)


def test_all_apis_gone_for_an_hour(service):
    """Nobody is left who accepted; the next api to come sends them."""
    apis = [service.api(), service.api()]
    service.consumer()
    event = service.event(apis[0], 1000)
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        answers = Load([a.port for a in apis], event, range(1, 101)).join()
        for api in apis:
            api.kill()
    finally:
        os.kill(broker, signal.SIGCONT)
    key = f"{{c:{event}}}:pending"
    left = service.redis.zrange(key, 0, -1, withscores=True)
    assert left, "nothing was left to a relay"
    for member, score in left:  # as an hour would make it
        service.redis.zadd(key, {member: score - 3_600_000})
    service.api()
    service.settle(event)
    service.check(event, 1000, answers)


def topic(service, *arguments):
    service.stack.tool("coupon-topic", *arguments, "--topic", service.topic)


def await_missing(service, daemon):
    """Until it says so, wherever an operator may look."""
    def kafka():
        health = daemon.get("/actuator/health", headers={
            "Authorization": f"Bearer {service.stack.admin_token()}"})
        kafka = health.json["components"]["kafka"]
        return kafka["status"] == "DOWN" and kafka.get("details", {}).get("error")
    error = wait_for(kafka, what=f"{daemon.kind}: the topic is missing")
    assert error == f"topic {service.topic} does not exist"
    assert re.search(f"topic does not exist.* topic={service.topic}",
                     daemon.log.read_text())


@pytest.mark.parametrize("why", ["deleted", "never created"])
def test_events_old_and_new_go_on_without_their_topic(service, why):
    if why == "never created":
        service.topic += "-late"
    api = service.api(outbox__limit=30)
    consumer = service.consumer(ready=False)
    answers = {}
    if why == "deleted":
        event = service.event(api, 1000)
        answers[event] = Load([api.port], event, range(1, 21), keys=True).join()
        service.settle(event)
        topic(service, "--delete")
    await_missing(service, api)
    await_missing(service, consumer)
    answers[service.event(api, 1000)] = []
    for event, told in answers.items():
        more = Load([api.port], event, range(21, 61), connections=1).join()
        assert [a.status for a in more] == [202] * 30 + [503] * 10
        assert more[-1].body["reason"] == "OUTBOX_FULL"
        told += more
    topic(service, "--create")
    for event, told in answers.items():
        service.settle(event)
        service.check(event, 1000, told)


def test_an_event_opens_while_kafka_does_not_answer(service):
    """Nobody was let in yet: Kafka can have nothing of it."""
    api = service.api()
    service.consumer()
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        event = service.event(api, 1000)
        answers = Load([api.port], event, range(1, 21), keys=True).join()
    finally:
        os.kill(broker, signal.SIGCONT)
    assert {a.status for a in answers} == {202}
    service.settle(event)
    service.check(event, 1000, answers)


def test_what_may_be_in_a_missing_topic_is_not_forgotten(service):
    """A name that Kafka does not know is no proof that it never did."""
    api = service.api()
    service.consumer()
    event = service.event(api, 1000)
    answers = Load([api.port], event, range(1, 21), keys=True).join()
    service.settle(event)
    topic(service, "--delete")
    await_missing(service, api)
    service.redis.flushall()
    reply = api.post("/api/user-coupons/issue-async",
                     {"couponId": event, "userId": 21})
    assert (reply.status, reply.json["reason"]) == (503, "FENCED")
    wait_for(lambda: re.search(
        f"the event stays fenced.*topic {service.topic} does not exist",
        api.log.read_text()), what="why it is not rebuilt")
    topic(service, "--create")
    answers += Load([api.port], event, range(22, 41), keys=True).join()
    assert {a.status for a in answers} == {202}
    service.settle(event)
    service.check(event, 1000, answers)


def test_a_topic_created_anew_that_has_outgrown_the_offset(service):
    """What lies before the offset is read as well, not left to be missed."""
    api = service.api()
    consumer = service.consumer()
    event = service.event(api, 1000)
    answers = Load([api.port], event, range(1, 21), keys=True).join()
    service.settle(event)
    consumer.stop()
    topic(service, "--delete")
    topic(service, "--create")
    answers += Load([api.port], event, range(21, 61), keys=True).join()
    wait_for(lambda: pending(service, event) == 0, what="all in Kafka")
    consumer.start().wait_ready()
    service.settle(event)
    service.check(event, 1000, answers)
    assert consumer.metric("kafka.consumer.offset.resets", reason="recreated") == 1
    consumer.stop()
    consumer.start().wait_ready()  # it is the same topic now
    wait_for(lambda: "partition taken" in consumer.tail(), what="the partition")
    assert consumer.metric("kafka.consumer.offset.resets", reason="recreated") == 0


def test_a_late_copy_of_a_rejected_request_changes_nothing(make_service):
    """On whatever partition, also after more stock was added."""
    service = make_service(partitions=3)
    api = service.api()
    service.consumer()
    event = service.event(api, 1)
    # Somebody has number 1 already, which Redis does not know.
    service.query("INSERT INTO user_coupon (coupon_id, user_id, seq, request_id,"
                  " accepted_at) VALUES (%s, 9, 1, 'first', now())", event)
    (answer,) = Load([api.port], event, [7], keys=True).join()
    assert answer.status == 202
    wait_for(lambda: service.n_rejections(event) == 1, what="the rejection")
    assert copies(service) == {(event, 7, "k7"): 1}
    assert service.admin(api, "PUT", f"/api/coupons/{event}/total",
                         {"total": 10}).status == 200
    # His number would be free now.
    service.query("UPDATE user_coupon SET seq = 5 WHERE coupon_id = %s", event)
    send_copies(service, event)
    assert [row[:2] for row in service.rows(event)] == [(9, 5)]
    assert service.n_rejections(event) == 1
    status = api.get(f"/api/user-coupons/{event}/7?requestId=k7").json
    assert (status["status"], status["reason"]) == ("REJECTED", "NUMBER_TAKEN")


def send_copies(service, event):
    """To every partition; returns when they have been consumed."""
    body = {"v": 1, "requestId": "k7", "couponId": event, "userId": 7, "seq": 1,
            "acceptedAt": "2026-01-01T00:00:00.000Z"}
    producer = Producer(
        {"bootstrap.servers": f"127.0.0.1:{service.stack.kafka_port}"})
    for partition in range(3):
        producer.produce(service.topic, json.dumps(body), key="7",
                         partition=partition)
    producer.flush(10)
    n_messages = sum(copies(service).values())
    wait_for(lambda: service.query(
        "SELECT sum(next_offset) FROM consumer_offset WHERE group_id = %s",
        service.group)[0][0] == n_messages, what="the copies consumed")


def test_a_start_is_no_outage(service):
    """Until Kafka has been asked its state is UNKNOWN, which is not DOWN."""
    api, seen = service.api(), []

    def kafka_is_up():
        reply = service.admin(api, "GET", "/actuator/health")
        seen.append(reply.status)
        return reply.json["components"]["kafka"]["status"] == "UP"
    wait_for(kafka_is_up)
    assert set(seen) == {200}
