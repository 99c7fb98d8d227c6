# SPDX-License-Identifier: MIT
"""python3 -m chaos --faults 50 --seed 1: one campaign; exit 1 when it finds
a violation.  Journals and logs stay in build/chaos/seed-N.  SIGUSR1 ends it
after the round."""

import argparse
import shutil
import signal
import sys

from chaos.campaign import RATE, Campaign, start
from chaos.proxy import build
from stack import ROOT, Stack

DIRECTORY = ROOT / "build/chaos"


def main():
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--no-proxy", action="store_true",
                        help="only the faults that need no toxiproxy")
    options = parser.parse_args()
    if not options.no_proxy:
        try:
            build()
        except RuntimeError as error:
            sys.exit(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    directory = DIRECTORY / f"seed-{options.seed}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    stack = Stack(DIRECTORY, proxied=not options.no_proxy)
    # Programs of its own: the tree may be built again meanwhile.
    shutil.copytree(ROOT / "build/release/bin", directory / "bin")
    stack.env["LOCAL_BIN"] = str(directory / "bin")
    try:
        campaign = run(stack, directory, options)
        for log in stack.dir.glob("*.log"):
            shutil.copy(log, directory)
    finally:
        stack.close()
    print(campaign.table())
    print(campaign.totals())
    if campaign.violations:
        sys.exit(f"violations; journals and logs: {directory}")


def run(stack, directory, options):
    proxy = None
    if options.no_proxy:
        stack.start("redis", "postgres", "kafka")
    else:
        proxy = start(stack, directory)
    campaign = Campaign(stack, directory, options.seed, proxy, options.rate)

    def end_after_round(*_):
        campaign.ending = True
    signal.signal(signal.SIGUSR1, end_after_round)
    try:
        campaign.run(campaign.schedule(options.faults))
    finally:
        campaign.close()
    return campaign


main()
