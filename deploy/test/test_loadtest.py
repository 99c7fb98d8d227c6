# SPDX-License-Identifier: MIT
"""The pieces of make loadtest and make incident, in seconds."""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from stack import ROOT, VARIABLES

sys.path.append(str(ROOT / "loadtest/scenarios"))

# pylint: disable=wrong-import-position
import compare  # noqa: E402
import draw  # noqa: E402
import event as run_event  # noqa: E402
import generators  # noqa: E402
import partitions  # noqa: E402
import queueing  # noqa: E402
import remote  # noqa: E402
import scenarios  # noqa: E402
import steps  # noqa: E402
import target  # noqa: E402
import verdict  # noqa: E402
import watch as watching  # noqa: E402
from table import DEFAULT, SCENARIOS  # noqa: E402
from watch import Watch  # noqa: E402

K6 = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coupon"


@pytest.fixture(scope="module")
def openload():
    subprocess.run(["make", "-s", *VARIABLES, "build/release/bench/openload"],
                   cwd=ROOT, check=True, stdin=subprocess.DEVNULL)


class Server:
    """Answers the n-th request as told, after that long."""

    def __init__(self, answer):
        self.users, lock = [], threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    server.users.append(body["userId"])
                    n = len(server.users)
                status, text = answer(n)
                if not status:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        class Listener(ThreadingHTTPServer):
            request_queue_size = 128

        self._server = Listener(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def load(answer, tmp_path, profile, **options):
    server = Server(answer)
    try:
        log = tmp_path / "log.csv"
        return server, generators.finish_openload(generators.start_openload(
            target.Target(server.url), 1, profile, log, **options), log)
    finally:
        server.close()


@pytest.mark.usefixtures("openload")
def test_openload_keeps_to_the_profile(tmp_path):
    server, run = load(lambda n: (202, "{}"), tmp_path,
                       [(0, 0), (0.5, 200), (1, 200)], users=100, connections=8)
    assert len(run.records) == 150 and run.errors() == 0
    # Half of a ramp's requests come in the last three tenths of it.
    assert run.records[25].due == pytest.approx(0.5 * 0.5 ** 0.5, abs=0.01)
    assert run.records[100].due == pytest.approx(0.75, abs=0.01)
    assert sorted(server.users) == sorted([*range(1, 101), *range(1, 51)])
    assert all(r.due <= r.sent <= r.done for r in run.records)


@pytest.mark.usefixtures("openload")
def test_openload_names_every_kind_of_answer(tmp_path):
    answers = {1: (409, '{"code":"SOLD_OUT"}'), 2: (503, '{"code":"SERVICE_UNAVAILABLE"}'),
               3: (0, "")}
    _, run = load(lambda n: answers.get(n, (202, "{}")), tmp_path,
                  [(0, 100), (0.2, 100)], connections=1)
    assert run.outcomes() == {(202, ""): 17, (409, "SOLD_OUT"): 1, (0, "CLOSED"): 1,
                              (503, "SERVICE_UNAVAILABLE"): 1}
    assert run.errors() == 2
    assert "SERVICE" in run.first[503, "SERVICE_UNAVAILABLE"]


@pytest.mark.usefixtures("openload")
def test_openload_does_not_wait_for_answers(tmp_path):
    """A stall of the server delays no request, and is in their latency."""
    stalled = threading.Event()
    threading.Timer(0.5, stalled.set).start()
    _, run = load(lambda n: stalled.wait() and (202, "{}"), tmp_path,
                  [(0, 100), (0.3, 100)], connections=1)
    assert run.connections == len(run.records) == 30
    assert all(r.done > r.due and r.done >= 0.3 for r in run.records)


def test_the_incidents_load_follows_from_the_reports_figures():
    def misses(ordinary, held):
        errors, p95_s = queueing.outcome(queueing.profile(ordinary, held))
        return abs(errors - queueing.ERRORS), abs(p95_s - queueing.P95_S)
    errors, p95_s = misses(100, 1.37)
    assert errors < 0.002 and p95_s < 0.02
    assert misses(100, 2)[0] > 0.02
    assert misses(60, 0.87)[1] > 0.15 and misses(160, 2.13)[1] > 0.1


SUMMARY = {"metrics": {
    "http_req_duration": {"values": {"p(95)": 310.25},
                          "thresholds": {"p(95)<300": {"ok": False}}},
    "errors": {"values": {"rate": 0.001}, "thresholds": {"rate<0.005": {"ok": True}}},
    "outcome_limited": {"values": {"rate": 0.0},
                        "thresholds": {"rate==0": {"ok": True}}},
    "requests_per_s": {"values": {"count": 79.99},
                       "thresholds": {"count>80": {"ok": False}}},
    "outcome_sold_out": {"values": {"rate": 0.5}, "thresholds": {"rate==0": {"ok": False}}},
    "outcome_duplicate": {"values": {"rate": 0.0499},
                          "thresholds": {"rate<0.06": {"ok": True}}},
    "dropped_iterations": {"values": {"count": 3.0},
                           "thresholds": {"count<30": {"ok": True}}},
    "vus": {"values": {"max": 100}}}}


def test_every_threshold_has_its_line():
    rows = verdict.k6_rows(SUMMARY)
    assert [(r.name, r.limit, r.value, r.ok) for r in rows] == [
        ("latency p95", "< 300 ms", "310.2 ms", False),
        ("errors", "< 0.50%", "0.100%", True),
        ("refused by the limiter", "= 0.00%", "0.000%", True),
        ("sold out", "= 0.00%", "50.000%", False),
        ("users who had asked", "< 6.00%", "4.990%", True),
        ("requests/s at full load", "> 80", "80.0", False),
        ("k6 too late for a request", "< 30", "3.0", True)]
    text = verdict.table([*rows, verdict.verifier_row(None)])
    assert "310.2 ms" in text and text.count("FAIL") == 3 and text.count("pass") == 4


@pytest.mark.parametrize("page, end", [
    ("<h1>ours</h1>\n", ""), ("<body><h1>k6</h1></body></html>", "</body></html>")])
def test_a_report_ends_with_the_verdict(tmp_path, page, end):
    path = tmp_path / "report.html"
    path.write_text(page)
    verdict.add_to_report(path, "p95 < 50 ms")
    assert path.read_text() == (
        f"{page.removesuffix(end)}<pre>p95 &lt; 50 ms</pre>\n{end}")


@pytest.mark.parametrize("found, ok", [
    (None, None), ({"violations": 0, "text": ""}, True),
    ({"violations": 2, "text": ""}, False),
    ({"violations": None, "text": "no Redis"}, False)])
def test_what_the_verifier_says_decides(found, ok):
    assert verdict.verifier_row(found).ok is ok


def result(**changes):
    return {"scenario": "stampede", "commit": "abc", "passed": True,
            "generator": {"errors": 0, "shares": {"202": 0.5}, "cpu_s": 1, "seconds": 10,
                          "latency_ms": {"p95": 20.0}},
            "server": {"cpu_stalled_share": 0.5, "api_cpu_us_per_request": 10.0}, **changes}


HALVES = ["first half", "second half"]


@pytest.mark.parametrize("mb, failed", [
    (lambda i: 20 + i % 3, []),
    (lambda i: 20 if i < 36 else 30, []),  # as the topic grows
    (lambda i: 149 if i == 50 else 20, []),  # somebody looks at all of an event
    (lambda i: 151 if i == 50 else 20, ["most"]),
    (lambda i: 20 + i * 0.3, HALVES),
    (lambda i: 20 + i * 25 * 12 / 3600, HALVES),  # 12 MB in an hour, 2 in ten minutes
    (lambda i: 20 if i < 62 else 25, ["second half"]),  # a step is no growth per hour
    (lambda i: 20 + max(0, i - 40) * 0.3, ["second half"]),
])
def test_memory_of_a_soak_is_bounded_and_flat_in_each_half(mb, failed):
    over_time = [(i * 25, {"api": mb(i)}) for i in range(72)]
    rows = verdict.memory_rows(over_time, {"api": max(map(mb, range(72)))})
    assert [row.name.split(", ")[1] for row in rows] == ["most", *HALVES]
    assert [row.name.split(", ")[1] for row in rows if not row.ok] == failed


def test_a_short_soak_has_no_growth_per_hour():
    over_time = [(i * 5, {"api": 20 + i * 0.1}) for i in range(24)]
    rows = verdict.memory_rows(over_time, {"api": 22.3})
    assert all(row.ok for row in rows) and "MB/h" not in verdict.table(rows)
    assert verdict.memory_rows(over_time[:1], {"api": 20})[1].ok is None


def test_memory_that_nobody_tells_is_said_to_be_unknown():
    assert [row.ok for row in verdict.memory_rows([(0, {})], {})] == [None]


def test_the_reference_soak_is_what_the_documents_say():
    server = json.loads((ROOT / "loadtest/results/reference-soak.json").read_text())["server"]
    over_time = server["rss_mb_over_time"]
    peaks = {name: max(by[name] for _, by in over_time) for name in ("api", "consumer")}
    values = {row.name: row.value for row in verdict.memory_rows(over_time, peaks)}
    said = (ROOT / "docs/loadtest.md").read_text()
    assert values["RSS of api, most"] == "59.1 MB" and "59.1" in said
    for half in HALVES:
        rate = values[f"RSS of api, {half}"].rpartition(", ")[2].removesuffix(" MB/h")
        assert rate in said


def test_two_results_side_by_side():
    other = result(commit="def", passed=False)
    other["generator"] = dict(other["generator"], latency_ms={"p95": 30.0}, errors=5)
    lines = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:5]]
             for line in compare.table(result(), other).splitlines()}
    assert lines["latency, p95, ms"] == ["20.00", "30.00", "+50.0%"]
    assert lines["errors"] == ["0.00", "5.00", "-"]
    assert lines["verdict"] == ["passed", "FAILED", ""]
    assert lines["api, us CPU per request"][2] == "+0.0%"


@pytest.mark.parametrize("path", sorted((ROOT / "loadtest/results").glob("reference-*.json")),
                         ids=lambda path: path.name)
def test_reference_results_can_be_compared(path):
    known = json.loads(path.read_text())
    assert known["scenario"] in SCENARIOS
    assert compare.figures(known)


def test_results_that_were_not_verified_say_so_beside_others():
    lines = compare.table(result(outcome="passed, not verified", commit=None), result())
    assert "passed, not verified" in lines and "A: -" in lines


def test_quantiles_of_what_was_counted_in_between():
    before = remote.parse_series(
        't_bucket{le="0.1"} 10\nt_bucket{le="0.2"} 10\nt_bucket{le="+Inf"} 10\n')
    after = remote.parse_series(
        't_bucket{le="0.1"} 10\nt_bucket{le="0.2"} 110\nt_bucket{le="+Inf"} 110\n')
    assert remote.quantiles(before, after, "t", 50)["p50"] == pytest.approx(150)
    assert not remote.quantiles(after, after, "t", 50)


# As the issue has them: p95 in ms, share of errors; and how many VUs ask in a second.
ISSUE = {"baseline": (300, 0.005), "spike": (500, 0.01), "extreme": (1000, 0.05)}
RATES = {"baseline": 100, "spike": 500, "extreme": 1000, "soak": 300}
LIMITED = {"baseline": 0, "spike": 0.05, "extreme": 0, "soak": 0.01}


@pytest.mark.parametrize("name", RATES)
def test_thresholds_of_k6_are_the_issues(name):
    """In the script's text, for where there is no k6."""
    script = (ROOT / "loadtest/k6/issue.js").read_text()
    entry = re.search(rf"^  {name}: {{\n(.*?)^  }},$", script, re.M | re.S)[1]
    found = {key: float(value) for key, value in
             re.findall(r"^    (p95|errors|limited|rate): ([\d.]+),$", entry, re.M)}
    expected = {"rate": RATES[name]}
    if name in ISSUE:
        expected |= dict(zip(("p95", "errors"), ISSUE[name]))
    if LIMITED[name]:
        expected["limited"] = LIMITED[name]
    assert found == expected


def test_the_limiter_is_on_where_the_issue_says():
    assert {s.name for s in SCENARIOS.values() if s.limiter} == {"baseline", "spike", "soak"}
    assert target.ON["ratelimiter.coupon-issue.limit-for-period"] == 500


@pytest.mark.skipif(not any(K6.glob("k6-*")) and not shutil.which("k6"),
                    reason="k6 is not built: make loadtest does")
@pytest.mark.parametrize("name", [s.name for s in SCENARIOS.values() if s.k6])
def test_k6_takes_the_script(name):
    k6 = next(K6.glob("k6-v*"), "k6")
    shown = json.loads(subprocess.run(
        [k6, "inspect", "-e", f"SCENARIO={name}", ROOT / "loadtest/k6/issue.js"],
        check=True, capture_output=True).stdout)
    assert list(shown["scenarios"]) == [name]
    expected = {
        "outcome_limited": f"rate<{LIMITED[name]}" if LIMITED[name] else "rate==0",
        "outcome_sold_out": "rate==0", "outcome_duplicate": "rate<0.06",
        "requests_per_s": f"count>{RATES[name] * 0.8:g}"}
    if name == "soak":
        expected |= {"errors": "rate==0", "dropped_iterations": "count<30"}
    else:
        p95_ms, errors = ISSUE[name]
        expected |= {"errors": f"rate<{errors:g}", "http_req_duration": f"p(95)<{p95_ms}",
                     "accepted_duration": f"p(95)<{p95_ms}"}
    assert {metric: [expression] for metric, expression in expected.items()
            } == shown["thresholds"]


@pytest.mark.usefixtures("openload")
def test_runs_against_a_real_api(service, stack, tmp_path):
    """Two with one event, as with EVENT: the second finds no coupon for some."""
    api = service.api()
    service.consumer()
    url = f"http://127.0.0.1:{api.port}"
    deployment = target.Target(url, stack.admin_token(), url)
    coupon = deployment.new_event("test", 100)
    for expected in ({(202, ""): 60}, {(202, ""): 40, (409, "SOLD_OUT"): 20}):
        event = run_event.Event(deployment, coupon)
        log = tmp_path / "log.csv"
        with Watch(deployment) as watch:
            run = generators.finish_openload(generators.start_openload(
                deployment, event.id, [(0, 60), (1, 60)], log, connections=10,
                first_user=event.first_user), log)
        assert run.outcomes() == expected
        event.settle()
        assert not failed(event.rows(expected[202, ""], 0))
    figures = watch.figures()
    assert figures["requests"] == 60
    assert figures["issue"]["ACCEPTED"] == 40
    assert figures["pool"]["max"] == 50
    assert watch.rss[0][1]["api"] > 1 and not watch.rows()
    assert deployment.settings()["redis.pool.max-active"] == "50"
    assert deployment.verify() is None


# ---- what a run that goes wrong says ----

def arrivals(*answers):
    """(latency in ms, status, code) of requests due one after the other."""
    return generators.Arrivals(
        [generators.Record(i, i, i + ms / 1e3, status, code)
         for i, (ms, status, code) in enumerate(answers)], 1.0, 1, 1000.0, {})


ACCEPTED, SOLD_OUT = (202, ""), (409, "SOLD_OUT")


def failed(rows):
    return [row.name for row in rows if row.ok is False]


@pytest.mark.parametrize("answers, behind, wrong", [
    ([(49, *ACCEPTED)] * 2 + [(1, *SOLD_OUT)] * 20, 1.9, []),
    ([(51, *ACCEPTED)] * 2 + [(1, *SOLD_OUT)] * 50, 1.9, ["latency, accepted p95"]),
    ([(1, *ACCEPTED)] * 2 + [(51, *SOLD_OUT)] * 9, 1.9, ["latency p95"]),
    ([(1, *SOLD_OUT)] * 9, 0, ["accepted"]),
    ([(1, *ACCEPTED)] * 2 + [(1, 429, "RATE_LIMITED")], 0, ["refused by the limiter"]),
    ([(1, *ACCEPTED)] * 2 + [(1, 503, "UNAVAILABLE")], 0, ["errors"]),
    ([(1, *ACCEPTED)] * 2, 2.0, ["last row after last accept"])])
def test_thresholds_of_the_stampede_are_the_issues(answers, behind, wrong):
    rows = scenarios._stampede_rows(arrivals(*answers), behind, 2)
    assert failed(rows) == wrong
    assert scenarios.RAMP == [(0, 0), (1, 5000), (21, 5000)]
    assert (scenarios.USERS, SCENARIOS["stampede"].stock) == (50_000, 10_000)


@pytest.mark.parametrize("one, three, ok", [
    (100, 280, True), (100, 279.9, False), (None, 280, False), (100, None, False)])
def test_thresholds_of_partitions_are_the_issues(one, three, ok):
    assert partitions.raised_row(one, three).ok is ok


class Deployment(target.Target):
    """One that is known by what it answers."""

    def __init__(self, *bodies):
        super().__init__("http://127.0.0.1:1")
        self.bodies = list(bodies)

    def new_event(self, name, stock):
        return 7

    def event(self, event):
        """The bodies in turn, the last one for ever."""
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if isinstance(body, Exception):
            raise body
        return body

    def commit(self):
        return "abc"


def body(issued=0, pending=0, remaining=100):
    return {"issued": issued, "pending": pending, "remaining": remaining}


@pytest.mark.parametrize("failure", [
    remote.Refused("503"), OSError("no answer"), json.JSONDecodeError("a page", "", 0)])
def test_an_event_is_at_rest_later_than_a_failure(failure):
    deployment = Deployment(failure, body(pending=1), failure, body(issued=3))
    assert deployment.settle(7)["issued"] == 3


def test_who_waits_in_vain_is_told_the_last_failure():
    with pytest.raises(TimeoutError, match="at rest.*no answer"):
        Deployment(OSError("no answer")).settle(7, timeout=0)


@pytest.mark.parametrize("issued, errors, ok", [
    (503, 0, True), (503, 1, True), (504, 1, True), (502, 0, False), (504, 0, False)])
def test_what_an_event_had_before_does_not_count(issued, errors, ok):
    event = run_event.Event(Deployment(body(issued=500), body(issued=issued)), 7)
    event.settle()
    assert [row.ok for row in event.rows(3, errors)] == [True, ok]


def test_runs_on_one_event_have_users_of_their_own():
    firsts = {run_event.Event(Deployment(body()), 7).first_user for _ in range(5)}
    assert len(firsts) == 5


def shape(scenario, deployment, event, stem):
    """Of a run in which three were accepted."""
    stem.with_suffix(".html").write_text("<body></body>")
    event.settle()
    return ({"name": "k6", "cpu_s": 1, "seconds": 10, "accepted": 3, "errors": 0,
             "shares": {"accepted": 1.0}}, {}, [verdict.equals("errors", 0, 0)])


@pytest.fixture
def run_baseline(monkeypatch, tmp_path):
    """Runs `baseline` against a Deployment; (whether it held, the result)."""
    monkeypatch.setattr(verdict, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run_event, "REST_S", 0)
    monkeypatch.setitem(scenarios.RUNS, "baseline", shape)

    def run(deployment):
        held = scenarios.run(SCENARIOS["baseline"], deployment)
        return held, json.loads(next(verdict.RESULTS.glob("*.json")).read_text())
    return run


@pytest.mark.parametrize("code, ends", [(0, True), (99, True), (1, False)])
def test_k6_is_told_whose_coupons_to_ask_for(monkeypatch, tmp_path, code, ends):
    told = {}

    def run(_, env=None, **__):
        told.update(env or {})
        if env:
            Path(env["SUMMARY"]).write_text(json.dumps({
                "state": {"testRunDurationMs": 1000}, "metrics": {
                    "errors": {"values": {"passes": 0}},
                    "outcome_accepted": {"values": {"passes": 3, "rate": 1}}}}))
        return SimpleNamespace(returncode=code, stdout="k6\n")
    monkeypatch.setattr(generators.subprocess, "run", run)
    event = SimpleNamespace(id=7, first_user=4711)
    with contextlib.nullcontext() if ends else pytest.raises(RuntimeError):
        assert generators.k6("spike", Deployment(body()), event, tmp_path / "a")[
            "accepted"] == 3
    assert (told["EVENT"], told["FIRST_USER"]) == ("7", "4711")


@pytest.mark.parametrize("violations, outcome", [
    (None, "passed, not verified"), (0, "passed"), (1, "FAILED")])
def test_a_run_that_nobody_verified_says_so(
        monkeypatch, run_baseline, capsys, violations, outcome):
    found = None if violations is None else {"violations": violations, "text": ""}
    monkeypatch.setattr(Deployment, "verify", lambda _: found)
    held, written = run_baseline(Deployment(body(), body(issued=3)))
    assert held is written["passed"] is (violations != 1)
    assert written["outcome"] == outcome
    assert capsys.readouterr().out.splitlines()[-2] == f"baseline: {outcome}"


@pytest.mark.parametrize("then", [
    body(issued=2, pending=1), remote.Refused("503"), OSError("no answer")])
def test_an_event_that_does_not_come_to_rest_is_a_verdict(
        monkeypatch, run_baseline, capsys, then):
    verified = []
    monkeypatch.setattr(Deployment, "verify", lambda _: verified.append(1))
    held, written = run_baseline(Deployment(body(), then))
    assert not held and verified
    assert [row["name"] for row in written["verdict"] if row["ok"] is False] == [
        "event at rest"]
    assert "FAIL" in capsys.readouterr().out


def test_a_result_names_what_was_measured_not_where_from(run_baseline):
    _, written = run_baseline(Deployment(body(), body(issued=3)))
    assert (written["commit"], written["machine"]) == ("abc", None)
    assert written["generator"]["commit"] and written["generator"]["machine"]["cores"]


@pytest.mark.parametrize("answer, commit", [
    ({"git": {"commit": {"id": "abc"}}}, "abc"), ({"build": {}}, None),
    (remote.Refused("404"), None), (OSError("no answer"), None)])
def test_a_deployment_says_what_it_was_built_of(monkeypatch, answer, commit):
    def fetch(url, **_):
        assert url == "http://there:81/actuator/info"
        if isinstance(answer, Exception):
            raise answer
        return answer
    monkeypatch.setattr(target, "fetch_json", fetch)
    assert target.Target("http://there", None, "http://there:81").commit() == commit


# ---- the command ----

def command():
    """loadtest/scenarios/__main__.py, not as __main__."""
    spec = importlib.util.spec_from_file_location(
        "loadtest_command", ROOT / "loadtest/scenarios/__main__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fails, status", [
    (None, 0), (False, 1), (RuntimeError("k6 ended with 1"), 1),
    (remote.Refused("503"), 1), (TimeoutError("not within 30 s"), 1)])
def test_the_exit_status_tells_and_later_scenarios_still_run(
        monkeypatch, fails, status):
    module, ran = command(), []

    def run_one(scenario, url):
        ran.append(scenario.name)
        if scenario.name != "spike" or fails is None:
            return True
        if isinstance(fails, Exception):
            raise fails
        return fails
    monkeypatch.setattr(module, "run_one", run_one)
    monkeypatch.setattr(module.subprocess, "run",
                        lambda *_, **__: SimpleNamespace(returncode=0))
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["loadtest"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert int(ended.value.code) == status
    assert ran == DEFAULT


@pytest.mark.parametrize("names, url, said", [
    (["stampede"], "https://there", "plain HTTP"),
    (["stampede"], "http://there/coupons", "plain HTTP"),
    (["partitions"], "http://there", "PostgreSQL"),
    (["spike"], "there:8080", "URL=http://HOST"),
    (["stampede"], "http://there:8080/", None),
    (["spike", "soak"], "https://there/coupons", None)])
def test_what_cannot_be_done_to_a_url_is_refused(names, url, said):
    if not said:
        command().check(names, url)
        return
    with pytest.raises(SystemExit, match=said):
        command().check(names, url)


@pytest.mark.parametrize("url, servers", [([], True), (["URL=http://there"], False)])
def test_another_deployment_needs_no_servers_here(url, servers):
    planned = subprocess.run(
        ["make", "-n", "loadtest-programs", "MAKE=true", *url], cwd=ROOT, check=True,
        capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    purposes = re.search(r"setup (.*)", planned)[1].split()
    assert {"build", "loadtest"} <= set(purposes)
    assert ("run" in purposes) is ("test" in purposes) is servers


# ---- the limiter and the steps of a soak ----

@pytest.fixture
def local(monkeypatch, tmp_path):
    """A Stack of files only; what a refresh would read is in `seen`."""
    made = object.__new__(target.Stack)
    target.Target.__init__(made, "http://127.0.0.1:1")
    made.dir, made._before = tmp_path, tmp_path / "before"
    made.seen = []
    (tmp_path / "api.yaml").write_text(LIMITED_TO_7)
    monkeypatch.setattr(made, "refresh", lambda _: made.seen.append(
        (tmp_path / "api.yaml").read_text()))
    return made


LIMITED_TO_7 = """# as the user has it
ratelimiter:
  coupon-issue:
    enabled: true
    limit-for-period: 7
"""


@pytest.mark.parametrize("failure", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_the_limiter_is_put_back(local, failure):
    with contextlib.nullcontext() if failure is None else pytest.raises(failure):
        with local.configured(target.OFF):
            if failure:
                raise failure
    assert "enabled: false" in local.seen[0]
    assert local.seen[1:] == [LIMITED_TO_7]


def test_the_limiter_is_put_back_after_a_run_that_was_killed(local):
    local._before.write_text(LIMITED_TO_7)
    local.write(target.OFF)
    with local.configured(target.ON):
        pass
    assert local.seen[-1] == LIMITED_TO_7


def test_a_step_that_failed_or_did_not_come_is_in_the_verdict():
    came = threading.Event()

    def fail():
        came.set()
        raise remote.Refused("409")
    with steps.Steps([(0, "first", lambda: None), (0, "second", fail),
                      (3600, "third", lambda: None)]) as done:
        assert came.wait(10)
    assert [(row.name, row.ok) for row in done.rows()] == [
        ("first", True), ("second", False), ("third", False)]
    assert done.rows()[1].value == "409"


def test_the_steps_of_a_soak_elsewhere_are_said_to_be_left_out(local):
    with steps.of_soak(Deployment(body()), 0) as done:
        assert {row.ok for row in done.rows()} == {None}
    names = [row.name for row in done.rows()]
    assert names == [row.name for row in steps.of_soak(local, 0).rows()]


@pytest.mark.parametrize("name", ["baseline", "soak"])
def test_what_could_not_be_seen_of_a_deployment_is_in_the_verdict(monkeypatch, name):
    monkeypatch.setattr(scenarios.generators, "k6", lambda scenario, *_: {
        "name": "k6", "cpu_s": 1, "seconds": 1, "accepted": 0, "errors": 0, "shares": {},
        "summary": SUMMARY})
    deployment = Deployment(body())
    deployment.metrics_url = deployment.url
    run = scenarios.RUNS["soak"] if name == "soak" else scenarios._with_k6
    rows = run(SCENARIOS[name], deployment, run_event.Event(deployment, 7), None)[2]
    unknown = [row.name for row in rows if row.ok is None]
    assert unknown == (["pool 50 -> 10", "pool 10 -> 50", "two more partitions", "RSS"]
                       if name == "soak" else []) + ["figures of the api"]
    assert "errors" in [row.name for row in rows]


# ---- the server's figures ----

def deployment_with(monkeypatch, *answers):
    """A target whose api tells these series, one after the other."""
    told = list(answers)
    monkeypatch.setattr(watching, "series", lambda _: dict(told.pop(0)))
    return SimpleNamespace(metrics_url="http://there", consumer_url=None, token=None,
                           pids=dict)


def watched(deployment):
    """The figures without the thread's samples."""
    watch = Watch(deployment)
    watch._run = lambda: None
    watch._thread = threading.Thread(target=watch._run)
    with watch:
        pass
    return watch, watch.figures()


REQUESTS = 'http_server_requests_seconds_count{uri="/api/user-coupons/issue-async"}'
CPU = "process_cpu_seconds_total"


def test_counters_that_fell_count_from_zero(monkeypatch):
    watch, figures = watched(deployment_with(
        monkeypatch, {REQUESTS: 1000, CPU: 50}, {REQUESTS: 400, CPU: 0.04}))
    assert figures["requests"] == 400
    assert figures["api_cpu_us_per_request"] == 100
    assert [(row.name, row.ok) for row in watch.rows()] == [("figures of the api", None)]
    assert "restarted" in watch.rows()[0].value


@pytest.mark.parametrize("start, requests", [(9, 400), (1, 390)])
def test_whether_a_process_is_another_one_its_start_says(monkeypatch, start, requests):
    """Another's counters may have outgrown the first one's, or a series be gone."""
    name = "process_start_time_seconds"
    watch, figures = watched(deployment_with(
        monkeypatch, {REQUESTS: 10, CPU: 1, "lost_total": 5, name: 1},
        {REQUESTS: 400, CPU: 2, name: start}))
    assert figures["requests"] == requests
    assert bool(watch.rows()) is (start != 1)


@pytest.mark.parametrize("answers", [({}, {}), ({REQUESTS: 1}, {}), ({}, {REQUESTS: 1})])
def test_figures_that_are_not_there_are_said_to_be(monkeypatch, answers):
    watch, figures = watched(deployment_with(monkeypatch, *answers))
    assert "requests" not in figures
    assert [row.ok for row in watch.rows()] == [None]
    assert "http://there" in watch.rows()[0].value


def test_nothing_is_said_of_figures_that_are_whole(monkeypatch):
    watch, figures = watched(deployment_with(
        monkeypatch, {REQUESTS: 1, CPU: 1}, {REQUESTS: 5, CPU: 2}))
    assert figures["requests"] == 4 and not watch.rows()


def test_memory_elsewhere_is_what_the_daemons_say(monkeypatch):
    watch = Watch(deployment_with(
        monkeypatch, *({"process_resident_memory_bytes": mb * 2**20} for mb in (20, 60, 30))))
    for second in (0, 1, 5, 10):
        watch._sample_rss(second)
    assert watch.rss == [(0, {"api": 20}), (5, {"api": 60}), (10, {"api": 30})]
    assert watch.peak_rss == {"api": 60}


def test_peaks_here_are_those_between_the_samples_too(monkeypatch):
    watch = Watch(SimpleNamespace(metrics_url=None, consumer_url=None, token=None,
                                  pids=lambda: {"api": 1, "consumer": 2}))
    told = iter([20, 15, 90, 15, 21, 15])
    monkeypatch.setattr(watching, "rss_mb", lambda _: next(told))
    for second in (0, 1, 5):
        watch._sample_rss(second)
    assert [by["api"] for _, by in watch.rss] == [20, 21]
    assert watch.peak_rss == {"api": 90, "consumer": 15}


def test_shares_of_a_core_are_of_the_time_to_rest(monkeypatch):
    """The CPU after the load is in them, so that time is, too."""
    watch = Watch(SimpleNamespace(metrics_url=None, consumer_url=None, token=None,
                                  pids=lambda: {"api": os.getpid()}))
    watch.begin, watch.seconds = 100, 10
    watch._before, watch._cpu, watch._stalled = {}, {"api": 0}, 0
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: 140))
    monkeypatch.setattr(watching, "cpu_s", lambda _: 20)
    monkeypatch.setattr(watching, "cpu_stalled_s", lambda: 30)
    figures = watch.figures()
    assert figures["cores"] == {"api": 0.5}
    assert (figures["seconds"], figures["seconds_to_rest"]) == (10, 40)
    assert figures["cpu_stalled_share"] == 0.75


# ---- the report ----

def loaded_from_elsewhere(page):
    """What a browser would fetch; namespaces and links to follow are not."""
    return re.findall(r"""(?:\bsrc|<link[^>]*href|xlink:href|<image[^>]*href)\s*=\s*"""
                      r"""["']?(?:https?:)?//[^"'\s>]*|url\(["']?(?:https?:)?//[^)]*"""
                      r"""|@import[^;]*""", page)


def test_a_report_loads_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "report.html"
    samples = [(0, 1, 0, 50), (1, 2, 0, 50)]
    draw.page(path, "a stampede", draw.timeline({"stampede": (
        arrivals((1, *ACCEPTED), (2, *SOLD_OUT)).records, samples)}))
    verdict.add_to_report(path, "passed")
    page = path.read_text()
    assert "<svg" in page and not loaded_from_elsewhere(page)
    assert loaded_from_elsewhere('<script src="https://cdn/x.js"></script>')
    assert loaded_from_elsewhere("<link rel=stylesheet href=//cdn/x.css>")
    assert loaded_from_elsewhere("a { background: url(https://cdn/x.png) }")


@pytest.mark.skipif(not any(K6.glob("k6-*")) and not shutil.which("k6"),
                    reason="k6 is not built: make loadtest does")
def test_a_report_of_k6_loads_nothing_from_elsewhere(tmp_path):
    script, report = tmp_path / "script.js", tmp_path / "report.html"
    script.write_text("import { sleep } from 'k6';\n"
                      "export const options = { vus: 1, duration: '3s' };\n"
                      "export default function () { sleep(0.1); }\n")
    subprocess.run(
        [next(K6.glob("k6-v*"), "k6"), "run", "--quiet", script], check=True,
        capture_output=True, stdin=subprocess.DEVNULL, env=dict(
            os.environ, K6_NO_USAGE_REPORT="true", K6_WEB_DASHBOARD="true",
            K6_WEB_DASHBOARD_PORT="-1", K6_WEB_DASHBOARD_PERIOD="1s",
            K6_WEB_DASHBOARD_EXPORT=str(report)))
    assert not loaded_from_elsewhere(report.read_text())
