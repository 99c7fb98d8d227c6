# SPDX-License-Identifier: MIT
"""Processes killed and servers restarted under load: nothing accepted is lost.

Clients send an Idempotency-Key and repeat what broke, so at the end every
user has one final answer; the rows must be exactly what they were told.
"""

import os
import signal
import time

import pytest

from service import wait_for
from web import Load

TOTAL = 100000


@pytest.fixture
def loaded(make_service):
    """(service, apis, consumers, event, load) with 8,000 requests on the way."""
    service = make_service(partitions=3)
    apis = [service.api(), service.api()]
    consumers = [service.consumer(), service.consumer()]
    event = service.event(apis[0], TOTAL)
    load = Load([a.port for a in apis], event, range(1, 8001), rate=2000,
                keys=True)
    wait_for(lambda: service.n_rows(event) > 500, what="rows under load")
    yield service, apis, consumers, event, load
    load.stop()


def finish(service, event, load):
    answers = load.join()
    assert {a.status for a in answers} == {202}, [
        a for a in answers if a.status != 202][:3]
    service.settle(event, timeout=60)
    service.check(event, TOTAL, answers)
    assert service.n_rows(event) == 8000


def test_api_killed(loaded):
    service, apis, _, event, load = loaded
    apis[1].kill()
    apis[1].start().wait_ready()
    finish(service, event, load)


def test_consumer_killed(loaded):
    service, _, consumers, event, load = loaded
    consumers[0].kill()
    consumers[0].start()
    finish(service, event, load)


def test_consumer_stopped_and_continued(loaded):
    """Its partitions move after 6 s; its late commit moves no offset."""
    service, _, consumers, event, load = loaded
    consumers[0].signal(signal.SIGSTOP)
    wait_for(lambda: consumers[1].partitions() == 3, 20, "takeover")
    consumers[0].signal(signal.SIGCONT)
    finish(service, event, load)


def test_postgresql_restarted(loaded):
    """Consumers pause: they stay in the group, and do not turn in vain."""
    service, _, consumers, event, load = loaded

    def total(name):
        return sum(consumer.metric(name) for consumer in consumers)
    rebalances = total("kafka.consumer.rebalances")
    service.stack.stop("postgres")
    accepted = load.count(202)
    cpu_s, begin = total("process.cpu"), time.monotonic()
    wait_for(lambda: load.count(202) > accepted + 2000,
             what="requests accepted without PostgreSQL")
    assert total("process.cpu") - cpu_s < 0.5 * (time.monotonic() - begin)
    service.stack.start("postgres")
    finish(service, event, load)
    assert total("kafka.consumer.rebalances") == rebalances


def test_postgresql_killed(loaded):
    service, _, _, event, load = loaded
    os.kill(service.stack.pid("postgres"), signal.SIGKILL)
    wait_for(lambda: not service.stack.run("status", check=False)
             .stdout.count("postgres   runs"))
    service.stack.start("postgres")
    finish(service, event, load)


def test_redis_restarted(loaded):
    service, _, _, event, load = loaded
    service.stack.stop("redis")
    service.stack.start("redis")
    finish(service, event, load)


def test_redis_killed(loaded):
    service, _, _, event, load = loaded
    os.kill(service.stack.pid("redis"), signal.SIGKILL)
    wait_for(lambda: not service.stack.run("status", check=False)
             .stdout.count("redis      runs"))
    service.stack.start("redis")
    finish(service, event, load)


def test_everything_killed_at_once(loaded):
    service, apis, consumers, event, load = loaded
    for daemon in apis + consumers:
        daemon.kill()
    for daemon in apis + consumers:
        daemon.start()
    finish(service, event, load)


@pytest.mark.long
def test_kafka_killed(loaded):
    service, _, _, event, load = loaded
    os.kill(service.stack.pid("kafka"), signal.SIGKILL)
    accepted = load.count(202)
    wait_for(lambda: load.count(202) > accepted + 1000,
             what="requests accepted without Kafka")
    service.stack.start("kafka")
    finish(service, event, load)
