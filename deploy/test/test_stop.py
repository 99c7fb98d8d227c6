# SPDX-License-Identifier: MIT
"""SIGTERM under load: who was let in is answered, and the exit status is 0."""

import os
import signal
import socket
from collections import Counter

from service import wait_for
from web import Load


def test_an_api_that_stops_answers_everyone_it_let_in(service):
    api = service.api(server__drain_delay="1s")
    service.consumer()
    event = service.event(api, total=100000)
    load = Load([api.port], event, range(1, 100001), connections=100)
    wait_for(lambda: load.count(202) > 1000)

    api.process.terminate()
    wait_for(lambda: api.get("/actuator/health/readiness").status == 503,
             what="not ready any more")
    accepted = load.count(202)
    wait_for(lambda: load.count(202) > accepted + 100,
             what="still serving during the drain delay")
    answers = load.stop()

    assert api.process.wait(30) == 0
    assert Counter((a.status, a.error) for a in answers) == {
        (202, ""): len(answers)}
    last = max(answers, key=lambda answer: answer.done)
    assert last.headers["connection"] == "close"
    service.api()
    service.settle(event)
    service.check(event, 100000, answers)


def test_without_kafka_the_rest_is_left_to_the_relay_of_another(service):
    """As good as sent, so the stop is a clean one."""
    api = service.api(server__shutdown_timeout="1s")
    service.consumer()
    event = service.event(api, total=100)
    broker = service.stack.pid("kafka")
    os.kill(broker, signal.SIGSTOP)
    try:
        answers = Load([api.port], event, range(1, 21)).join()
        assert api.stop() == 0
    finally:
        os.kill(broker, signal.SIGCONT)
    assert "left to the relay\" messages=20" in api.log.read_text()
    service.api()
    service.settle(event)
    service.check(event, 100, answers)


def test_a_stopped_api_refuses_connections_but_breaks_none(service):
    api = service.api(server__drain_delay="200ms")
    service.consumer()
    event = service.event(api, total=1000000)
    load = Load([api.port], event, range(1, 1000001), connections=50)
    wait_for(lambda: load.count(202) > 1000)
    assert api.stop() == 0
    answers = load.stop()

    outcomes = Counter(a.status or a.error.split("(")[0] for a in answers)
    assert set(outcomes) <= {202, 503, "ConnectionRefusedError"}, outcomes
    service.api()
    service.settle(event)
    service.check(event, 1000000, answers)


def test_a_consumer_that_stops_leaves_nothing_half_done(service):
    api, consumer = service.api(), service.consumer()
    event = service.event(api, total=100000)
    load = Load([api.port], event, range(1, 6001), rate=2000)
    wait_for(lambda: service.n_rows(event) > 500)
    assert consumer.stop() == 0
    rows = service.n_rows(event)
    (next_offset,), = service.query(
        "SELECT sum(next_offset)::bigint FROM consumer_offset"
        " WHERE group_id = %s", service.group)
    assert next_offset == rows, "rows and offset moved together"

    service.consumer()
    answers = load.join()
    service.settle(event)
    service.check(event, 100000, answers)


def test_a_consumer_that_cannot_start_gives_its_partitions_back(service):
    """Its port is taken, and the group may be giving it partitions just now."""
    with socket.create_server(("127.0.0.1", service.stack.spare_port)):
        for n in range(5):
            consumers = [service.consumer(
                ready=False, server__port=service.stack.spare_port,
                kafka__group_id=f"{service.group}-{n}-{i}") for i in range(3)]
            for consumer in consumers:
                assert consumer.process.wait(30) == 1, consumer.tail()
                assert (f"port {service.stack.spare_port} is in use by"
                        in consumer.tail())
    service.consumer()
