# SPDX-License-Identifier: MIT
"""Figures: what was measured, against its goal, as Markdown and JSON."""

import datetime
import json
import operator
import os
import platform
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_GOALS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


@dataclass
class Figure:
    """samples: one per round; goal: "<= 2.5", or "" to report only; better:
    "more" or "less", by default as goal or name have it."""

    name: str
    unit: str
    goal: str
    samples: list = field(default_factory=list)
    note: str = ""
    better: str = ""

    def __post_init__(self):
        rises = self.goal.startswith(">") or re.search(r"(requests|rows)/s", self.name)
        self.better = self.better or ("more" if rises else "less")

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
                "better": self.better, "median": self.median,
                "samples": self.samples, "met": self.is_met(), "note": self.note}


def figure_of(record):
    """The reverse of to_json()."""
    return Figure(*(record[key] for key in
                    ("name", "unit", "goal", "samples", "note", "better")))


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def around(runs, value, unit=""):
    """The median of a value of several runs, for a note."""
    return f"{number(statistics.median(value(run) for run in runs))}{unit}"


def rate(run):
    return run.rate


def sustained(run):
    return run.sustained


def p99_ms(run):
    return run.p99_ms


def cpu_us(name):
    """CPU per request of a process, as a function of a run."""
    return lambda run: run.cpu_us(name)


SERVER_US = cpu_us("server")


def times(runs):
    """CPU per request of every process, generator included."""
    return ", ".join(f"{'api' if name == 'server' else name} "
                     f"{around(runs, cpu_us(name), ' us')}" for name in runs[0].cpu)


def shares(runs):
    """Which process had how much of a core: the evidence for a limit."""
    return ", ".join(
        f"{'api' if name == 'server' else name} "
        f"{around(runs, lambda run, name=name: run.cores(name))}"
        for name in runs[0].cpu)


def machine():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        model = next((line.partition(":")[2].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    return {"cpu": model, "cores": os.cpu_count(),
            "kernel": platform.release(), "load": os.getloadavg()[2]}


MEASURED = ("api", "common", "consumer")


def commit():
    """The last one that changed what is measured."""
    def git(*words):
        return subprocess.run(["git", *words, "--", *MEASURED], cwd=ROOT,
                              capture_output=True, text=True, check=False)
    dirty = "-dirty" if git("diff", "--quiet", "HEAD").returncode else ""
    return (git("log", "-1", "--format=%h").stdout.strip() or "unknown") + dirty


HEAD = ("| figure | median | spread | goal | | |\n"
        "|---|---|---|---|---|---|")


def markdown(results):
    origin = results["machine"]
    return "\n".join([
        f"Commit {results['commit']}, {results['date']}, {origin['cores']} cores of "
        f"{origin['cpu']}, Linux {origin['kernel']}, load {origin['load']:.1f}, "
        f"{results['rounds']} rounds.", "", HEAD,
        *(_row(record, results["commit"]) for record in results["figures"])])


def _row(record, commit_):
    figure = figure_of(record)
    if record.get("commit", commit_) != commit_:
        figure.note += f"; commit {record['commit']}" if figure.note else \
            f"commit {record['commit']}"
    return figure.row()


def about(rounds):
    return {"commit": commit(), "machine": machine(), "rounds": rounds,
            "date": datetime.datetime.now(datetime.timezone.utc)
            .strftime("%Y-%m-%dT%H:%M:%SZ")}


def write(directory, figures, origin):
    """Into results.json and results.md, with what was measured before: a table
    can be measured in pieces, and says which are of another commit."""
    path = directory / "results.json"
    records = {}
    if path.exists():
        old = json.loads(path.read_text())
        records = {r["name"]: {"commit": old["commit"], **r} for r in old["figures"]}
    records |= {figure.name: {"commit": origin["commit"], **figure.to_json()}
                for figure in figures}
    results = dict(origin, figures=list(records.values()))
    path.write_text(json.dumps(results, indent=1) + "\n")
    (directory / "results.md").write_text(markdown(results) + "\n")
    return results
