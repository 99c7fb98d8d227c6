# SPDX-License-Identifier: MIT
"""make loadtest: the scenarios against `make run`, or against any deployment.

Exit status: 0 everything held, 1 something did not.
"""

import argparse
import os
import signal
import subprocess
import sys
import urllib.parse

from remote import Refused
from scenarios import run
from table import DEFAULT, SCENARIOS
from target import LOCAL, Stack, Target, private_stack


def arguments():
    parser = argparse.ArgumentParser(
        prog="make loadtest", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {s.name:11} {s.what}" for s in SCENARIOS.values()))
    parser.add_argument("--url", help="of a deployment; ADMIN_TOKEN or EVENT, "
                        "METRICS_URL, CONSUMER_URL and VERIFY_CONFIG are read")
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []],
                        help=f"by default {', '.join(DEFAULT)}")
    return parser.parse_args()


def check(names, url):
    """What cannot be done to a URL is said before anything is done."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        sys.exit(f"loadtest: URL=http://HOST or https://HOST, not {url}")
    if "partitions" in names:
        sys.exit("loadtest: partitions slows its own PostgreSQL; not with URL")
    if "stampede" in names and (parts.scheme == "https" or parts.path.strip("/")):
        sys.exit("loadtest: stampede's generator speaks plain HTTP, to a host and a "
                 f"port; not with {url}")


def remote(url):
    if not os.environ.get("ADMIN_TOKEN") and not os.environ.get("EVENT"):
        sys.exit("loadtest: ADMIN_TOKEN=... to create an event there, or EVENT=... of "
                 "one that is open")
    return Target(url, os.environ.get("ADMIN_TOKEN"),
                  os.environ.get("METRICS_URL"), os.environ.get("CONSUMER_URL"))


def run_one(scenario, url):
    if url:
        return run(scenario, remote(url))
    if scenario.private:
        with private_stack() as target:
            target.start("redis", "postgres", "kafka", "api", "consumer")
            return run(scenario, target)
    target = Stack(os.environ)
    target.start()
    return run(scenario, target)


def attempt(scenario, url):
    """One that comes to nothing says why, and leaves the next ones their turn."""
    try:
        return run_one(scenario, url)
    except (OSError, Refused, RuntimeError, ValueError,
            subprocess.SubprocessError) as error:
        print(f"loadtest: {scenario.name}: {error}", file=sys.stderr, flush=True)
        return False


def main():
    args = arguments()
    names = args.scenario or DEFAULT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if args.url:
        check(names, args.url)
    if any(SCENARIOS[name].k6 for name in names):
        # Before anything is started: it may take minutes.
        if subprocess.run([LOCAL / "install-go-tool", "k6"], check=False,
                          stdout=subprocess.DEVNULL).returncode:
            sys.exit(1)
    held = [attempt(SCENARIOS[name], args.url) for name in names]
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
