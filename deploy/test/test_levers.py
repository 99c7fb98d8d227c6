# SPDX-License-Identifier: MIT
"""What an operator reads and moves while it burns, on both daemons."""

import contextlib
import itertools
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service import wait_for
from web import Load, Wrk

ACTUATOR_JSON = "application/vnd.spring-boot.actuator.v3+json"
NAME = "coupon-issue"
users = itertools.count(1)
both = pytest.mark.parametrize("kind", ["api", "consumer"])


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    from service import Service
    service = Service(stack, tmp_path_factory.mktemp("levers"))
    world = {"service": service}
    for kind in ("api", "consumer"):
        world[kind] = getattr(service, kind)()
    world["event"] = service.event(world["api"], total=10_000_000)
    yield world
    service.close()


@pytest.fixture
def file(world):
    """Puts the files back, and has the daemons take them."""
    before = {kind: world[kind].file.read_text() for kind in ("api", "consumer")}
    yield
    for kind, text in before.items():
        world[kind].file.write_text(text)
        assert post(world, kind, "/actuator/refresh").status == 200


def post(world, kind, path, body=None):
    return world["service"].admin(world[kind], "POST", path, body)


def edit(daemon, **values):
    """max-active=10: the value behind the first key of that name."""
    text = daemon.file.read_text()
    for key, value in values.items():
        key = key.replace("_", "-")
        text, n = re.subn(rf"(?m)^(\s+{key}:)\s*\S+", rf"\g<1> {value}", text, count=1)
        assert n == 1, key
    daemon.file.write_text(text)


def append(daemon, text):
    with daemon.file.open("a") as file:
        file.write(text)


def audited(daemon, **fields):
    """The line that says so; what is written comes within moments."""
    def find():
        for line in daemon.log.read_text().splitlines():
            if "changed by an operator" in line and all(
                    f'{k}="{v}"' in line or f" {k}={v} " in line + " "
                    for k, v in fields.items()):
                return line
        return None
    return wait_for(find, 5, f"audit of {fields}")


@contextlib.contextmanager
def load(world, connections=64, rate=2000):
    load = Load([world["api"].port], world["event"], users,
                connections=connections, rate=rate)
    try:
        wait_for(lambda: load.count(202) > 100, 10, "load")
        yield load
    finally:
        load.stop()


# ---- refresh ----

def accepted(api):
    return api.metric("coupon.issue", "COUNT", outcome="ACCEPTED")


def test_a_resize_under_load_costs_no_request(world, file):
    """As many requests as the api takes: above 5,000/s on two free cores."""
    api = world["api"]
    edit(api, max_active=10, max_idle=10)
    assert post(world, "api", "/actuator/refresh").status == 200
    running = Wrk(api.port, world["event"], connections=64)
    for before, size in ((10, 50), (50, 10)):
        done = accepted(api)
        edit(api, max_active=size)
        wait_for(lambda: accepted(api) > done + 2500, 60, "load before")
        reply = post(world, "api", "/actuator/refresh")
        assert reply.status == 200, reply
        assert reply.json["changed"] == [{
            "key": "redis.pool.max-active", "from": str(before), "to": str(size)}]
        assert reply.json["needsRestart"] == []
        assert reply.json["unchanged"] > 60
        assert api.metric("redis.connection.max") == size
        wait_for(lambda: accepted(api) > done + 5000, 60, "load after")
    result = running.stop()
    print(f"{result['requests'] / result['seconds']:.0f} requests/s", result)
    assert result["requests"] > 10000
    assert (result["broken"], result["not_2xx"]) == (0, 0)
    audited(api, action="refresh", result="changed")


def test_the_api_keeps_the_connections_that_it_heals_with(world):
    name, api = "datasource.hikari.maximum-pool-size", world["api"]
    reply = post(world, "api", "/actuator/env", {"name": name, "value": 2})
    assert reply.status == 422
    assert f"{name}: expected at least 3 for the api" in reply.body.decode()
    assert api.metric("hikaricp.connections.max") == 5
    reply = post(world, "api", "/actuator/env", {"name": name, "value": 3})
    assert reply.status == 200, reply
    assert world["service"].admin(api, "DELETE", "/actuator/env").status == 200


@both
def test_refresh_says_what_needs_a_restart(world, file, kind):
    daemon = world[kind]
    append(daemon, "worker:\n  threads: 3\n")
    for _ in range(2):  # and says so until it happens
        reply = post(world, kind, "/actuator/refresh")
        assert reply.json["needsRestart"] == ["worker.threads"]
        assert reply.json["changed"] == []
    assert reply.headers["content-type"] == ACTUATOR_JSON
    assert properties(daemon)["worker"]["threads"] != "3"


@both
def test_a_bad_file_changes_nothing(world, file, kind):
    daemon = world[kind]
    before = daemon.get("/actuator/configprops").json
    edit(daemon, level="debug")
    append(daemon, "latch:\n  duraton: 1s\n")
    reply = post(world, kind, "/actuator/refresh")
    assert reply.status == 422
    assert reply.headers["content-type"] == "application/problem+json"
    line = daemon.file.read_text().count("\n")
    assert reply.json["code"] == "CONFIG_INVALID"
    assert f"{daemon.file.name}:{line}: latch.duraton" in reply.json["detail"]
    assert daemon.get("/actuator/configprops").json == before
    assert daemon.get("/actuator/loggers/ROOT").json["effectiveLevel"] == "INFO"
    wait_for(lambda: "configuration refused" in daemon.log.read_text(), 5)


@both
def test_reloads_are_counted_by_what_came_of_them(world, file, kind):
    daemon = world[kind]

    def counts():
        return [daemon.metric("coupon.config.reload", outcome=outcome)
                for outcome in ("changed", "unchanged", "refused")]
    changed, unchanged, refused = counts()
    edit(daemon, level="warn")
    post(world, kind, "/actuator/refresh")
    post(world, kind, "/actuator/refresh")
    append(daemon, "nonsense: 1\n")
    post(world, kind, "/actuator/refresh")
    assert counts() == [changed + 1, unchanged + 1, refused + 1]


@both
def test_sighup_does_the_same(world, file, kind):
    daemon = world[kind]
    edit(daemon, level="warn")
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: daemon.get("/actuator/loggers/ROOT").json["effectiveLevel"] == "WARN")
    audited(daemon, by="SIGHUP", action="refresh")
    append(daemon, "nonsense: 1\n")
    log = len(daemon.log.read_text())
    daemon.signal(signal.SIGHUP)
    wait_for(lambda: "configuration refused" in daemon.log.read_text()[log:])
    assert properties(daemon)["logging"]["level"] == "warn"


def test_many_refreshes_at_once_are_all_answered(world, file):
    with ThreadPoolExecutor(8) as executor:
        replies = list(executor.map(
            lambda _: post(world, "api", "/actuator/refresh"), range(40)))
    assert {reply.status for reply in replies} == {200}


def test_limits_and_breaker_change_live(world, file):
    api = world["api"]
    append(api, "latch:\n  duration: 0s\n")
    edit(api, limit=7, relay_after="5s", sliding_window_size=20,
         limit_for_period=123, request_timeout="900ms")
    reply = post(world, "api", "/actuator/refresh")
    assert {c["key"]: c["to"] for c in reply.json["changed"]} == {
        "latch.duration": "0s", "outbox.limit": "7", "outbox.relay-after": "5s",
        "circuitbreaker.coupon-issue.sliding-window-size": "20",
        "ratelimiter.coupon-issue.limit-for-period": "123",
        "server.request-timeout": "900ms"}
    assert limiter(api)["limitForPeriod"] == 123
    assert task(api, "relay")["interval"] <= 2500
    # outbox.limit: more than 7 unacknowledged entries are not taken
    statuses = set()
    load = Load([api.port], world["event"], itertools.islice(users, 4000),
                connections=64)
    for answer in load.join():
        statuses.add((answer.status, answer.body.get("reason")))
    assert (503, "OUTBOX_FULL") in statuses


def test_the_batch_size_changes_live(world, file):
    """60 messages that come within the wait are a batch or two, or nine of 7."""
    consumer, service = world["consumer"], world["service"]

    def batches():
        event = service.event(world["api"], total=61)
        Load([world["api"].port], event, [61]).join()
        service.settle(event)  # the batch that was being gathered is over
        before = consumer.metric("coupon.batch.write", "COUNT")
        Load([world["api"].port], event, range(1, 61), connections=20).join()
        service.settle(event)
        return consumer.metric("coupon.batch.write", "COUNT") - before
    edit(consumer, batch_wait="300ms")
    assert post(world, "consumer", "/actuator/refresh").status == 200
    assert batches() < 6
    edit(consumer, batch_size=7)
    reply = post(world, "consumer", "/actuator/refresh")
    assert reply.json["changed"] == [
        {"key": "consumer.batch-size", "from": "500", "to": "7"}]
    assert batches() >= 9
    assert consumer.metric("coupon.batch.size") <= 7


def test_an_override_lasts_until_the_file_says_another(world, file):
    """POST and DELETE /actuator/env, as Spring Cloud has them."""
    api = world["api"]
    key = "redis.pool.max-active"

    def origin():
        beans = api.get("/actuator/configprops").json["contexts"]["application"]["beans"]
        return beans["redis"]["inputs"]["pool.max-active"]
    before = origin()
    reply = post(world, "api", "/actuator/env", {"name": key, "value": 33})
    assert reply.status == 200, reply
    assert reply.json["changed"] == [{"key": key, "from": before["value"], "to": "33"}]
    assert origin() == {"value": "33", "origin": "operator"}
    assert api.metric("redis.connection.max") == 33
    audited(api, action="override", target=key, by="127.0.0.1")
    assert post(world, "api", "/actuator/refresh").json["changed"] == []
    edit(api, max_active=44)
    assert post(world, "api", "/actuator/refresh").json["changed"] == [
        {"key": key, "from": "33", "to": "44"}]
    assert post(world, "api", "/actuator/env", {"name": key, "value": "33"}).status == 200
    reply = world["service"].admin(api, "DELETE", "/actuator/env")
    assert reply.json["changed"] == [{"key": key, "from": "33", "to": "44"}]
    assert origin()["value"] == "44"


@both
@pytest.mark.parametrize("body,status", [
    ({"name": "redis.pool.max-active", "value": 0}, 422),
    ({"name": "redis.pool.nosuch", "value": 1}, 422),
    ({"name": "server.port", "value": 1}, 422),
    ({"name": "admin.token", "value": "x"}, 422),
    ({"name": "redis.pool.max-active"}, 400),
    ({"value": 1}, 400), ({"name": "redis.pool.max-active", "value": None}, 400)])
def test_an_override_that_makes_no_sense_is_refused(world, kind, body, status):
    reply = post(world, kind, "/actuator/env", body)
    assert reply.status == status, reply
    assert "x" != reply.json["detail"]


# ---- pools ----

def pool(daemon, name="redis"):
    reply = daemon.get(f"/actuator/pools/{name}")
    assert reply.status == 200, reply
    return reply.json


@both
def test_pools_show_their_state(world, kind):
    pools = world[kind].get("/actuator/pools").json["pools"]
    assert set(pools) == {"redis", "postgres"}
    for name, shown in pools.items():
        assert shown["state"] == "RUNNING"
        assert shown["active"] + shown["idle"] == shown["total"]
        assert shown["config"]["max-active"] == shown["max"]
        assert re.fullmatch(r"\d+(ms|s|m|h)", shown["config"]["max-wait"])
        assert shown["lastError"] is None, name
        assert shown["waiters"] == [] and shown["oldestWaitMs"] == 0
    assert world[kind].get("/actuator/pools/nosuch").status == 404


def test_holders_are_shown_with_how_long_they_hold(world):
    """Whoever writes to PostgreSQL while somebody else has the table."""
    api, service = world["api"], world["service"]
    event = service.event(api, total=5)

    def held_ms():
        return max((h["heldMs"] for h in pool(api, "postgres")["holders"]
                    if h["holder"] == "event_total"), default=0)
    connection = service.connect()
    with ThreadPoolExecutor(1) as executor, contextlib.closing(connection):
        connection.autocommit = False
        connection.cursor().execute("LOCK TABLE coupon IN ACCESS EXCLUSIVE MODE")
        begin = time.monotonic()
        reply = executor.submit(service.admin, api, "PUT",
                                f"/api/coupons/{event}/total", {"total": 6})
        first = wait_for(held_ms, 5, "a holder")
        seen = time.monotonic()
        later = wait_for(lambda: (now := held_ms()) >= first + 200 and now,
                         what="it is held on")
        assert 0 < first <= (seen - begin) * 1000 + 1
        assert later <= (time.monotonic() - begin) * 1000 + 1
        connection.rollback()
        assert reply.result().status == 200
    assert all(h["heldMs"] < later for h in pool(api, "postgres")["holders"])


@contextlib.contextmanager
def suspended(world):
    reply = post(world, "api", "/actuator/pools/redis/suspend")
    assert (reply.status, reply.json["state"]) == (200, "SUSPENDED")
    try:
        yield
    finally:
        reply = post(world, "api", "/actuator/pools/redis/resume")
        assert (reply.status, reply.json["state"]) == (200, "RUNNING")


def test_suspend_and_resume_under_load(world):
    api = world["api"]
    with load(world, rate=1000) as running:
        with suspended(world):
            def all_came_back():
                shown = pool(api)
                return shown if shown["waiting"] and not shown["active"] else None
            shown = wait_for(all_came_back, 3, "no lease, requests wait")
        assert "issue" in {waiter["holder"] for waiter in shown["waiters"]}
        assert shown["oldestWaitMs"] >= shown["waiters"][-1]["waitedMs"] >= 0
        done = running.count(202)
        wait_for(lambda: running.count(202) > done + 500, 10, "load goes on")
    # Shorter than max-wait: everybody waited, nobody failed.
    assert {a.status for a in running.answers} == {202}
    audited(api, action="suspend", target="redis", by="127.0.0.1")
    audited(api, action="resume", target="redis", by="127.0.0.1")


def test_who_waits_too_long_is_told_why(world):
    with suspended(world):
        reply = world["api"].post("/api/user-coupons/issue-async", {
            "couponId": world["event"], "userId": next(users)})
    assert (reply.status, reply.json["outcome"]) == (503, "REFUSED")
    assert reply.json["reason"] == "SUSPENDED"


def test_a_suspended_pool_does_not_open_the_breaker(world):
    """Ten failures would, and then nobody is told of the lever any more."""
    api = world["api"]

    def calls():
        return api.metric("resilience4j.circuitbreaker.calls", "COUNT")
    before = calls()
    with suspended(world):
        answers = Load([api.port], world["event"], itertools.islice(users, 20),
                       connections=20).join()
        assert {(a.status, a.body["reason"]) for a in answers} == {(503, "SUSPENDED")}
        assert breaker(api)["state"] == "CLOSED"
        assert calls() == before  # no failures, nor successes
    reply = api.post("/api/user-coupons/issue-async",
                     {"couponId": world["event"], "userId": next(users)})
    assert reply.status == 202


def test_evict_replaces_every_connection_under_load(world):
    api = world["api"]
    clients = world["service"].redis.client_list
    with load(world) as running:
        before = {client["id"] for client in clients()}
        reply = post(world, "api", "/actuator/pools/redis/evict")
        assert reply.status == 200

        def only_new_ones():
            # Ours and the consumer's stay.
            return len({c["id"] for c in clients()} & before) <= others
        others = len(before) - pool_total(world, before)
        wait_for(only_new_ones, 5, "old connections gone")
        time.sleep(0.3)
    assert {a.status for a in running.answers} == {202}
    audited(api, action="evict", target="redis")


def pool_total(world, ids):
    """How many of these connections are the api's."""
    consumer = pool(world["consumer"])["total"]
    return len(ids) - consumer - 1  # and the test's own


def test_unknown_pools_and_actions_are_404(world):
    for path in ("redis/explode", "nosuch/evict"):
        assert post(world, "api", f"/actuator/pools/{path}").status == 404


def test_postgres_takes_the_same_levers(world):
    for kind in ("api", "consumer"):
        for action, state in (("suspend", "SUSPENDED"), ("resume", "RUNNING"),
                              ("evict", "RUNNING")):
            reply = post(world, kind, f"/actuator/pools/postgres/{action}")
            assert (reply.status, reply.json["state"]) == (200, state)


# ---- breaker and limiter ----

def breaker(api):
    return api.get("/actuator/circuitbreakers").json["circuitBreakers"][NAME]


def limiter(api):
    body = api.get("/actuator/ratelimiters").json
    assert body["rateLimiters"] == [NAME]
    return body["details"][NAME]


def test_the_breakers_shape_is_resilience4js(world):
    """facts/actuator-samples/exposed_circuitbreakers.txt"""
    shown = breaker(world["api"])
    for member in ("failureRate", "slowCallRate", "failureRateThreshold",
                   "slowCallRateThreshold"):
        assert re.fullmatch(r"-?\d+\.\d%", shown[member]), member
    for member in ("bufferedCalls", "failedCalls", "slowCalls",
                   "slowFailedCalls", "notPermittedCalls"):
        assert isinstance(shown[member], int), member
    assert shown["failureRateThreshold"] == "50.0%"


@pytest.mark.parametrize("update,state,status", [
    ("FORCE_OPEN", "FORCED_OPEN", 503), ("DISABLE", "DISABLED", 202),
    ("CLOSE", "CLOSED", 202)])
def test_a_forced_breaker(world, update, state, status):
    api = world["api"]
    reply = post(world, "api", f"/actuator/circuitbreakers/{NAME}",
                 {"updateState": update})
    assert reply.status == 200
    assert reply.json == {
        "circuitBreakerName": NAME, "currentState": state,
        "message": f"{NAME} state has been changed successfully"}
    assert breaker(api)["state"] == state
    reply = api.post("/api/user-coupons/issue-async",
                     {"couponId": world["event"], "userId": next(users)})
    assert reply.status == status
    if status == 503:
        assert reply.json["reason"] == "BREAKER_OPEN"
        assert int(reply.headers["retry-after"]) >= 1
    audited(api, action="circuit breaker", result=state, by="127.0.0.1")


def test_transitions_are_remembered(world):
    api = world["api"]
    for update in ("FORCE_OPEN", "CLOSE"):
        post(world, "api", f"/actuator/circuitbreakers/{NAME}", {"updateState": update})
    for path in ("", f"/{NAME}", f"/{NAME}/STATE_TRANSITION"):
        events = api.get("/actuator/circuitbreakerevents" + path).json[
            "circuitBreakerEvents"]
        assert [e["stateTransition"] for e in events[-2:]] == [
            "CLOSED_TO_FORCED_OPEN", "FORCED_OPEN_TO_CLOSED"]
        assert events[-1]["type"] == "STATE_TRANSITION"
        assert set(events[-1]) == {"circuitBreakerName", "type", "creationTime",
                                   "errorMessage", "durationInMs", "stateTransition"}
    for path in ("nosuch", f"{NAME}/ERROR"):
        assert api.get(f"/actuator/circuitbreakerevents/{path}").json == {
            "circuitBreakerEvents": []}


def test_a_breaker_or_state_that_does_not_exist(world):
    assert post(world, "api", "/actuator/circuitbreakers/other",
                {"updateState": "CLOSE"}).status == 404
    for body in ({"updateState": "EXPLODE"}, {"updateState": 1}, {"x": 1}):
        reply = post(world, "api", f"/actuator/circuitbreakers/{NAME}", body)
        assert reply.status == 400
        assert reply.json["title"] == "Bad Request"


# ---- looking ----

def properties(daemon):
    beans = daemon.get("/actuator/configprops").json["contexts"]["application"]["beans"]
    return {name: bean["properties"] for name, bean in beans.items()}


@both
def test_configprops_know_value_and_origin(world, kind):
    daemon = world[kind]
    reply = daemon.get("/actuator/configprops")
    assert reply.headers["content-type"] == ACTUATOR_JSON
    beans = reply.json["contexts"]["application"]["beans"]
    assert beans["redis"]["prefix"] == "redis"
    inputs = beans["redis"]["inputs"]
    assert inputs["port"] == {
        "value": str(world["service"].stack.redis_port), "origin": "--set"}
    assert inputs["pool.max-waiters"]["origin"] == "default"
    level = beans["logging"]["inputs"]["level"]
    assert re.fullmatch(rf"{daemon.file}:\d+", level["origin"])
    assert beans["logging"]["properties"]["level"] == level["value"] == "info"
    assert beans["admin"]["properties"]["token"] in ("", "******")
    assert world["service"].stack.admin_token().encode() not in reply.body
    one = daemon.get("/actuator/configprops/redis")
    assert one.json["contexts"]["application"]["beans"] == {"redis": beans["redis"]}
    assert daemon.get("/actuator/configprops/nosuch").status == 404


@both
def test_threads_say_what_they_wait_in(world, kind):
    """Members as in facts/actuator-samples/exposed_threaddump.txt"""
    threads = world[kind].get("/actuator/threaddump").json["threads"]
    names = {thread["threadName"] for thread in threads}
    assert {"signals", "http-0"} <= names, names
    for thread in threads:
        assert {"threadName", "threadId", "blockedTime", "blockedCount", "waitedTime",
                "waitedCount", "lockOwnerId", "daemon", "inNative", "suspended",
                "threadState", "priority", "stackTrace", "lockedMonitors",
                "lockedSynchronizers", "waitsIn", "waitsOn", "cpuMs"} <= set(thread)
        assert thread["threadState"] in (
            "RUNNABLE", "WAITING", "TIMED_WAITING", "BLOCKED")
    by_name = {thread["threadName"]: thread for thread in threads}
    assert by_name["signals"]["waitsIn"] == "rt_sigtimedwait"
    assert by_name["signals"]["waitedCount"] >= 1
    assert by_name["log"]["waitsOn"] == "anon_inode:[eventfd]"
    assert by_name["redis-keep"]["threadState"] == "TIMED_WAITING"
    assert by_name["redis-keep"]["waitsOn"].startswith("condition ")


def task(daemon, name):
    body = daemon.get("/actuator/scheduledtasks").json
    assert body["cron"] == body["fixedRate"] == []
    return next(t for t in body["fixedDelay"] + body["custom"]
                if t["runnable"]["target"] == name)


@pytest.mark.parametrize("kind,name", [
    ("api", "relay"), ("api", "upkeep"), ("api", "reconcile"),
    ("consumer", "group poll")])
def test_background_work_says_when_it_last_ran(world, kind, name):
    def succeeded():  # a pass may have met a suspended pool, just before
        last = task(world[kind], name).get("lastExecution")
        return last if last and last["status"] == "SUCCESS" else None
    last = wait_for(succeeded, 5, "a pass that succeeds")
    assert 0 <= last["ageMs"] < 10_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last["time"])


def test_the_rebuild_counts(world):
    assert task(world["api"], "rebuild")["details"]["done"] >= 1


# ---- the log level ----

@both
def test_an_operators_log_level_outlives_a_refresh(world, kind):
    daemon = world[kind]

    def level():
        return daemon.get("/actuator/loggers/ROOT").json["effectiveLevel"]
    reply = post(world, kind, "/actuator/loggers/ROOT", {"configuredLevel": "debug"})
    assert (reply.status, level()) == (204, "DEBUG")
    assert post(world, kind, "/actuator/refresh").json["changed"] == []
    assert level() == "DEBUG"
    assert post(world, kind, "/actuator/loggers/ROOT", {}).status == 204
    assert level() == "INFO"
    audited(daemon, action="log level", target="ROOT", result="info to debug")


# ---- events ----

def test_changes_of_an_event_are_audited_at_every_level(world, file):
    api, service = world["api"], world["service"]
    edit(api, level="warn")
    assert post(world, "api", "/actuator/refresh").status == 200
    event = service.event(api, total=5, opens_in=3600, closes_in=7200)
    changes = [("create event", 5, None, None, None),
               ("open event", 5, "POST", "open", None),
               ("event total", 9, "PUT", "total", {"total": 9}),
               ("close event", 9, "POST", "close", None)]
    for version, (action, total, method, verb, body) in enumerate(changes, 1):
        if method:
            for _ in range(2):  # the second changes nothing
                reply = service.admin(api, method, f"/api/coupons/{event}/{verb}", body)
                assert reply.status == 200, reply
        audited(api, action=action, target=event, by="127.0.0.1",
                result=f"version {version}, total {total}")
    lines = [line for line in api.log.read_text().splitlines()
             if "changed by an operator" in line and f" target={event} " in line]
    assert len(lines) == len(changes)


# ---- who may ----

CHANGING = [
    ("/actuator/refresh", None), ("/actuator/pools/redis/suspend", None),
    ("/actuator/env", {"name": "redis.pool.max-active", "value": 1}),
    ("/actuator/pools/postgres/evict", None),
    ("/actuator/loggers/ROOT", {"configuredLevel": "off"})]
BREAKER = (f"/actuator/circuitbreakers/{NAME}", {"updateState": "FORCE_OPEN"})


@both
def test_nothing_changes_without_the_token(world, kind):
    daemon = world[kind]
    for path, body in CHANGING + [BREAKER] * (kind == "api"):
        reply = daemon.post(path, body)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), path
        reply = daemon.post(path, body, headers={"Authorization": "Bearer wrong"})
        assert reply.status == 403, path
    assert pool(daemon)["state"] == "RUNNING"
    assert daemon.get("/actuator/loggers/ROOT").json["effectiveLevel"] == "INFO"
