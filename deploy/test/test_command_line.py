# SPDX-License-Identifier: MIT
"""What both daemons do with their command line, without any server."""

import socket
import subprocess

import pytest

from stack import ROOT

DONE, FAILED, USAGE = 0, 1, 2
NOBODY = "datasource.url=postgresql://127.0.0.1:1/coupon"

pytestmark = pytest.mark.parametrize("daemon", ["api", "consumer"])


def run(daemon, *arguments):
    return subprocess.run(
        [ROOT / f"build/release/bin/{daemon}", *arguments], text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=20)


def test_check_says_valid_and_ends(daemon):
    result = run(daemon, "--config", ROOT / f"{daemon}/{daemon}.yaml", "--check")
    assert (result.returncode, result.stdout, result.stderr) == (
        DONE, "configuration is valid\n", "")


@pytest.mark.parametrize("arguments, why", [
    (["--chek"], "--chek: unknown option, see --help"),
    (["--check", "--set", "redis.pool.max-activ=3"],
     "--set: redis.pool.max-activ: expected a known key; "
     "did you mean redis.pool.max-active?"),
    (["--set", "kafka.properties.lingr.ms=3"],
     '--set: kafka.properties.lingr.ms: '
     'No such configuration property: "lingr.ms"'),
    (["--config", "/nowhere", "--migrate"],
     "/nowhere: No such file or directory"),
])
def test_what_is_wrong_is_one_sentence(daemon, arguments, why):
    result = run(daemon, *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (
        USAGE, "", f"{daemon}: {why}\n")


def test_migrate_without_a_database_says_why(daemon):
    result = run(daemon, "--set", NOBODY, "--migrate")
    assert (result.returncode, result.stdout) == (FAILED, "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("port 1 failed: Connection refused\n")


def test_a_port_in_use_is_named_with_who_has_it(daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(daemon, "--set", f"server.port={port}", "--set", NOBODY,
                     "--set", "server.address=127.0.0.1")
    assert result.returncode == FAILED
    last = result.stderr.splitlines()[-1]
    assert 'msg="cannot start"' in last and f"port {port} is in use by" in last


def test_too_few_files_are_warned_of(daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = subprocess.run(
            ["prlimit", "--nofile=100:900", ROOT / f"build/release/bin/{daemon}",
             "--set", f"server.port={taken.getsockname()[1]}", "--set", NOBODY,
             "--set", "server.address=127.0.0.1"],
            text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    # Raised to what is allowed, which is less than its connections need.
    assert 'level=warn' in result.stderr.lower(), result
    assert 'msg="file descriptor limit is too low" limit=900 wanted=' in result.stderr
