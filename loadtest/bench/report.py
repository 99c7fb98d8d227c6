# SPDX-License-Identifier: MIT
"""Figures: what was measured, against its goal, as Markdown and JSON."""

import datetime
import json
import operator
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field

_GOALS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


@dataclass
class Figure:
    """samples: one per round; goal: "<= 2.5", or "" to report only."""

    name: str
    unit: str
    goal: str
    samples: list = field(default_factory=list)
    note: str = ""

    @property
    def median(self):
        return statistics.median(self.samples)

    def is_met(self):
        relation, _, limit = self.goal.partition(" ")
        return not self.goal or _GOALS[relation](self.median, float(limit))

    def row(self):
        low, high = min(self.samples), max(self.samples)
        verdict = "-" if not self.goal else "met" if self.is_met() else "**missed**"
        return (f"| {self.name} | {number(self.median)} {self.unit} "
                f"| {number(low)} .. {number(high)} | {self.goal or '-'} "
                f"| {verdict} | {self.note} |")

    def to_json(self):
        return {"name": self.name, "unit": self.unit, "goal": self.goal,
                "median": self.median, "samples": self.samples,
                "met": self.is_met(), "note": self.note}


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def around(runs, value, unit=""):
    """The median of a value of several runs, for a note."""
    return f"{number(statistics.median(value(run) for run in runs))}{unit}"


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.partition(":")[2].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(),
            "kernel": platform.release(), "load": os.getloadavg()[2]}


def commit():
    describe = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(describe, capture_output=True, text=True,
                          check=False).stdout.strip() or "unknown"


HEAD = ("| figure | median | spread | goal | | |\n"
        "|---|---|---|---|---|---|")


def markdown(figures, about):
    origin = about["machine"]
    return "\n".join([
        f"Commit {about['commit']}, {about['date']}, {origin['cores']} cores of "
        f"{origin['cpu']}, Linux {origin['kernel']}, load {origin['load']:.1f}, "
        f"{about['rounds']} rounds.", "", HEAD,
        *(figure.row() for figure in figures)])


def about(rounds):
    return {"commit": commit(), "machine": machine(), "rounds": rounds,
            "date": datetime.datetime.now(datetime.timezone.utc)
            .strftime("%Y-%m-%dT%H:%M:%SZ")}


def write(directory, figures, origin):
    results = dict(origin, figures=[figure.to_json() for figure in figures])
    (directory / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / "results.md").write_text(markdown(figures, origin) + "\n")
