# SPDX-License-Identifier: MIT
"""What make bench-compare says of two results; no server is needed."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest

from stack import ROOT


def _module(path):
    """By its path: loadtest/scenarios has modules of the same names."""
    spec = importlib.util.spec_from_file_location(f"bench_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


report = _module(ROOT / "loadtest/bench/report.py")


def result(**figures):
    return {"commit": "abc", "figures": [
        {"name": name, "unit": "x", "note": "", "goal": goal, "better": better,
         "samples": samples} for name, (goal, better, samples) in figures.items()]}


def compare(tmp_path, before, after):
    for name, value in (("before", before), ("after", after)):
        (tmp_path / name).write_text(json.dumps(value))
    return subprocess.run(
        ["make", "-s", "bench-compare", f"BEFORE={tmp_path / 'before'}",
         f"AFTER={tmp_path / 'after'}"], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, capture_output=True)


@pytest.mark.parametrize("better, samples, said, worse", [
    ("less", [1.9, 2.0, 2.4], "", False),     # overlaps: no change
    ("less", [2.6, 2.7, 2.8], "**worse**", True),
    ("less", [1.0, 1.1, 1.2], "better", False),
    ("more", [2.6, 2.7, 2.8], "better", False),
    ("more", [1.0, 1.1, 1.2], "**worse**", True),
])
def test_a_change_counts_beyond_the_spread(tmp_path, better, samples, said, worse):
    run = compare(tmp_path, result(cpu=("", better, [1.8, 2.0, 2.5])),
                  result(cpu=("", better, samples)))
    row = run.stdout.splitlines()[-1]
    assert row.rsplit("|", 2)[1].strip() == said, run
    assert (run.returncode != 0) == worse, run


def test_a_goal_missed_that_was_met_is_told(tmp_path):
    run = compare(tmp_path, result(rate=(">= 0.45", "more", [0.4, 0.5, 0.6])),
                  result(rate=(">= 0.45", "more", [0.4, 0.44, 0.6])))
    assert "**misses its goal**" in run.stdout and run.returncode != 0, run


def test_a_new_figure_is_no_change(tmp_path):
    run = compare(tmp_path, result(), result(rate=("", "more", [1.0])))
    assert run.stdout.splitlines()[-1].endswith("| new |") and run.returncode == 0, run


def test_what_was_not_measured_is_told_and_not_judged(tmp_path):
    """Neither what is missing nor what is left of an older commit."""
    before = result(gone=("", "less", [1.0]), cpu=("", "less", [1.0]))
    after = result(cpu=("", "less", [9.0]))
    after["figures"][0]["commit"] = "old"
    run = compare(tmp_path, before, after)
    assert run.stdout.splitlines()[-2:] == [
        "| cpu |  |  |  | not measured, only at old |",
        "| gone | 1.00 (1.00 .. 1.00) |  |  | not measured |"]
    assert run.returncode == 0, run


@pytest.mark.parametrize("name, goal, better", [
    ("accepted requests/s", "", "more"), ("rows/s of one consumer", "", "more"),
    ("share", ">= 0.5", "more"), ("CPU per request", "", "less")])
def test_which_direction_is_good(name, goal, better):
    assert report.Figure(name, "x", goal, [1.0]).better == better


def test_no_committed_figure_has_the_wrong_direction():
    kept = json.loads((ROOT / "loadtest/bench/results.json").read_text())
    for record in kept["figures"]:
        figure = report.Figure(record["name"], record["unit"], record["goal"],
                               record["samples"])
        assert record["better"] == figure.better, record["name"]


def test_a_table_says_what_is_of_another_commit(tmp_path):
    def measured(commit, name):
        origin = {"commit": commit, "date": "today", "rounds": 1,
                  "machine": {"cores": 2, "cpu": "c", "kernel": "k", "load": 0.1}}
        report.write(tmp_path, [report.Figure(name, "x", "", [1.0], "so")], origin)
    measured("abc", "first")
    measured("def", "second")
    assert (tmp_path / "results.md").read_text().splitlines()[-2:] == [
        "| first | 1.00 x | 1.00 .. 1.00 | - | - | so; commit abc |",
        "| second | 1.00 x | 1.00 .. 1.00 | - | - | so |"]
    measured("def", "first")
    assert "abc" not in (tmp_path / "results.json").read_text()


CPU = "CPU per accepted request over constant reply, {} connections, 2 threads, appendfsync {}"
RATE = "accepted requests/s over constant reply, {} connections, 2 threads, appendfsync {}"
DELAYED = ("Redis delayed by 50 ms, 10 connections, 500 clients: requests/s over "
           "max-pipeline 1")
FIRST, SECOND, API = r"^([\d,]+)", r"over ([\d,]+)", r"api ([\d.]+) us"
# What is beyond these is no noise: speed differs by 1.45 between two runs on one
# machine, memory per user by 1.12 with their number, of which the page has the
# highest.
SPEED, LATENCY, MEMORY = (0.63, 1.6), (0.9, 1.1), (0.98, 1.15)


@pytest.mark.parametrize("row, bounds, figures", [
    ("accepted requests/s", SPEED, [
        (RATE.format(64, "always"), FIRST), (RATE.format(500, "always"), FIRST)]),
    ("the same, `everysec`", SPEED, [
        (RATE.format(64, "everysec"), FIRST), (RATE.format(500, "everysec"), FIRST)]),
    ("CPU of the api", SPEED, [
        (CPU.format(64, "always"), API), (CPU.format(64, "everysec"), API)]),
    ("refused requests/s", SPEED, [
        ("sold-out flood: requests/s over constant reply", FIRST),
        ("429 flood: requests/s over constant reply", FIRST)]),
    ("requests/s with Redis 50 ms away", LATENCY, [(DELAYED, FIRST), (DELAYED, SECOND)]),
    ("rows/s of one partition", SPEED, [
        ("consumer rows/s, backlog of 200,000, one partition, over bare batched INSERTs",
         FIRST)]),
    ("Redis memory per user", MEMORY, [
        ("Redis memory per user of 1,000,000 who have a coupon", None)]),
    ("RSS of an api", MEMORY, [
        ("RSS of api with 1,000 idle connections", None),
        ("RSS of api with 10,000 idle connections", None)]),
])
def test_the_page_on_capacity_has_the_committed_figures(row, bounds, figures):
    known = {record["name"]: record for record in json.loads(
        (ROOT / "loadtest/bench/results.json").read_text())["figures"]}
    page = (ROOT / "docs/capacity.md").read_text()
    (cell,) = re.findall(rf"^\| {re.escape(row)}.*\| (.*) \|$", page, re.M)
    written = [_number(text) for text in re.findall(r"\d[\d,.]*\d|\d", cell)]
    measured = [_number(re.search(pattern, known[name]["note"])[1]) if pattern
                else known[name]["median"] for name, pattern in figures]
    assert len(written) == len(measured)
    for ours, theirs in zip(written, measured):
        assert bounds[0] < ours / theirs < bounds[1], cell


def _number(text):
    return float(text.replace(",", ""))
