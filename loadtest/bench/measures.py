# SPDX-License-Identifier: MIT
"""The measures.  Each alternates what it measures with its baseline, round by
round, so that what else the machine does meets both."""

import socket
import subprocess
import time

import growth
import instructions
import load
import onlookers
import queries
from bench import PATIENT, PLENTY, PROGRAMS, new_event, settle, wait_for
from report import SERVER_US, Figure, around, number, p99_ms, rate, shares, times


# connections, http threads, Redis's appendfsync
CASES = ((64, 1, "everysec"), (64, 2, "everysec"), (500, 2, "everysec"),
         (64, 2, "always"), (500, 2, "always"))


def cpu(bench):
    """CPU per accepted request and requests/s, over the constant reply."""
    with bench.service() as service:
        # A disk that others keep busy is no reason to refuse, here.
        apis = {n: service.api(**PATIENT, server__threads=str(n)) for n in (1, 2)}
        for case in CASES:
            yield from _cpu(bench, service, apis, *case)


def _cpu(bench, service, apis, connections, threads, mode):
    where = (f"{connections} connections, {threads} thread{'s'[:threads - 1]}, "
             f"appendfsync {mode}")
    service.redis.config_set("appendfsync", mode)
    ours, constant = [], []
    for _ in range(bench.rounds):
        constant.append(bench.constant(connections, threads))
        ours.append(bench.issue(service, apis[threads], connections))
    pairs = list(zip(ours, constant))
    return [
        Figure(f"CPU per accepted request over constant reply, {where}", "x",
               "<= 2.5", [SERVER_US(a) / SERVER_US(b) for a, b in pairs],
               times(ours) + f"; constant {around(constant, SERVER_US, ' us')}"),
        Figure(f"accepted requests/s over constant reply, {where}", "x",
               ">= 0.45", [a.rate / b.rate for a, b in pairs],
               f"{around(ours, rate)}/s over {around(constant, rate)}/s; "
               f"cores: {shares(ours)}"),
    ]


def delayed(bench):
    """Redis 50 ms away: pipelined over one request per connection."""
    classic, pipelined = [], []
    with bench.service() as service, \
            bench.program("delay", bench.stack.redis_port, 50) as (_, port):
        far = {**PATIENT, "redis__port": str(port),
               "circuitbreaker__coupon_issue__enabled": "false",
               "redis__pool__max_active": "10"}
        blocking = service.api(**far, redis__pool__max_pipeline="1")
        api = service.api(**far)
        for _ in range(bench.rounds):
            for one, runs in ((blocking, classic), (api, pipelined)):
                runs.append(bench.issue(service, one, 500, timeout=30))
    broken = sum(run.broken for run in classic + pipelined)
    return [Figure(
        "Redis delayed by 50 ms, 10 connections, 500 clients: requests/s over "
        "max-pipeline 1", "x", ">= 40",
        [a.rate / b.rate for a, b in zip(pipelined, classic)],
        f"{around(pipelined, rate)}/s over {around(classic, rate)}/s; p99 "
        f"{around(pipelined, p99_ms, ' ms')} and {around(classic, p99_ms, ' ms')}; "
        f"{broken} errors")]


def fsync(bench):
    """What appendfsync always costs over everysec."""
    runs = {"everysec": [], "always": []}
    with bench.service() as service:
        api = service.api(**PATIENT)
        for _ in range(bench.rounds):
            for mode, into in runs.items():
                service.redis.config_set("appendfsync", mode)
                into.append(bench.issue(service, api, 64))
    pairs = list(zip(runs["always"], runs["everysec"]))
    return [
        Figure("appendfsync always over everysec: requests/s", "x", "",
               [a.rate / b.rate for a, b in pairs],
               f"{around(runs['always'], rate)}/s over "
               f"{around(runs['everysec'], rate)}/s"),
        Figure("appendfsync always over everysec: p99", "x", "",
               [a.p99_ms / b.p99_ms for a, b in pairs],
               f"{around(runs['always'], p99_ms, ' ms')} over "
               f"{around(runs['everysec'], p99_ms, ' ms')}"),
    ]


BACKLOG = 200_000


def consumer(bench):
    """Rows/s from a backlog on one partition, over bare batched INSERTs."""
    bare, ours = [], []
    with bench.service(partitions=1) as service:
        api = service.api(**PLENTY)
        for _ in range(bench.rounds):
            event = _backlog(bench, service, api)
            ours.append(_consume(service, event))
            bare.append(_insert(bench))
    return [Figure(
        f"consumer rows/s, backlog of {BACKLOG:,}, one partition, over bare "
        "batched INSERTs", "x", ">= 0.5", [a / b for a, b in zip(ours, bare)],
        f"{around(ours, float)} rows/s over {around(bare, float)}")]


def _backlog(bench, service, api):
    event = new_event(service, api, BACKLOG)
    while api.get(f"/api/coupons/{event}").json.get("remaining", 1):
        load.wrk(api.port, event, 64, 2)
    settle(service, event)
    return event


def _consume(service, event):
    """From the first transaction's begin to the last one's, as rows/s."""
    consumer_ = service.consumer(ready=False)
    wait_for(lambda: service.n_rows(event) == BACKLOG, 120, "all rows")
    consumer_.stop()
    first, last = service.query(
        "SELECT extract(epoch FROM min(issued_at))::float8,"
        " extract(epoch FROM max(issued_at))::float8"
        " FROM user_coupon WHERE coupon_id = %s", event)[0]
    return BACKLOG / (last - first)


def _insert(bench):
    uri = f"postgresql://coupon@127.0.0.1:{bench.stack.postgres_port}/coupon"
    text = subprocess.run([PROGRAMS / "insert", uri, str(BACKLOG)], check=True,
                          capture_output=True, text=True).stdout
    return float(text.split()[-2])


def rush(bench):
    """20,000 users want 10,000 coupons: until the last row is committed."""
    samples, slowest = [], []
    with bench.service() as service:
        api = service.api(**PLENTY)
        service.consumer()
        for _ in range(bench.rounds):
            event = new_event(service, api, 10_000)
            wrk = subprocess.Popen(load.command(
                api.port, event, 1000, 4, limit=10_000), text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            wait_for(lambda: service.n_rows(event) == 10_000, 30, "all rows")
            end = time.time()
            run = load.parse(wrk.communicate()[0])
            assert not run.broken, run
            slowest.append(run.p99_ms)
            start = service.query(
                "SELECT extract(epoch FROM min(accepted_at))::float8"
                " FROM user_coupon WHERE coupon_id = %s", event)[0][0]
            samples.append(end - start)
            settle(service, event)
    return [Figure(
        "20,000 users over 1,000 connections for 10,000 coupons: first request "
        "to last row", "s", "< 2", samples,
        f"p99 of a request {around(slowest, float, ' ms')}")]


def idle(bench):
    """Idle connections: memory, and what they cost the others."""
    memory = {1000: [], 10_000: []}
    few, many = [], []
    with bench.service() as service:
        for _ in range(bench.rounds):
            api = service.api(**PATIENT)
            for count, samples in memory.items():
                with _open(api, count):
                    samples.append(load.rss_mb(api.process.pid))
            api.stop()
        api = service.api(**PATIENT)
        for _ in range(bench.rounds):
            few.append(bench.issue(service, api, 100))
            with _open(api, 9900):
                many.append(bench.issue(service, api, 100))
    return [
        *(Figure(f"RSS of api with {count:,} idle connections", "MB", "<= 100",
                 samples) for count, samples in memory.items()),
        Figure("CPU per request with 10,000 connections open, 100 of them busy, "
               "over 100 open", "x", "<= 1.5",
               [SERVER_US(a) / SERVER_US(b) for a, b in zip(many, few)],
               f"{around(many, SERVER_US, ' us')} over "
               f"{around(few, SERVER_US, ' us')}"),
    ]


class _open:
    """Keep-alive connections that have had one answer each."""

    def __init__(self, api, count):
        self.sockets = [self._connect(api.port) for _ in range(count)]

    @staticmethod
    def _connect(port):
        sock = socket.create_connection(("127.0.0.1", port), 10)
        sock.sendall(b"GET /actuator/health/liveness HTTP/1.1\r\nHost: t\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        return sock

    def __enter__(self):
        return self.sockets

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()


def start(bench):
    """From exec to ready, everything it depends on being up."""
    samples = {"api": [], "consumer": []}
    with bench.service() as service:
        service.api().stop()  # the schema is there
        for _ in range(bench.rounds):
            for kind, into in samples.items():
                begin = time.monotonic()
                daemon = getattr(service, kind)()
                into.append(time.monotonic() - begin)
                daemon.stop()
    return [Figure(f"start of {kind} to ready", "s", "< 0.5", into)
            for kind, into in samples.items()]


def flood(bench):
    """Refusals: sold out, and over the rate limit."""
    limited = {"ratelimiter__coupon_issue__enabled": "true",
               "ratelimiter__coupon_issue__limit_for_period": "1",
               "ratelimiter__coupon_issue__limit_refresh_period": "1h"}
    yield from _flood(bench, "sold-out", "SOLD_OUT", {})
    yield from _flood(bench, "429", "RATE_LIMITED", limited)


def _flood(bench, name, outcome, settings):
    ours, constant = [], []
    with bench.service() as service:
        api = service.api(**PLENTY, **settings)
        event = new_event(service, api, 1)
        for _ in range(bench.rounds):
            constant.append(bench.constant(64))
            load.wrk(api.port, event, 64, 1)
            before = api.metric("coupon.issue", outcome=outcome)
            ours.append(load.watched(bench.processes(api), lambda: None,
                                     api.port, event, 64, bench.seconds))
            refused = api.metric("coupon.issue", outcome=outcome) - before
            assert refused >= ours[-1].requests, (refused, ours[-1])
    pairs = list(zip(ours, constant))
    return [
        Figure(f"{name} flood: requests/s over constant reply", "x", ">= 0.85",
               [a.rate / b.rate for a, b in pairs],
               f"{around(ours, rate)}/s over {around(constant, rate)}/s; cores: "
               + shares(ours)),
        Figure(f"{name} flood: CPU per request over constant reply", "x", "",
               [SERVER_US(a) / SERVER_US(b) for a, b in pairs],
               f"{around(ours, SERVER_US, ' us')} over "
               f"{around(constant, SERVER_US, ' us')}; redis "
               f"{number(sum(run.cpu['redis'] for run in ours))} s in all"),
    ]


MEASURES = {
    "cpu": cpu,
    "delayed": delayed,
    "fsync": fsync,
    "consumer": consumer,
    "rush": rush,
    "idle": idle,
    "start": start,
    "flood": flood,
    "query": queries.query,
    "threads": growth.threads,
    "connections": growth.connections,
    "events": growth.events,
    "issued": growth.issued,
    "partitions": growth.partitions,
    "onlookers": onlookers.onlookers,
    "instructions": instructions.instructions,
}
