# SPDX-License-Identifier: MIT
"""What make incident says of its runs, and when it fails; on made-up runs."""

import contextlib
import re
import sys
import time
import types

import pytest

from stack import ROOT

sys.path.append(str(ROOT / "loadtest/scenarios"))

# pylint: disable=wrong-import-position
import columns  # noqa: E402
from generators import Arrivals, Record  # noqa: E402

PAGE = ROOT / "docs/incident.md"
SAID = "Unable to acquire connection from pool: redis, timed out after 3000ms"
TOLD = '{"code":"SERVICE_UNAVAILABLE","reason":"EXHAUSTED"}'
CODES = {429: "RATE_LIMITED", 503: "SERVICE_UNAVAILABLE"}
RELOAD = 21.0


def run(*groups, since=16, told=TOLD):
    """Of (how many, latency in ms, status): one a ms, from where the pictures begin."""
    kinds = [kind for n, *kind in groups for _ in range(n)]
    records = []
    for i, (ms, status) in enumerate(kinds):
        due = since + i / 1e3
        records.append(Record(due, due, due + ms / 1e3, status, CODES.get(status, "")))
    return Arrivals(records, 1.0, 100, 1e9, {(503, "SERVICE_UNAVAILABLE"): told})


def column(title, arrivals, *audit):
    return columns.Column(title, arrivals, [(1.0, 10, 1829, 10)], *audit)


def before(*audit, errors=86, p95_ms=2500, told=TOLD):
    return column("before", run((1000 - errors - 100, 52, 202), (100, p95_ms, 202),
                                (errors, 3000, 503), told=told), *audit)


def after(*audit, errors=0):
    return column("after", run((1000 - errors, 90, 202), (errors, 3000, 503)), *audit)


def ours(*audit, errors=0, limited=63):
    return column("ours", run((1000 - errors - limited, 52, 202), (limited, 0.2, 429),
                              (errors, 500, 503)), *audit)


def waiters(ends):
    """2,900 that came in the three seconds before the reload."""
    due = (RELOAD - 2.9 + i / 1e3 for i in range(2900))
    return [Record(at, at, *ends(at)) for at in due]


def served_at_once(_):
    return RELOAD + 0.06, 202, ""


def lost(due):
    return due + 3.0, 503, "SERVICE_UNAVAILABLE"


def live(ends=served_at_once, later_ms=52, later=202, reloaded=RELOAD + 0.01,
         audit=(), **options):
    arrivals = run((10000, 52, 202), since=1)
    arrivals.records += [
        *waiters(ends),
        *(Record(RELOAD + i / 1e3, 0, RELOAD + (i + later_ms) / 1e3, later, "")
          for i in range(1, 40000))]
    return columns.Scene(column("live", arrivals, *audit), 10, RELOAD - 0.02, RELOAD,
                         reloaded, **options)


def no_page():
    return columns.Scene(column("live", run((10000, 3000, 503))), 10,
                         trouble="not repaired: not within 55 s: the page")


def unmet(b=before, a=after, o=ours, scene=live, said=SAID):
    return columns.unmet(b(), said, a(), o(), scene())


# ---- the repair ----

def test_who_waited_for_the_reload_counts():
    assert columns.recovered(waiters(lost), RELOAD) == pytest.approx(RELOAD + 3, abs=0.01)
    assert columns.recovered(waiters(served_at_once), RELOAD) == RELOAD + 0.06
    scene = live(lost)
    assert scene.waiting == scene.lost == 2900
    assert dict(row[::2] for row in scene.rows())["of them failed"] == "2,900"


def test_what_ended_before_the_reload_does_not():
    gone = [Record(5.0, 5.0, 8.0, 503, ""), Record(RELOAD + 1, 0, RELOAD + 1.05, 202, "")]
    assert columns.recovered(gone, RELOAD) == RELOAD
    slow = Record(RELOAD + 1, 0, RELOAD + 1.4, 202, "")
    assert columns.recovered([*gone, slow], RELOAD) == slow.done


# ---- the verdict ----

def test_the_incident_of_the_report_cured_is_no_failure():
    assert not unmet()


@pytest.mark.parametrize("runs, said", [
    ({"b": lambda: before(errors=0)}, "before: error rate 0 %, not 5.0 % to 15.0 %"),
    ({"b": lambda: before(errors=200)}, "before: error rate 20.0 %"),
    ({"b": lambda: before(p95_ms=400)}, "before: p95 400 ms, not 2,000 ms to 3,500 ms"),
    ({"b": lambda: before(p95_ms=4000)}, "before: p95 4,000 ms"),
    ({"b": lambda: before(told="")}, "before: clients were told no answer"),
    ({"said": ""}, "before: the pool did not run dry"),
    ({"a": lambda: after(errors=10)}, "after: error rate 1.0 %, not 0 % to 0.5 %"),
    ({"o": lambda: ours(errors=10)}, "ours: error rate 1.0 %, not 0 % to 0.5 %"),
    ({"o": lambda: ours(limited=500)}, "ours: success rate 50.0 %"),
    ({"scene": no_page}, "live: not repaired: not within 55 s: the page"),
    ({"scene": lambda: live(reloaded=None, trouble="not repaired: 500")},
     "live: not repaired: 500"),
    ({"scene": lambda: live(lost)}, "live: 6.8 % of requests failed after the reload"),
    ({"scene": lambda: live(later_ms=900)}, "live: p95 900 ms of"),
])
def test_what_is_not_met_is_said(runs, said):
    lines = unmet(**runs)
    assert any(line.startswith(said) for line in lines), lines


@pytest.mark.parametrize("which, make", [
    ("b", before), ("a", after), ("o", ours),
    ("scene", lambda *audit: live(audit=audit))])
@pytest.mark.parametrize("verified, issued, cell, said", [
    ({"violations": None, "text": "no Redis"}, 100, "not checked",
     ["coupon-verify could not check: no Redis"]),
    ({"violations": 2, "text": ""}, 100, "2", ["coupon-verify: 2 violations"]),
    ({"violations": 0, "text": ""}, 99, "1", ["99 coupons issued, 100 to 110 promised"]),
    ({"violations": 0, "text": ""}, 111, "1", ["111 coupons issued, 100 to 110 promised"]),
    ({"violations": None, "text": "no Redis"}, 99, "not checked",
     ["coupon-verify could not check: no Redis", "99 coupons issued, 100 to 110 promised"]),
])
def test_what_does_not_add_up_fails_any_column(which, make, verified, issued, cell, said):
    audit = columns.audited(verified, issued, run((100, 52, 202), (10, 3000, 503)))
    bad = make(*audit)
    shown = getattr(bad, "column", bad)
    assert shown.cells()["violations"][1] == cell
    assert unmet(**{which: lambda: bad}) == [f"{shown.title}: {line}" for line in said]


def test_what_adds_up_is_no_violation():
    for issued in (100, 110):  # who got no answer may have a coupon
        assert columns.audited({"violations": 0, "text": ""}, issued,
                               run((100, 52, 202), (10, 3000, 503))) == (0, [])


# ---- the tables ----

def rows(markdown):
    """{title: (heads, {row: cells})} of the tables below a ### heading."""
    found = {}
    for title, text in re.findall(r"^### (.+)\n\n((?:\|.*\n)+)", markdown, re.M):
        lines = [[cell.strip() for cell in line.strip("|").split("|")]
                 for line in text.splitlines()]
        found[title] = (lines[0][1:], {line[0]: line[1:] for line in lines[2:]})
    return found


def everything(scene):
    b = before()
    return "\n".join((columns.incident(b, SAID), columns.comparison(
        b, after(), ours(), live=scene.column), columns.repair(scene)))


def test_every_run_has_its_column():
    printed = rows(everything(live()))
    heads, cells = printed["5.1 Before and after"]
    assert heads == ["before", "after", "ours", "live"]
    assert cells["p95"][:3] == ["2,500 ms", "90 ms (-96 %)", "52 ms (-98 %)"]
    assert cells["error rate"] == ["8.6 %", "0 %", "0 %", "0 %"]
    assert cells["refused at once (429)"] == ["0 %", "0 %", "6.3 %", "0 %"]
    assert cells["violations"] == ["0", "0", "0", "0"]
    assert printed["3.2 The incident"][1]["p95"] == ["2,500 ms", "2,500 ms"]
    assert [ours_ for _, ours_ in printed["Put right while it lasts"][1].values()] == [
        "11.0 s", "0.03 s", "0.06 s", "2,900", "0"]


def test_without_a_page_the_tables_are_whole():
    printed = rows(everything(no_page()))
    assert len(printed["5.1 Before and after"][0]) == 4
    assert [ours_ for _, ours_ in printed["Put right while it lasts"][1].values()] == [
        "none came", "-", "-", "-", "-"]


def test_a_run_without_an_answer_has_a_column():
    nothing = columns.Column("ours", run((10, 3000, 503)), [])
    assert nothing.cells()["max accepted/s"] == (0, "0")
    assert len(unmet(o=lambda: nothing)) == 2


def test_the_page_has_the_tables_that_are_printed():
    """The same tables, columns and rows, and what it has of the report; the
    measured cells are those of another run."""
    printed, written = rows(everything(live())), rows(PAGE.read_text())
    assert list(written) == list(printed)
    for title, (heads, cells) in printed.items():
        assert len(written[title][0]) == len(heads), title
        assert list(written[title][1]) == list(cells), title
        if heads[0] == "report":
            assert written[title][0] == heads
            assert ([row[0] for row in written[title][1].values()] ==
                    [row[0] for row in cells.values()]), title


# ---- the command ----

@pytest.fixture(name="module")
def _module():
    pytest.importorskip("matplotlib")
    import incident  # pylint: disable=import-outside-toplevel
    return incident


@pytest.fixture(name="incident")
def _incident(module, monkeypatch, tmp_path):
    class Target(types.SimpleNamespace):
        def start(self, *names, **_):
            print("start", *names)

    class Proxy:
        listen = {"redis": 1}

        def __init__(self, *_):
            pass

        def add(self, *_, **__):
            pass

        def close(self):
            pass

    @contextlib.contextmanager
    def private_stack():
        yield Target(spare_port=1, redis_port=1, alertmanager_port=1, dir=tmp_path)
    (tmp_path / "api.log").write_text(f'thread=http-1 error="{SAID}"\n')
    runs = iter((before(), after(), ours()))
    for name, value in {
            "Proxy": Proxy, "private_stack": private_stack, "DIRECTORY": tmp_path,
            "measure": lambda *_: (next(runs), 0.0)}.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    return module


@pytest.mark.parametrize("scene, code", [(live, 0), (no_page, 1)])
def test_the_exit_status_says_whether_all_was_met(
        incident, monkeypatch, capsys, tmp_path, scene, code):
    monkeypatch.setattr(incident, "live", lambda *_: scene())
    with pytest.raises(SystemExit) as ended:
        incident.main()
    printed = capsys.readouterr().out
    assert (ended.value.code or 0) == code, printed
    assert ("NOT MET: live: not repaired" in printed) == bool(code)
    assert printed.index("### 5.1") < printed.index("start prometheus")
    assert {path.name for path in tmp_path.glob("incident*.*")} == {
        "incident.png", "incident-live.png", "incident.json"}


def test_the_columns_are_shown_whatever_becomes_of_the_live_scene(
        incident, monkeypatch, capsys):
    def fails(*_):
        raise RuntimeError
    monkeypatch.setattr(incident, "live", fails)
    with pytest.raises(RuntimeError):
        incident.main()
    assert rows(capsys.readouterr().out)["5.1 Before and after"][0] == [
        "before", "after", "ours"]


def test_an_operator_whom_nothing_reaches_says_so(module):
    operator = module.Operator(None, 1, patience_s=0.1)
    operator()
    assert operator.times(0) == [None, None, None]
    assert operator.trouble == (
        "not repaired: not within 0.1 s: the page (RedisPoolExhausted)")


def test_an_operator_whose_reload_is_refused_says_so(module, monkeypatch):
    def refuse(_):
        raise module.Refused("500")
    monkeypatch.setattr(module, "fetch_json", lambda _: [
        {"labels": {"alertname": "RedisPoolExhausted"}}])
    operator = module.Operator(types.SimpleNamespace(
        url="", write=lambda _: None, refresh=refuse), 1)
    operator()
    paged, asked, reloaded = operator.times(0)
    assert paged and asked and reloaded is None
    assert operator.trouble == "not repaired: 500"


def test_pool_and_operator_are_on_the_clock_of_the_load(module, monkeypatch):
    """The generator connects before it begins: half a second here."""
    now = time.monotonic()
    arrivals = run((100, 52, 202))
    arrivals.begin_unix = time.time() + 0.5
    watch = types.SimpleNamespace(begin=now, samples=[(1.0, 10, 0, 10)])
    monkeypatch.setattr(module, "Watch", lambda _: contextlib.nullcontext(watch))
    monkeypatch.setattr(module.generators, "start_openload", lambda *_: None)
    monkeypatch.setattr(module.generators, "finish_openload", lambda *_: arrivals)
    target = types.SimpleNamespace(
        set=lambda _: None, new_event=lambda *_: 1, settle=lambda _: {"issued": 99},
        verify=lambda: {"violations": None, "text": "no Redis"})
    acted = []
    column, begin = module.measure(target, "live", {}, [], lambda: acted.append(1))
    assert begin == pytest.approx(now + 0.5, abs=0.1) and acted
    assert column.samples == [(pytest.approx(0.5, abs=0.1), 10, 0, 10)]
    assert len(column.complaints) == 2 and column.violations is None
