# SPDX-License-Identifier: MIT
"""bench - the ratios of docs/benchmarks.md, as Markdown and JSON.

Every figure is a ratio of two runs that followed each other; it is printed
with median and spread over the rounds.  Nothing is asserted about speed.
"""

import argparse
import resource
import sys

from bench import DIRECTORY, Bench
from measures import MEASURES
import report


def arguments():
    parser = argparse.ArgumentParser(
        prog="make bench", epilog="measures: " + "; ".join(
            f"{name}: {measure.__doc__}" for name, measure in MEASURES.items()))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of one run")
    parser.add_argument("measure", nargs="*", choices=[*MEASURES, []],
                        help="all of them by default")
    return parser.parse_args()


def main():
    args = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    figures = []
    bench = Bench(args.rounds, args.seconds)
    try:
        for name in args.measure or MEASURES:
            print(f"== {name}: {MEASURES[name].__doc__}", file=sys.stderr, flush=True)
            for figure in MEASURES[name](bench):
                figures.append(figure)
                print(figure.row(), file=sys.stderr, flush=True)
    finally:
        bench.close()
        results = report.write(DIRECTORY, figures, report.about(args.rounds))
    print(report.markdown(results))
    print(f"\nalso in {DIRECTORY}/results.md and results.json")


main()
