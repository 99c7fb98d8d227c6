# SPDX-License-Identifier: MIT
"""Our answers against those of a real Spring Boot application.

actuator-samples/ were recorded by us: Spring Boot with Actuator, Micrometer,
HikariCP and Resilience4j.  A client that reads those reads ours: same status,
same media type, every member they have, of the same JSON type.
"""

import json
import re
from dataclasses import dataclass

import pytest

from service import Service, wait_for
from stack import ROOT
from web import Load, request

SAMPLES = ROOT / "deploy/test/actuator-samples"
# Their names for what is ours.
NAMES = {"couponIssue": "coupon-issue", "HikariPool-1": "postgres",
         "/loggers/com.example": "/loggers/ROOT"}
# Members whose own members are names, of which some differ: we run no
# validationQuery, a JVM has no partitions.
MAPS = {"_links", "components", "details", "loggers", "groups",
        "circuitBreakers"}
# Not recorded for its shape, or read line by line below.
TEXTS = {"prometheus", "openmetrics", "metrics"}
# What only the api has, or only requests of users make.
API_ONLY = {"cb", "http_tag", "http_two", "exposed_circuitbreakers",
            "exposed_circuitbreakerevents", "exposed_ratelimiters"}
REDIS_DOWN = "health_redis_down"
# A thing of Spring that is no part of a daemon of ours.
FOREIGN = {"bulkhead", "timer", "retr", "timelimiter", "ratelimiterevents",
           "beans", "caches", "conditions", "env", "heapdump", "mappings",
           "sbom"}


@dataclass
class Sample:
    method: str
    path: str
    sent: str
    status: int
    type: str
    body: str


def read_sample(name):
    text = (SAMPLES / f"{name}.txt").read_text()
    for theirs, ours in NAMES.items():
        text = text.replace(theirs, ours)
    asked, _, answer = text.partition("\n\n")
    head, _, body = answer.partition("\n\n")
    method, path, sent = re.match(r"(GET|POST) (\S+) *(\{.*\})?", asked).groups()
    status = re.match(r"HTTP/1.1 (\d+)", head)
    kind = re.search(r"^Content-Type: (.*)$", head, re.M)
    return Sample(method, path.rstrip(","), sent, int(status[1]) if status else 200,
                  kind[1] if kind else "", body.strip())


JSON_SAMPLES = sorted(path.stem for path in SAMPLES.glob("*.txt")
                      if path.stem not in TEXTS | {REDIS_DOWN})


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    service = Service(stack, tmp_path_factory.mktemp("samples"))
    daemons = {kind: getattr(service, kind)(
        management__show_details="always",
        logging__level="info") for kind in ("api", "consumer")}
    event = service.event(daemons["api"], total=10)
    Load([daemons["api"].port], event, range(1, 6)).join()
    service.settle(event)
    breaker = "/actuator/circuitbreakers/coupon-issue"
    for update in ("DISABLE", "CLOSE"):  # two events
        service.admin(daemons["api"], "POST", breaker, {"updateState": update})
    yield {**daemons, "service": service}
    service.close()


def ask(world, kind, sample):
    headers = {"Authorization": f"Bearer {world['service'].stack.admin_token()}"}
    if sample.sent:
        headers["Content-Type"] = "application/json"
    return request(world[kind].port, sample.method, sample.path, sample.sent, headers)


def kind_of(value):
    """Of JSON; 1 and 1.0 are told apart: Java's readers do."""
    return type(value).__name__


def same_shape(theirs, ours, where="$"):
    """Every member of theirs is in ours, and is what it is there."""
    if theirs is None or ours is None:
        return  # a null says nothing of what it might be
    assert kind_of(theirs) == kind_of(ours), where
    if isinstance(theirs, list) and theirs and isinstance(theirs[0], dict):
        assert ours or "[" in where, f"{where}: nothing to compare"
        for i, item in enumerate(ours):
            same_shape(theirs[0], item, f"{where}[{i}]")
    elif isinstance(theirs, dict):
        assert not set(theirs) - set(ours), where
        for name, value in theirs.items():
            same = same_map if name in MAPS else same_shape
            same(value, ours[name], f"{where}.{name}")


def same_map(theirs, ours, where):
    """Names that both have mean the same."""
    if not isinstance(theirs, dict):
        same_shape(theirs, ours, where)
        return
    shared = set(theirs) & set(ours)
    if theirs and ours:
        assert shared, f"{where}: nothing in common"
    for name in shared:
        same_shape(theirs[name], ours[name], f"{where}.{name}")


def compare(sample, reply):
    assert (reply.status, reply.headers.get("content-type", "")) == (
        sample.status, sample.type)
    if not sample.body:
        assert reply.body == b""
        return None
    body = json.loads(sample.body)
    same_shape(body, reply.json)
    return body


@pytest.mark.parametrize("kind,name", [
    (kind, name) for kind in ("api", "consumer") for name in JSON_SAMPLES
    if kind == "api" or name not in API_ONLY])
def test_the_answer_is_spring_boots(world, kind, name):
    sample = read_sample(name)
    reply = ask(world, kind, sample)
    theirs = compare(sample, reply)
    if theirs and "measurements" in theirs:
        statistics, tags = (
            [[m[member] for m in body[part]] for body in (theirs, reply.json)]
            for part, member in (("measurements", "statistic"),
                                 ("availableTags", "tag")))
        assert statistics[0] == statistics[1]
        assert set(tags[0]) == set(tags[1])
        assert theirs.get("baseUnit") == reply.json.get("baseUnit")


def test_the_index_has_what_theirs_has(world):
    theirs = json.loads(read_sample("exposed_root").body)["_links"]
    ours = world["api"].get("/actuator").json["_links"]
    missing = {name: link for name, link in theirs.items()
               if name not in ours and not name.startswith(tuple(FOREIGN))}
    assert not missing
    for name in set(theirs) & set(ours):
        path = [link["href"].partition("/actuator")[2]
                for link in (theirs[name], ours[name])]
        assert path[0] == path[1]
        assert theirs[name]["templated"] == ours[name]["templated"]


def test_no_metric_of_theirs_is_missing(world):
    """Of those that mean anything outside a JVM."""
    names = json.loads(read_sample("metrics").body)["names"]
    known = tuple(f"{name}." for name in (
        "hikaricp", "http.server", "resilience4j", "process", "system"))
    wanted = {n for n in names if n.startswith(known) or n == "coupon.issue"}
    assert len(wanted) > 30
    body = world["api"].get("/actuator/metrics").json
    assert body["names"] == sorted(set(body["names"]))
    assert not wanted - set(body["names"])


def families(text):
    """{series name without suffix: (type, {label names})} as scraped."""
    found, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            types[name] = kind
        elif line and not line.startswith("#"):
            name = re.match(r"[\w:]+", line)[0]
            found.setdefault(name, set()).update(re.findall(r'[{,](\w+)="', line))
    return types, found


@pytest.mark.parametrize("name,accept", [
    ("prometheus", "*/*"),
    ("openmetrics", "application/openmetrics-text;version=1.0.0")])
def test_series_are_spelled_as_micrometers(world, name, accept):
    sample = read_sample(name)
    reply = world["api"].get(sample.path, headers={"Accept": accept})
    assert reply.headers["content-type"] == sample.type
    their_types, theirs = families(sample.body)
    our_types, ours = families(reply.body.decode())
    compared = 0
    for series in theirs:
        if series.startswith(("hikaricp_", "http_server_requests_seconds",
                              "resilience4j_")):
            assert theirs[series] == ours[series], series
            compared += 1
    assert compared >= 18
    for family, kind in their_types.items():
        if family.startswith(("hikaricp_", "resilience4j_")):
            # Ours may have buckets: the same samples, and more.
            assert our_types[family] == kind or (
                our_types[family], kind) == ("histogram", "summary"), family


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_a_strict_reader_takes_openmetrics(world, kind):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
    reply = world[kind].get("/actuator/prometheus", headers={
        "Accept": "application/openmetrics-text; version=1.0.0"})
    text = reply.body.decode()
    assert text.endswith("\n# EOF\n")
    read = list(text_string_to_metric_families(text))
    assert len(read) > 40
    assert {"coupon_config_reload"} <= {family.name for family in read}


def test_health_says_that_redis_is_gone(world):
    """The last one: Redis is another afterwards."""
    stack, api = world["service"].stack, world["api"]
    stack.stop("redis")
    try:
        sample = read_sample(REDIS_DOWN)
        reply = wait_for(lambda: (r := ask(world, "api", sample)).status == 503 and r,
                         what="health DOWN")
        compare(sample, reply)
        theirs = json.loads(sample.body)["components"]
        ours = reply.json["components"]
        for name in set(theirs) & set(ours):
            assert theirs[name]["status"] == ours[name]["status"], name
        assert api.get("/actuator/health/readiness").status == 200
        assert api.get("/actuator/health/redis").status == 503
    finally:
        stack.start("redis")
    wait_for(lambda: ask(world, "api", sample).status == 200, what="health UP")
