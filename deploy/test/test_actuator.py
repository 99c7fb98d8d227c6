# SPDX-License-Identifier: MIT
"""/actuator as operators of Spring Boot know it, on both daemons."""

import pytest

from web import Load


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    from service import Service
    service = Service(stack, tmp_path_factory.mktemp("actuator"))
    api, consumer = service.api(), service.consumer()
    event = service.event(api, total=100)
    Load([api.port], event, range(1, 51)).join()
    service.settle(event)
    yield {"api": api, "consumer": consumer, "service": service}
    service.close()


both = pytest.mark.parametrize("kind", ["api", "consumer"])


@both
@pytest.mark.parametrize("path", ["", "/liveness", "/readiness"])
def test_health_is_up(world, kind, path):
    reply = world[kind].get(f"/actuator/health{path}")
    assert (reply.status, reply.json["status"]) == (200, "UP")


@both
def test_the_index_links_to_what_answers(world, kind):
    links = world[kind].get("/actuator").json["_links"]
    for name, link in links.items():
        if not link["templated"]:
            path = "/actuator" + link["href"].partition("/actuator")[2]
            assert world[kind].get(path).status in (200, 405), name


@both
def test_every_listed_metric_can_be_asked_for(world, kind):
    names = world[kind].get("/actuator/metrics").json["names"]
    assert "process.cpu.usage" in names or len(names) > 10
    for name in names:
        reply = world[kind].get(f"/actuator/metrics/{name}")
        assert reply.status == 200, name
        assert reply.json["name"] == name and reply.json["measurements"], name


def test_the_runbooks_metric(world):
    body = world["api"].get("/actuator/metrics/redis.connection.active").json
    assert body["name"] == "redis.connection.active"
    assert [m["statistic"] for m in body["measurements"]] == ["VALUE"]


@pytest.mark.parametrize("kind,names", [
    ("api", ["redis.connection." + name for name in (
        "active", "idle", "pending", "total", "max", "min", "timeout",
        "acquire", "usage", "creation")] + [
        "hikaricp.connections.active", "hikari.connections.active",
        "http.server.requests", "coupon.issue", "coupon.outbox.pending",
        "coupon.outbox.oldest"]),
    ("consumer", ["hikaricp.connections.active", "kafka.consumer.lag",
                  "coupon.time.to.issue"]),
])
def test_the_names_operators_know(world, kind, names):
    present = world[kind].get("/actuator/metrics").json["names"]
    assert not set(names) - set(present)


def test_accepted_requests_are_counted(world):
    api = world["api"]
    assert api.metric("http.server.requests", "COUNT", status=202) == 50
    assert api.metric("coupon.outbox.pending") == 0


@both
def test_prometheus_text(world, kind):
    reply = world[kind].get("/actuator/prometheus")
    assert reply.headers["content-type"].startswith("text/plain")
    text = reply.body.decode()
    families = [line.split()[2] for line in text.splitlines()
                if line.startswith("# TYPE ")]
    assert len(families) == len(set(families)), "a family twice"
    assert text.endswith("\n")
    series = [line.rpartition(" ")[0] for line in text.splitlines()
              if not line.startswith("#")]
    assert len(series) == len(set(series)), "a series twice"


@both
def test_unknown_metrics_are_404(world, kind):
    assert world[kind].get("/actuator/metrics/no.such.metric").status == 404


@both
def test_info(world, kind):
    assert world[kind].get("/actuator/info").status == 200


@both
def test_secrets_do_not_show(world, kind):
    token = world["service"].stack.admin_token()
    for path in ("/actuator/info", "/actuator/prometheus", "/actuator/health"):
        assert token.encode() not in world[kind].get(path).body
    assert token not in world[kind].log.read_text()
