# SPDX-License-Identifier: MIT
"""How the figures grow: with connections, events, coupons issued, partitions,
threads.  Each round runs through all sizes; a figure is over the smallest."""

import os

import load
from bench import PATIENT, PLENTY, endless_event, new_event, settle, wait_for
from report import Figure, around, cpu_us, rate, shares, times

USERS = (10_000, int(os.environ.get("ISSUED", 1_000_000)))
EVENTS = 1000
BACKLOG = 30_000


def _grown(runs, what, names=("server", "redis")):
    """CPU per request and requests/s of each size over those of the first."""
    first, *others = runs
    figures = []
    for size in others:
        pairs = list(zip(runs[size], runs[first]))
        for name in names:
            figures.append(Figure(
                f"{what(size)} over {what(first)}: CPU of "
                f"{'api' if name == 'server' else name} per request", "x", "",
                [a.cpu_us(name) / b.cpu_us(name) for a, b in pairs],
                f"{around(runs[size], cpu_us(name), ' us')} over "
                f"{around(runs[first], cpu_us(name), ' us')}"))
        figures.append(Figure(
            f"{what(size)} over {what(first)}: accepted requests/s", "x", "",
            [a.rate / b.rate for a, b in pairs],
            f"{around(runs[size], rate)}/s over {around(runs[first], rate)}/s; "
            f"cores: {shares(runs[size])}", better="more"))
    return figures


def threads(bench):
    """1 and 2 http threads."""
    runs = {1: [], 2: []}
    with bench.service() as service:
        apis = {n: service.api(**PLENTY, server__threads=str(n)) for n in runs}
        for _ in range(bench.rounds):
            for n, api in apis.items():
                runs[n].append(bench.issue(service, api, 64))
    return _grown(runs, lambda n: f"{n} http thread{'s'[:n - 1]}", ("server",))


def events(bench):
    """1 and 1,000 live events."""
    runs = {1: [], EVENTS: []}
    with bench.service() as service:
        api = service.api(**PLENTY)
        first = endless_event(service, api)
        last = [endless_event(service, api) for _ in range(EVENTS - 1)][-1]
        assert last == first + EVENTS - 1, "numbers in a row"
        load.wrk(api.port, first, 64, 2, events=EVENTS)
        settle(service, first, EVENTS)
        for _ in range(bench.rounds):
            for n, into in runs.items():
                into.append(bench.issue_more(service, api, 64, first, events=n))
    return _grown(runs, lambda n: f"{n:,} live event{'s'[:n - 1]}")


def issued(bench):
    """10,000 and 1,000,000 users of an event who have a coupon already."""
    runs = {n: [] for n in USERS}
    memory = []
    with bench.service() as service:
        api = service.api(**PLENTY)
        empty = service.redis.info("memory")["used_memory"]
        fresh = [endless_event(service, api) for _ in range(bench.rounds)]
        full = endless_event(service, api)
        _issue_to(service, api, full, USERS[1])
        users = service.redis.hlen(f"{{c:{full}}}:users")
        memory.append((service.redis.info("memory")["used_memory"] - empty) / users)
        for few in fresh:
            _issue_to(service, api, few, USERS[0])
            runs[USERS[0]].append(bench.issue_more(service, api, 64, few))
            runs[USERS[1]].append(bench.issue_more(service, api, 64, full))
    return [*_grown(runs, lambda n: f"{n:,} users in the hash"),
            Figure("Redis memory per user who has a coupon", "bytes", "", memory,
                   f"{users:,} users, all of them in Kafka")]


def _issue_to(service, api, event, users):
    while service.redis.hlen(f"{{c:{event}}}:users") < users:
        load.wrk(api.port, event, 64, 4, limit=users // 2)
    settle(service, event)


def partitions(bench):
    """Topics of 1, 3 and 12 partitions: accepting, and the consumer."""
    runs, rows = {1: [], 3: [], 12: []}, {1: [], 3: [], 12: []}
    with bench.service() as service:
        for n in runs:
            service.stack.tool("coupon-topic", "--create", "--topic",
                               _topic(service, n), "--partitions", str(n))
        for _ in range(bench.rounds):
            for n, into in runs.items():
                settings = {"kafka__topic": _topic(service, n),
                            "kafka__group_id": _topic(service, n)}
                api = service.api(**PLENTY, **settings)
                into.append(bench.issue(service, api, 64))
                rows[n].append(_consume(service, api, settings))
                api.stop()
    consumer = [Figure(
        f"{n} partitions over 1: rows/s of one consumer", "x", "",
        [a / b for a, b in zip(rows[n], rows[1])],
        f"{around(rows[n], float)} over {around(rows[1], float)} rows/s; "
        f"a backlog of {BACKLOG:,} or more", better="more") for n in (3, 12)]
    return [*_grown(runs, lambda n: f"{n} partition{'s'[:n - 1]}",
                    ("server", "redis", "kafka")), *consumer]


def _topic(service, n):
    return f"{service.topic}-of-{n}"


def _consume(service, api, settings):
    """Rows/s of what is in the topic, from its first transaction to its last."""
    event = new_event(service, api, BACKLOG)
    while api.get(f"/api/coupons/{event}").json.get("remaining", 1):
        load.wrk(api.port, event, 64, 2)
    settle(service, event)
    consumer = service.consumer(ready=False, **settings)
    wait_for(lambda: service.n_rows(event) == BACKLOG, 120, "all rows")
    consumer.stop()
    count, seconds = service.query(
        "SELECT count(*), extract(epoch FROM max(issued_at) - min(issued_at))"
        "::float8 FROM user_coupon WHERE issued_at >="
        " (SELECT min(issued_at) FROM user_coupon WHERE coupon_id = %s)", event)[0]
    return count / seconds


def connections(bench):
    """100, 1,000 and 10,000 busy connections, and the constant reply at each."""
    runs, constant = {100: [], 1000: [], 10_000: []}, {}
    with bench.service() as service:
        api = service.api(**PATIENT)
        for _ in range(bench.rounds):
            for n, into in runs.items():
                # Ten thousand connections take seconds to be opened.
                how = {"seconds": bench.seconds + n // 2000, "timeout": 30}
                constant.setdefault(n, []).append(bench.constant(n, **how))
                into.append(bench.issue(service, api, n, **how))
    ratios = [Figure(
        f"CPU per accepted request over constant reply, {n:,} connections", "x", "",
        [a.cpu_us("server") / b.cpu_us("server")
         for a, b in zip(runs[n], constant[n])],
        f"{times(runs[n])}; constant {around(constant[n], cpu_us('server'), ' us')}")
        for n in runs]
    alone = [Figure(
        f"constant reply itself, {n:,} busy connections over 100: CPU per request",
        "x", "", [a.cpu_us("server") / b.cpu_us("server")
                  for a, b in zip(constant[n], constant[100])]) for n in (1000, 10_000)]
    return [*_grown(runs, lambda n: f"{n:,} busy connections"), *ratios, *alone]
