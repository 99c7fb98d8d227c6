# SPDX-License-Identifier: MIT
"""python3 -m drill [NAME] [--auto]: the list, or one drill; docs/drills.md.
python3 -m drill scene [--rate N]: 14:02 again."""

import argparse
import signal
import sys

from drill.catalogue import DRILLS
from drill.course import Clock, Course, summary
from drill.scene import Scene
from drill.world import World


def listing():
    width = max(map(len, DRILLS))
    lines = [f"  {d.name:<{width}}  {d.what}" for d in DRILLS.values()]
    return "\n".join(["make drill NAME=name [AUTO=1]", *lines])


def run_drill(name, auto, clock):
    with World(clock.say) as world:
        marks = Course(DRILLS[name], world, clock, auto).run()
    return ("| drill | first sign s | alert s | recovered after act s | "
            "all-clear after act s |\n" + summary(name, marks))


def run_scene(rate, clock):
    with World(clock.say) as world:
        scene = Scene(world, clock, rate)
        scene.run()
    return scene.table()


def main():
    parser = argparse.ArgumentParser(prog="make drill")
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--auto", action="store_true",
                        help="do what the runbook says, too")
    parser.add_argument("--rate", type=int, default=400,
                        help="of the scene, requests a second")
    options = parser.parse_args()
    if not options.name:
        print(listing())
        return
    if options.name not in (*DRILLS, "scene"):
        sys.exit(f"no drill {options.name}\n{listing()}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if options.name == "scene":
            print(run_scene(options.rate, Clock()))
        else:
            print(run_drill(options.name, options.auto, Clock()))
    except KeyboardInterrupt:
        sys.exit("given up")
    except AssertionError as error:
        sys.exit(f"{options.name}: {error}")


main()
