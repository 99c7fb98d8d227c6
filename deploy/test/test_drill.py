# SPDX-License-Identifier: MIT
"""A drill from its first break to the last thing put back."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from drill.catalogue import DRILLS
from service import wait_for
from stack import ROOT, VARIABLES, Stack

pytestmark = pytest.mark.long
needs_monitoring = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed")


@pytest.fixture(scope="module")
def own():
    """What a person on call has: everything runs."""
    stack = Stack()
    try:
        stack.start()
        stack.start("prometheus", "alertmanager")
        yield stack
    finally:
        stack.close()


def drill(own, *arguments):
    return subprocess.Popen(
        ["make", "--no-print-directory", "drill", *arguments, *VARIABLES],
        cwd=ROOT, env=own.env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True)


def state(own):
    """What a drill may have changed."""
    def command(name):
        return (Path(f"/proc/{own.pid(name)}/cmdline").read_bytes(),
                (own.dir / f"{name}.yaml").read_text())
    return command("api"), command("consumer")


def test_without_a_name_they_are_listed(own):
    output, _ = drill(own).communicate(timeout=60)
    for one in DRILLS.values():
        assert one.name in output and one.what in output


def test_an_unknown_one_is_told_apart(own):
    process = drill(own, "NAME=redis-poll")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "no drill redis-poll" in output and "redis-pool" in output


@needs_monitoring
def test_the_runbook_ends_an_exhausted_pool(own):
    before = state(own)
    process = drill(own, "NAME=redis-pool", "AUTO=1")
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    for expected in ("redis.connection.pending", "RedisPoolExhausted (critical)",
                     "$ sed -i", "resolved",
                     "a new user is accepted", "coupon-verify finds nothing"):
        assert expected in output, output
    assert state(own) == before


@needs_monitoring
def test_the_scene_of_14_02(own):
    before = state(own)
    process = drill(own, "NAME=scene")
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    assert re.search(r" s  console  .*(pool|redis)", output), output
    for expected in ("| load to the first sign on the console", "| load to the critical alert", "to less than 5 % failing",
                     "coupon-verify finds nothing"):
        assert expected in output, output
    assert state(own) == before


@needs_monitoring
def test_who_gives_up_gets_everything_back(own):
    before = state(own)
    process = drill(own, "NAME=redis-pool")
    lines = []

    def asked():
        line = process.stdout.readline()
        lines.append(line)
        assert line, lines
        return " you " in line
    wait_for(asked, 400, "the drill to wait for the operator")
    assert state(own) != before
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    rest, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "coupon-verify finds nothing" in rest, rest
    assert state(own) == before
