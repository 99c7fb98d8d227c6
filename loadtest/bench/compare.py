# SPDX-License-Identifier: MIT
"""compare - two results of the benchmark, and what changed beyond the spread.

A change counts when the samples of the two do not overlap.  Exit status 1
when something became worse, or misses a goal that it met.  What the later
result holds of an earlier commit, or does not hold, is not judged.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from report import figure_of, number

ROOT = Path(__file__).resolve().parents[2]
KEPT = "loadtest/bench/results.json"


def arguments():
    parser = argparse.ArgumentParser(prog="make bench-compare")
    parser.add_argument("--before", help=f"default: {KEPT} as last committed")
    parser.add_argument("--after", default=ROOT / "build/bench/results.json")
    return parser.parse_args()


def results(path):
    if path is not None:
        return json.loads(Path(path).read_text())
    return json.loads(subprocess.run(
        ["git", "show", f"HEAD:{KEPT}"], cwd=ROOT, check=True,
        capture_output=True, text=True).stdout)


def verdict(before, after):
    """"", or what happened between two figures of one name."""
    if before.is_met() and not after.is_met():
        return "**misses its goal**"
    if min(after.samples) > max(before.samples):
        return "better" if before.better == "more" else "**worse**"
    if max(after.samples) < min(before.samples):
        return "**worse**" if before.better == "more" else "better"
    return ""


def spread(figure):
    return (f"{number(figure.median)} "
            f"({number(min(figure.samples))} .. {number(max(figure.samples))})")


def rows(before, after):
    old = {record["name"]: figure_of(record) for record in before["figures"]}
    for record in after["figures"]:
        new = figure_of(record)
        was = old.pop(new.name, None)
        of = record.get("commit", after["commit"])
        if of != after["commit"]:
            yield new.name, "", "", "", f"not measured, only at {of}"
            continue
        if was is None:
            yield new.name, "-", spread(new), "", "new"
            continue
        change = (new.median / was.median - 1) * 100 if was.median else 0.0
        yield (new.name, spread(was), spread(new), f"{change:+.0f} %",
               verdict(was, new))
    for name, was in old.items():
        yield name, spread(was), "", "", "not measured"


def main():
    args = arguments()
    before, after = results(args.before), results(args.after)
    print(f"| figure | {before['commit']} | {after['commit']} | change | |\n"
          "|---|---|---|---|---|")
    table = list(rows(before, after))
    for row in table:
        print(f"| {' | '.join(row)} |")
    return any(row[-1].startswith("**") for row in table)


if __name__ == "__main__":
    sys.exit(main())
