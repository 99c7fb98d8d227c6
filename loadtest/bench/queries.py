# SPDX-License-Identifier: MIT
"""The query path: what clients ask after they were accepted."""

import load
from bench import PLENTY, new_event, settle, wait_for
from report import Figure, around, cpu_us, rate, shares

USERS = 20_000


def query(bench):
    """GETs of a status, an event and a user's coupons, over the constant reply."""
    runs, constant = {}, []
    with bench.service() as service:
        api = service.api(**PLENTY)
        consumer = service.consumer()
        event, first = issued(service, api, USERS)
        consumer.stop()
        paths = {
            "status of a user (Redis)": f"/api/user-coupons/{event}/%d",
            "an event (PostgreSQL, Redis)": f"/api/coupons/{event}",
            "coupons of a user (PostgreSQL)": "/api/user-coupons?userId=%d",
        }
        for _ in range(bench.rounds):
            constant.append(bench.constant(64))
            for name, path in paths.items():
                run = load.queries(
                    {**bench.processes(api), "postgres": bench.stack.pid("postgres")},
                    api.port, path, first, USERS, 64, bench.seconds)
                assert not run.not_2xx, run
                runs.setdefault(name, []).append(run)
    return [figure for name in paths for figure in _figures(name, runs[name], constant)]


def _figures(name, runs, constant):
    pairs = list(zip(runs, constant))
    return [
        Figure(f"query {name}: requests/s over constant reply", "x", "",
               [a.rate / b.rate for a, b in pairs],
               f"{around(runs, rate)}/s over {around(constant, rate)}/s; "
               f"cores: {shares(runs)}"),
        Figure(f"query {name}: CPU per request over constant reply", "x", "",
               [a.cpu_us("server") / b.cpu_us("server") for a, b in pairs],
               f"{around(runs, cpu_us('server'), ' us')} over "
               f"{around(constant, cpu_us('server'), ' us')}"),
    ]


def issued(service, api, users):
    """An event sold to so many users, and the first of them."""
    event, first = new_event(service, api, users), load.first_user()
    answers = load.exactly(users, api.port, 100,
                           lambda i: load.post(event, first + i))
    assert set(answers) == {202}, set(answers)
    settle(service, event)
    wait_for(lambda: service.n_rows(event) == users, 60, "all rows")
    return event, first
