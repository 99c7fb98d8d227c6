# SPDX-License-Identifier: MIT
"""What scrapes and probes say while requests pile up or threads stand still."""

import contextlib
import ctypes
import http.client
import itertools
import os
import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer

from delay import DelayProxy
from service import Service, wait_for
from web import ISSUE, Load, raw, request

POOL = 3
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
GAUGES = "/actuator/prometheus?" + "&".join(
    f"includedNames=redis_connection{suffix}"
    for suffix in ("", "_active", "_idle", "_pending", "_max"))
PROBES = ("/actuator/health/liveness", "/actuator/health/readiness",
          "/actuator/health", "/actuator/prometheus",
          "/actuator/metrics/redis.connection.active", "/actuator/pools/redis",
          "/actuator/threaddump")
users = itertools.count(1)


class World:
    """An api with the pool of the incident, and a management port."""

    def __init__(self, stack, directory):
        self.service = Service(stack, directory)
        self.management = stack.spare_port
        proxy_port = stack.spare_port + 1
        self.proxy = DelayProxy(proxy_port, stack.redis_port, 0.02)
        self.api = self.service.api(
            ready=False, redis__port=proxy_port, management__port=self.management,
            redis__pool__max_active=POOL, redis__pool__max_idle=POOL,
            redis__pool__min_idle=1, redis__pool__max_pipeline=1,
            circuitbreaker__coupon_issue__enabled="false",
            server__access_log_sample=1, management__show_details="always")
        wait_for(self.is_ready, what="readiness and the schema")
        self.event = self.service.event(self.api, total=1000000)

    def close(self):
        self.service.close()
        self.proxy.close()

    def is_ready(self):
        with contextlib.suppress(OSError):
            tasks = self.get("/actuator/scheduledtasks").json["fixedDelay"]
            upkeep = next(t for t in tasks if t["runnable"]["target"] == "upkeep")
            return (upkeep["details"]["migrated"] and
                    self.get("/actuator/health/readiness").status == 200)
        return False

    def get(self, path):
        return request(self.management, "GET", path)

    def post(self, path, body=None):
        return request(self.management, "POST", path, body, {
            "Authorization": f"Bearer {self.service.stack.admin_token()}"})

    @contextlib.contextmanager
    def storm(self):
        load = Load([self.api.port], self.event, users, connections=8)
        try:
            wait_for(lambda: self.pool()["waiting"], what="requests that wait")
            yield load
        finally:
            load.stop()

    def pool(self):
        return self.get("/actuator/pools/redis").json

    def answers_everything(self):
        for path in PROBES:
            assert self.get(path).status == 200, path


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    world = World(stack, tmp_path_factory.mktemp("scrapes"))
    yield world
    world.close()


def gauges(connection):
    connection.request("GET", GAUGES)
    text = connection.getresponse().read().decode()
    return {name: float(value) for name, value in re.findall(
        r"^redis_connection_?(\w*)\{.*\} (.*)$", text, re.M)}


def test_a_thousand_scrapes_of_a_pool_in_a_storm_add_up(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.management)
    seen = []
    with world.storm():
        for i in range(1000):
            if i % 100 == 50:  # connections end and begin meanwhile
                assert world.post("/actuator/pools/redis/evict").status == 200
            seen.append(gauges(connection))
    connection.close()
    for cut in seen:
        assert set(cut) == {"", "active", "idle", "pending", "max"}
        assert cut["active"] + cut["idle"] == cut[""] <= cut["max"] == POOL, cut
    assert len({cut["pending"] for cut in seen}) > 2
    assert len({cut["active"] for cut in seen}) > 1


def test_an_exhausted_pool_hides_nothing(world):
    with world.storm():
        world.answers_everything()
        assert world.pool()["waiting"] > 0
        assert world.get("/actuator/health/redis").json["status"] == "UP"


def test_an_open_breaker_hides_nothing(world):
    breaker = "/actuator/circuitbreakers/coupon-issue"
    assert world.post(breaker, {"updateState": "FORCE_OPEN"}).status == 200
    try:
        reply = world.api.post(ISSUE, {"couponId": world.event, "userId": next(users)})
        assert (reply.status, reply.json["reason"]) == (503, "BREAKER_OPEN")
        world.answers_everything()
        component = world.get("/actuator/health/circuitBreakers").json
        assert component["status"] == "UNKNOWN"
        shown = component["details"]["coupon-issue"]
        assert shown["status"] == "CIRCUIT_OPEN"
        assert shown["details"]["state"] == "FORCED_OPEN"
        assert (b'resilience4j_circuitbreaker_state{name="coupon-issue",'
                b'state="forced_open"} 1.0') in world.get("/actuator/prometheus").body
    finally:
        assert world.post(breaker, {"updateState": "DISABLE"}).status == 200


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]


@contextlib.contextmanager
def standing_still(process, name):
    """The threads of this name do nothing at all."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    threads = [int(task.name) for task in tasks
               if re.fullmatch(name, (task / "comm").read_text().strip())]
    assert threads
    for thread in threads:
        assert libc.ptrace(PTRACE_SEIZE, thread, None, None) == 0, ctypes.get_errno()
        assert libc.ptrace(PTRACE_INTERRUPT, thread, None, None) == 0
        os.waitpid(thread, 0x40000000)  # __WALL
    try:
        yield
    finally:
        for thread in threads:
            libc.ptrace(PTRACE_DETACH, thread, None, None)


def test_http_threads_that_stand_still_hide_nothing(world):
    with standing_still(world.api.process, r"http-\d+"):
        with pytest.raises(OSError):
            world.api.get("/api/coupons", timeout=0.5)
        world.answers_everything()
    assert world.api.get("/api/coupons").status == 200


def labels(world, name):
    text = world.get("/actuator/prometheus").body.decode()
    return re.findall(rf'^http_server_requests_seconds_count\{{.*\b{name}="([^"]*)"',
                      text, re.M)


def stray_requests(world, number):
    for path in (f"/{number}", f"/api/coupons/{number}", f"/api/{number}/x",
                 f"/api/user-coupons/{number}/{number}?x={number}",
                 f"/actuator/metrics/{number}", f"/actuator/health/{number}"):
        for method in ("GET", "PUT"):
            request(world.management, method, path)
            request(world.api.port, method, path)
    raw(world.api.port, f"M{number} / HTTP/1.1\r\nHost: a\r\n"
                        "Connection: close\r\n\r\n".encode())


def test_no_path_becomes_a_label(world):
    stray_requests(world, 899999)
    before = sorted(labels(world, "uri"))
    for number in range(900000, 900005):
        stray_requests(world, number)
    assert sorted(labels(world, "uri")) == before
    assert not [uri for uri in before if re.search(r"\d", uri)]
    assert {"NOT_FOUND", "/api/coupons/{id}",
            "/api/user-coupons/{couponId}/{userId}"} <= set(before)
    assert set(labels(world, "method")) <= {
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "OTHER",
        "UNKNOWN"}


def test_a_trace_goes_on_through_kafka_and_the_log(world):
    traced, untraced = next(users), next(users)
    for user, trace in ((traced, TRACE), (untraced, "00-" + "0" * 32)):
        reply = world.api.post(ISSUE, {"couponId": world.event, "userId": user},
                               headers={"traceparent": trace})
        assert reply.status == 202, reply
    found = headers_by_user(world.service, {traced, untraced})
    assert found[traced].get("traceparent") == TRACE.encode()
    assert "traceparent" not in found[untraced]
    wait_for(lambda: re.search(rf"msg=request .*status=202 .*traceparent={TRACE}",
                               world.api.log.read_text()), what="the log line")


def headers_by_user(service, wanted):
    """{user: headers of his message}, read from the topic."""
    consumer = Consumer({
        "bootstrap.servers": f"127.0.0.1:{service.stack.kafka_port}",
        "group.id": "traces", "auto.offset.reset": "earliest"})
    consumer.subscribe([service.topic])
    found = {}

    def read():
        for message in consumer.consume(1000, 0.5):
            if not message.error() and int(message.key()) in wanted:
                found[int(message.key())] = dict(message.headers() or ())
        return set(found) == wanted
    try:
        wait_for(read, what="the messages of both")
        return found
    finally:
        consumer.close()
