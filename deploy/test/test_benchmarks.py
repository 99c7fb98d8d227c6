# SPDX-License-Identifier: MIT
"""What make bench-compare says of two results; no server is needed."""

import importlib.util
import json
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
