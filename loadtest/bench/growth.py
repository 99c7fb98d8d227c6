# SPDX-License-Identifier: MIT
"""How the figures grow: with connections, events, coupons issued, partitions,
threads.  Each round runs through all sizes; a figure is over the smallest."""

import os

import load
from bench import MANY, PATIENT, PLENTY, endless_event, new_event, settle, wait_for
from report import Figure, around, cpu_us, shares, sustained, times

USERS = (10_000, int(os.environ.get("ISSUED", 1_000_000)))
EVENTS = 1000
IDLE_S = 6  # the reconciler looks every 5 s
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
            [a.sustained / b.sustained for a, b in pairs],
            f"{around(runs[size], sustained)}/s over "
            f"{around(runs[first], sustained)}/s; cores: {shares(runs[size])}"))
    return figures


def threads(bench):
    """1 and 2 http threads."""
    runs = {1: [], 2: []}
    with bench.service() as service:
        apis = {n: service.api(**PLENTY, server__threads=str(n)) for n in runs}
        for _ in range(bench.rounds):
            for n, api in apis.items():
                runs[n].append(bench.issue(service, api, 64))
    return _grown(runs, lambda n: f"{n} http thread{'s'[:n - 1]}")


def events(bench):
    """1 and 1,000 events that are issued from, and what 1,000 live ones cost
    while nothing happens."""
    yield from _busy_events(bench)
    yield from _idle_events(bench)


def _busy_events(bench):
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
    return _grown(runs, lambda n: f"{n:,} event{'s'[:n - 1]}")


def _idle_events(bench):
    """What upkeep and reconciler do for events that are open."""
    cores = {}
    with bench.service() as service:
        api = service.api(**PLENTY)
        service.consumer()
        pids = {**bench.processes(api), "postgres": bench.stack.pid("postgres")}
        for n in (1, EVENTS):
            while new_event(service, api, MANY) < n:
                pass
            for _ in range(bench.rounds):
                used = load.cores_over(pids, IDLE_S)
                for name, share in used.items():
                    cores.setdefault((name, n), []).append(share)
    return [Figure(
        f"{EVENTS:,} live events, nothing issued: CPU of "
        f"{'api' if name == 'server' else name}", "cores", "", cores[name, EVENTS],
        f"with one event {around(cores[name, 1], float)}") for name in pids]


def issued(bench):
    """10,000 and 1,000,000 (ISSUED) users of an event who have a coupon already."""
    runs, memory = {n: [] for n in USERS}, {n: [] for n in USERS}
    with bench.service() as service:
        api = service.api(**PLENTY)
        # Before anything is issued: a new event reads what no consumer has.
        events_ = [(n, endless_event(service, api))
                   for _ in range(bench.rounds) for n in USERS]
        for n, event in events_:
            memory[n].append(_issue_to(service, api, event, n))
            runs[n].append(bench.issue_more(service, api, 64, event))
    return [*_grown(runs, lambda n: f"{n:,} users in the hash"),
            *(Figure(f"Redis memory per user of {n:,} who have a coupon", "bytes", "",
                     memory[n], "the whole server's, all of them in Kafka")
              for n in USERS)]


def _issue_to(service, api, event, users):
    """Issue to so many; Redis's memory for each."""
    before = service.redis.info("memory")["used_memory_dataset"]
    while service.redis.hlen(f"{{c:{event}}}:users") < users:
        load.wrk(api.port, event, 64, 4, limit=users // 2)
    settle(service, event)
    return (service.redis.info("memory")["used_memory_dataset"] - before) / \
        service.redis.hlen(f"{{c:{event}}}:users")


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
        f"a backlog of {BACKLOG:,} or more") for n in (3, 12)]
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
