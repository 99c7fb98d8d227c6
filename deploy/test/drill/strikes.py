# SPDX-License-Identifier: MIT
"""What a drill breaks.  Each is a context manager: inside it is broken.

They heal on the way out whatever the operator has not, so they take for
granted neither that he has done nothing nor that he has done all.
"""

import json
import subprocess
import threading
from contextlib import contextmanager

import psycopg2
from confluent_kafka import Producer

import web
from drill.figures import Figure, above
from service import wait_for
from stack import ROOT

PLAN = ROOT / "deploy/monitoring/rules/plan.yml"
READERS = 8


# ---- pools ----

@contextmanager
def small_pool(world):
    """14:02."""
    world.configure("api", redis__pool__max_active=10,
                    redis__pool__max_pipeline=1,
                    circuitbreaker__coupon_issue__enabled="false")
    with world.slow("redis", 50, "api"):
        yield


@contextmanager
def locked(world):
    """A transaction somebody forgot to end."""
    session = psycopg2.connect(
        host="127.0.0.1", port=world.stack.postgres_port, user="coupon",
        dbname="coupon", application_name="forgotten")
    with session.cursor() as cursor:
        cursor.execute("LOCK TABLE user_coupon IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        session.close()


@contextmanager
def readers_wait(world):
    """Users ask for their coupons, and the answer is behind a lock."""
    world.configure("api", datasource__hikari__maximum_pool_size=3)
    over = threading.Event()

    def read():
        while not over.is_set():
            try:
                web.request(world.stack.api_port, "GET",
                            "/api/user-coupons?userId=1")
            except OSError:
                pass
            over.wait(0.1)
    readers = [threading.Thread(target=read) for _ in range(READERS)]
    with locked(world):
        for reader in readers:
            reader.start()
        try:
            yield
        finally:
            over.set()
    for reader in readers:
        reader.join()


@contextmanager
def patient_readers(world):
    """With the default deadline of 1 s this would be errors, not latency."""
    world.configure("api", server__request_timeout="3s")
    with readers_wait(world):
        yield


@contextmanager
def held_connections(world):
    world.configure("consumer", datasource__hikari__leak_detection_threshold="2s")
    with locked(world):
        yield


# ---- processes ----

def killed(name):
    @contextmanager
    def strike(world):
        world.kill(name)
        try:
            yield
        finally:
            world.start(name)
    return strike


@contextmanager
def nothing(world):
    """The operator himself is what happens."""
    yield


@contextmanager
def wrong_key(world):
    path = world.stack.dir / "api.yaml"
    world.keep(path)
    world.stack.stop("api")
    path.write_text(path.read_text().replace("max-active:", "max-actve:"))
    yield


@contextmanager
def flapping_consumer(world):
    """A second one that comes and goes, until world.give_in is set."""
    world.give_in = threading.Event()
    command = world.stack.command("consumer", world.free_port())

    def flap():
        while not world.give_in.is_set():
            with subprocess.Popen(command, env=world.stack.env,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                world.give_in.wait(6)
                process.terminate()
    thread = threading.Thread(target=flap)
    thread.start()
    try:
        yield
    finally:
        world.give_in.set()
        thread.join()


def stop_flapping(world):
    world.say("act", "no second consumer is started any more")
    world.give_in.set()


@contextmanager
def hung_partition(world):
    world.configure("consumer", consumer__watchdog_timeout="1s")
    with locked(world):
        yield


@contextmanager
def slow_writer(world):
    world.configure("consumer", consumer__batch_size=1)
    with world.slow("postgres", 20, "consumer"):
        yield


# ---- Redis ----

@contextmanager
def set_redis(world, **settings):
    before = {name: world.client.redis.config_get(name)[name]
              for name in settings}
    for name, value in settings.items():
        world.client.redis.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            world.client.redis.config_set(name, value)


@contextmanager
def unsafe_redis(world):
    def look_again():
        world.post("api", "/actuator/pools/redis/evict")
    world.undo.callback(look_again)
    with set_redis(world, **{"appendfsync": "no",
                             "maxmemory-policy": "allkeys-lru"}):
        look_again()
        yield


@contextmanager
def full_redis(world):
    with set_redis(world, maxmemory="1"):
        yield


@contextmanager
def flushed(world):
    world.client.redis.flushall()
    yield


@contextmanager
def forced_breaker(world):
    """Held open for the work on Redis, and forgotten."""
    world.breaker("FORCE_OPEN")
    try:
        yield
    finally:
        world.breaker("CLOSE")


# ---- Kafka ----

@contextmanager
def own_topic(world):
    """The daemons on a topic that may be grown, or deleted."""
    with world.own_topic():
        yield


@contextmanager
def deleted_topic(world):
    with world.own_topic() as topic:
        world.stack.tool("coupon-topic", "--delete", "--topic", topic)
        yield


@contextmanager
def poison(world):
    producer = Producer(
        {"bootstrap.servers": f"127.0.0.1:{world.stack.kafka_port}"})
    for number in range(3):
        producer.produce("coupon-issue-requests", f"not ours {number}")
    assert producer.flush(20) == 0, "Kafka took no message"
    yield


def _unreadable(world):
    """Letters of this kind that nobody has dealt with."""
    command = world.stack.command("consumer", world.stack.consumer_port)
    result = subprocess.run(
        [*command, "--dead-letters", "list", "--json"], env=world.stack.env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return sum(json.loads(line)["headers"].get("reason") == "UNREADABLE"
               for line in result.stdout.splitlines())


LETTERS = Figure("open letters, UNREADABLE", _unreadable, above(0))


# ---- events and rows ----

@contextmanager
def two_final_states(world):
    """Somebody rejects by hand what has been issued."""
    accepted = wait_for(world.try_one, 20, "a coupon")
    wait_for(lambda: world.has_row(accepted), 20, "its row")
    row = (world.event, accepted["requestId"])
    world.client.query(
        "INSERT INTO issue_rejection (coupon_id, user_id, request_id, seq,"
        " reason) SELECT coupon_id, user_id, request_id, seq, 'DUPLICATE'"
        " FROM user_coupon WHERE coupon_id = %s AND request_id = %s", *row)
    try:
        yield
    finally:
        world.client.query("DELETE FROM issue_rejection WHERE coupon_id = %s"
                           " AND request_id = %s", *row)


@contextmanager
def low_limit(world):
    def reload():
        web.request(world.stack.prometheus_port, "POST", "/-/reload")
    world.undo.callback(reload)
    world.keep(PLAN)
    PLAN.write_text(PLAN.read_text().replace("vector(0)", "vector(100)"))
    reload()
    world.configure("api", ratelimiter__coupon_issue__limit_for_period=50)
    yield


def _not_open(world):
    return world.api.get(f"/api/coupons/{world.event}").json["state"] != "OPEN"


NOT_OPEN = Figure("the event is not OPEN", _not_open, above(0))
