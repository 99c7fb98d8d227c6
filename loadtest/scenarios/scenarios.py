# SPDX-License-Identifier: MIT
"""One run of a scenario: load, watch, come to rest, verify, say so."""

import math
import time

import draw
import generators
import partitions
import steps
import verdict
from event import Event
from rows import LastRow
from table import SOAK_MINUTES
from target import OFF, ON
from watch import Watch

RAMP = [(0, 0), (1, 5000), (21, 5000)]
USERS = 50_000


def run(scenario, target):
    """Prints the verdict; True when everything held."""
    verdict.RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    stem = verdict.RESULTS / f"{scenario.name}_{stamp}"
    print(f"{scenario.name}: {scenario.what}", flush=True)
    with target.configured(ON if scenario.limiter else OFF):
        event = Event(target, target.new_event(scenario.name, scenario.stock))
        generator, server, rows = RUNS.get(scenario.name, _with_k6)(
            scenario, target, event, stem)
        # Latency is worth nothing when the count is wrong.
        found = target.verify()
        rows += [*event.rows(generator["accepted"], generator["errors"]),
                 verdict.verifier_row(found)]
        result = verdict.write(stem, scenario, target, generator, server, rows)
        # Before the limiter is put back: an api that ended refuses that.
        _say(stem, found, f"{verdict.table(rows)}\n{_figures(generator, server)}")
        print(f"{scenario.name}: {result['outcome']}\n", flush=True)
    return result["passed"]


def _say(stem, found, said):
    if found and found["text"]:
        print(found["text"])
    print(said)
    verdict.add_to_report(stem.with_suffix(".html"), said)
    print(f"  {stem}.json, .html")


# ---- the shapes ----

def _with_k6(scenario, target, event, stem):
    generator, watch, figures = _watched_k6(scenario, target, event, stem)
    return generator, figures, verdict.k6_rows(generator["summary"]) + watch.rows()


def _watched_k6(scenario, target, event, stem):
    with Watch(target) as watch:
        generator = generators.k6(scenario.name, target, event, stem)
    event.settle()
    figures = watch.figures()
    figures["rss_peak_mb"] = watch.peak_rss
    figures["rss_mb_over_time"] = watch.rss[::max(len(watch.rss) // 60, 1)]
    return generator, watch, figures


def _soak(scenario, target, event, stem):
    with steps.of_soak(target, SOAK_MINUTES * 60) as done:
        generator, watch, figures = _watched_k6(scenario, target, event, stem)
    return generator, figures, [
        *verdict.k6_rows(generator["summary"]), *done.rows(),
        *verdict.memory_rows(watch.rss, watch.peak_rss), *watch.rows()]


def _stampede(scenario, target, event, stem):
    log = stem.with_suffix(".csv")
    with Watch(target) as watch, LastRow(target, event.id) as last_row:
        arrivals = generators.finish_openload(generators.start_openload(
            target, event.id, RAMP, log, users=USERS, connections=1000,
            first_user=event.first_user), log)
    log.unlink()
    event.settle()
    figures = watch.figures()
    behind = last_row.unix - arrivals.last_accept_unix()
    if math.isfinite(behind):
        figures["last_row_after_last_accept_s"] = round(behind, 3)
    draw.page(stem.with_suffix(".html"), scenario.what,
              draw.timeline({"stampede": (arrivals.records, watch.samples)}))
    return arrivals.summary(), figures, [
        *_stampede_rows(arrivals, behind, min(event.left, USERS)), *watch.rows()]


def _stampede_rows(arrivals, behind, coupons):
    def p95(status=None):
        return generators.percentile(arrivals.ms(status=status), 95)
    outcomes = arrivals.outcomes()
    return [
        verdict.below("latency p95", p95(), 50, "ms"),
        verdict.below("latency, accepted p95", p95(202), 50, "ms"),
        verdict.equals("errors", arrivals.errors(), 0),
        verdict.equals("refused by the limiter", outcomes[429, "RATE_LIMITED"], 0),
        verdict.equals("accepted", outcomes[202, ""], coupons),
        verdict.below("last row after last accept", behind, 2, "s", 2)]


RUNS = {"stampede": _stampede, "soak": _soak, "partitions": partitions.run}


# ---- what is said beside the verdict ----

def _figures(generator, server):
    return "\n".join(f"  {line}" for line in (
        *_of_generator(generator), *_of_server(server)))


def _of_generator(generator):
    cores = generator["cpu_s"] / generator["seconds"]
    own_delay = generator.get("own_delay_ms")
    yield (f"generator {generator['name']}: {cores:.2f} cores"
           + (f", late by {_spread(own_delay)}" if own_delay else ""))
    yield "answers: " + ", ".join(
        f"{name} {share:.2%}" for name, share in generator["shares"].items())


def _of_server(server):
    if "requests" in server:
        yield (f"api: {server['api_cpu_us_per_request']} us CPU per request; "
               f"time to issue {_spread(server['time_to_issue_ms'])}")
    if "pool" in server:
        pool = server["pool"]
        yield (f"pool: at most {pool['peak_active']} of {pool['max']} connections,"
               f" {pool['peak_waiting']} waiting")
    if "cores" in server:
        cores = ", ".join(f"{name} {n:.2f}" for name, n in server["cores"].items())
        yield (f"cores: {cores}; {server['cpu_stalled_share']:.0%} of the time "
               "something waited for one")


def _spread(values):
    return ", ".join(f"{name} {value:.2f} ms" for name, value in values.items()) or "-"
