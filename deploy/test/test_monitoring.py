# SPDX-License-Identifier: MIT
"""deploy/monitoring against real daemons, Prometheus and Alertmanager."""

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import threading
import time

import pytest
import redis
import yaml

import runbook
from monitor import Prometheus, Webhook
from service import Service, wait_for
from stack import ROOT
from web import Load, request

MONITORING = ROOT / "deploy/monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))
DASHBOARD = MONITORING / "grafana/dashboards/coupon.json"
POOL = 2
# RedisPoolExhausted, with scrapes and evaluations each second: a scrape, two
# evaluations, `for`, Alertmanager's group_wait, and 5 s for a busy machine.
PROMISE = 1 + 2 + 10 + 2 + 5

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("prometheus", "promtool",
                               "prometheus-alertmanager"))),
    reason="prometheus and prometheus-alertmanager are not installed")
users = itertools.count(1)


def rules():
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panel_expressions():
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], filled_in(target["expr"])


def filled_in(expression):
    for name, value in (("instance", ".*"), ("coupon", ".*"),
                        ("__rate_interval", "20s")):
        expression = expression.replace(f"${name}", value)
    assert "$" not in expression
    return expression


def promtool(*arguments):
    result = subprocess.run(["promtool", *map(str, arguments)], text=True,
                            capture_output=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


# ---- without a server ----

def test_the_rules_are_well_formed():
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)


def test_the_alerts_fire_and_resolve_as_tested():
    promtool("test", "rules", *(MONITORING / "tests").glob("*.yml"))


def test_every_alert_is_seen_quiet_firing_and_resolved():
    tests = yaml.safe_load((MONITORING / "tests/alerts_test.yml").read_text())
    for test in tests["tests"]:
        cases = test["alert_rule_test"]
        assert {case["alertname"] for case in cases} == {test["name"]}
        assert [bool(case["exp_alerts"]) for case in cases] == [False, True, False]
        times = [promtool_seconds(case["eval_time"]) for case in cases]
        assert times == sorted(times), test["name"]
    assert {test["name"] for test in tests["tests"]} == {a["alert"] for a in ALERTS}


def promtool_seconds(text):
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()
    return 60 * int(minutes or 0) + int(seconds or 0)


def test_every_alert_says_what_to_do():
    assert len({a["alert"] for a in ALERTS}) == len(ALERTS)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("warning", "critical")
        notes = alert["annotations"]
        assert notes["summary"] and "$value" in notes["description"], alert
        assert notes["runbook_url"].startswith("docs/runbook.md#"), alert


def test_the_dashboard_is_what_its_table_says():
    made = subprocess.run(
        [MONITORING / "grafana/dashboard.py"], check=True, text=True,
        capture_output=True).stdout
    assert made == DASHBOARD.read_text()


def test_the_dashboard_can_be_narrowed_down():
    board = dashboard()
    names = {v["name"] for v in board["templating"]["list"]}
    assert names == {"datasource", "instance", "coupon"}
    used = set(re.findall(r"\$(\w+)", json.dumps(board["panels"])))
    assert used - {"__rate_interval"} == names
    assert {a["name"] for a in board["annotations"]["list"]} == {
        "Reload", "Restart", "Breaker", "Rebalance"}


def test_the_dashboards_expressions_parse(tmp_path):
    expressions = [e for _, e in panel_expressions()]
    expressions += [filled_in(a["expr"])
                    for a in dashboard()["annotations"]["list"]]
    assert len(expressions) > 40
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": [
        {"record": f"dashboard:{i}", "expr": e}
        for i, e in enumerate(expressions)]}]}))
    promtool("check", "rules", path)


# ---- with all of them ----

class World:
    def __init__(self, stack, directory):
        self.stack = stack
        self.webhook = Webhook(stack.webhook_port)
        self.service = Service(stack, directory)
        # The pool of the incident; the breaker would hide the queue.
        self.api = self.service.api(
            redis__pool__max_active=POOL, redis__pool__max_idle=POOL,
            redis__pool__min_idle=POOL, redis__pool__max_pipeline=1,
            circuitbreaker__coupon_issue__enabled="false")
        self.consumer = self.service.consumer()
        self.event = self.service.event(self.api, total=1000000)
        stack.start("prometheus", "alertmanager")
        self.prometheus = Prometheus(stack.prometheus_port)

    def close(self):
        self.stack.stop("prometheus", "alertmanager")
        self.service.close()
        self.webhook.close()

    @contextlib.contextmanager
    def load(self, **options):
        load = Load([self.api.port], self.event, users, **options)
        try:
            yield load
        finally:
            load.stop()


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    world = World(stack, tmp_path_factory.mktemp("monitoring"))
    yield world
    world.close()


def test_both_daemons_are_scraped(world):
    def all_up():
        targets = world.prometheus.ask("targets")["activeTargets"]
        return {t["labels"]["job"] for t in targets if t["health"] == "up"} == {
            "coupon-api", "coupon-consumer"}
    wait_for(all_up, what="both targets up")


def test_every_panel_shows_something(world):
    def empty():
        return [(title, e) for title, e in panel_expressions()
                if not world.prometheus.query(e)]
    with world.load(connections=2, rate=20):
        wait_for(lambda: not empty(), 30, "data in every panel")


def test_the_choices_of_the_dashboard_are_not_empty(world):
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.*), (\w+)\)",
                                         variable["query"]["query"]).groups()
            assert any(label in found["metric"] for found in world.prometheus.query(series))


def test_a_reload_and_a_restart_can_be_seen(world):
    """The annotations that need no failure; those of the drills do."""
    drawn = {a["name"]: filled_in(a["expr"])
             for a in dashboard()["annotations"]["list"]}
    with world.api.file.open("a") as file:
        file.write("latch:\n  duration: 150ms\n")
    reply = world.service.admin(world.api, "POST", "/actuator/refresh")
    assert [change["key"] for change in reply.json["changed"]] == ["latch.duration"]
    wait_for(lambda: world.prometheus.query(drawn["Reload"]), 20, "the reload")
    world.consumer.kill()
    world.consumer.start().wait_ready()
    for name in ("Restart", "Rebalance"):
        wait_for(lambda: world.prometheus.query(drawn[name]), 40, name)


def test_the_rules_name_series_that_exist(world):
    """An alert on a series that nobody feeds would never fire."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    present = set(world.prometheus.ask("label/__name__/values"))
    for rule in rules():
        text = re.sub(r'"[^"]*"|(by|without)\s*\([^)]*\)|{[^}]*}|\[\w+\]', " ",
                      rule["expr"])
        names = {n for n in re.findall(r"[a-z][\w:]*(?!\w*\s*\()\b", text)
                 if "_" in n or ":" in n}
        assert names <= recorded | present, rule


def test_no_sample_is_rejected(world):
    own = request(world.stack.prometheus_port, "GET", "/metrics").body.decode()
    rejected = re.findall(
        r"^(prometheus_target_scrapes?_\w*(?:duplicate|out_of|exceeded)\w*) (.*)$",
        own, re.M)
    assert len(rejected) >= 4
    assert {float(value) for _, value in rejected} == {0}, rejected
    for target in world.prometheus.ask("targets")["activeTargets"]:
        assert target["lastError"] == ""
    for kept in world.prometheus.query("scrape_samples_scraped"
                            " - scrape_samples_post_metric_relabeling"):
        assert kept["value"][1] == "0"


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_promtool_likes_the_metrics(world, kind):
    text = getattr(world, kind).get("/actuator/prometheus").body
    result = subprocess.run(["promtool", "check", "metrics"], input=text,
                            capture_output=True, timeout=300)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_the_plan_is_loaded_as_the_runbook_says(world):
    blocks = runbook.blocks(runbook.RUNBOOK.read_text(), "monitoring")
    assert blocks
    runbook.run(world.stack, blocks, world.stack.env)


@contextlib.contextmanager
def slow_redis(port, milliseconds=50):
    """Every round trip takes this long, as at 14:02."""
    stop = threading.Event()

    def pause():
        client = redis.Redis(port=port)
        while not stop.is_set():
            client.execute_command("CLIENT", "PAUSE", milliseconds, "ALL")
        client.close()

    thread = threading.Thread(target=pause)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_an_exhausted_pool_reaches_the_webhook_in_time(world):
    webhook = world.webhook
    with slow_redis(world.stack.redis_port), world.load(connections=64):
        wait_for(lambda: world.api.metric("redis.connection.pending"),
                 what="requests that wait")
        begin = time.monotonic()
        wait_for(lambda: ("RedisPoolExhausted", "firing") in webhook.seen, 60,
                 "the alert at the webhook")
        took = time.monotonic() - begin
        assert world.api.metric("redis.connection.active") == POOL
    assert 10 <= took <= PROMISE
    # The lesser alert is not sent beside it.
    assert ("RedisPoolHigh", "firing") not in webhook.seen
    wait_for(lambda: ("RedisPoolExhausted", "resolved") in webhook.seen, 60,
             "the all-clear at the webhook")
