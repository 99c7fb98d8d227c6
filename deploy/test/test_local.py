# SPDX-License-Identifier: MIT
"""`make run` and its companions, on a stack of their own."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from stack import ROOT, VARIABLES, Stack
from web import request


@pytest.fixture(scope="module")
def own():
    stack = Stack()
    yield stack
    stack.close()


def make(own, *targets, check=True):
    result = subprocess.run(
        ["make", "--no-print-directory", *targets, *VARIABLES], cwd=ROOT, env=own.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120)
    assert not check or result.returncode == 0, result.stdout
    return result.stdout


def pids(own):
    return {name: own.pid(name) for name in
            ("redis", "postgres", "kafka", "api", "consumer")}


def test_run_issues_coupons_and_shows_them(own):
    output = make(own, "run")
    assert output.count("  202 ") == 3 and output.count("  409 ") == 1, output
    assert "(3 rows)" in output
    for line in re.findall(r"curl (http://\S+)", output):
        subprocess.run(["curl", "-fsS", "--noproxy", "*", line], check=True,
                       capture_output=True)


def test_the_admin_token_is_private_and_not_shown(own):
    assert (own.dir / "admin-token").stat().st_mode & 0o777 == 0o600
    token = own.admin_token()
    assert len(token) >= 32
    for log in own.dir.glob("*.log"):
        assert token not in log.read_text(errors="replace")
    for name in ("api", "consumer"):
        assert token not in Path(f"/proc/{own.pid(name)}/cmdline").read_text()


def test_a_second_run_reuses_what_runs(own):
    before = pids(own)
    output = make(own, "run")
    assert pids(own) == before
    assert "(3 rows)" in output


def test_run_repairs_what_died(own):
    before = pids(own)
    for name in ("postgres", "api"):
        os.kill(before[name], signal.SIGKILL)
    output = make(own, "run")
    after = pids(own)
    assert "(3 rows)" in output
    assert {n for n in before if before[n] != after[n]} == {"postgres", "api"}


def test_a_port_in_use_is_named_with_its_process(own):
    make(own, "stop")
    # A pid file of a process that is not ours any more does no harm.
    (own.dir / "redis.pid").write_text(f"{os.getpid()} 1\n")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", own.redis_port))
        sock.listen()
        output = make(own, "run", check=False)
    assert f"port {own.redis_port} is in use by process {os.getpid()}" in output
    assert "LOCAL_REDIS_PORT" in output


@pytest.mark.parametrize("address, is_met", [
    ("127.0.0.1", True), ("0.0.0.0", True), ("::", True), ("::1", True),
    ("127.0.0.9", False)])  # as a pod of the cluster tests
def test_who_listens_at_another_address_is_not_in_the_way(own, address, is_met):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, own.spare_port), family=family):
        asked = subprocess.run(
            ["bash", "-c", "cd deploy/local; . ./common.sh; . ./port.sh;"
             f" require_free_port it {own.spare_port} LOCAL_IT_PORT"],
            cwd=ROOT, env=own.env, text=True, capture_output=True)
    assert (f"in use by process {os.getpid()} (" in asked.stderr) is is_met, asked
    assert (asked.returncode == 0) is not is_met


def test_a_run_without_free_ports_says_who_has_them(own):
    asked = subprocess.run(
        ["/usr/bin/python3", "-B", "-c", "import stack; stack.Stack()"],
        cwd=ROOT / "deploy/test", text=True, capture_output=True,
        env=dict(own.env, TEST_PORTS=f"{own.base}-{own.base + 19}"))
    assert asked.returncode
    assert (f"port {own.base} is in use by process {os.getpid()} ("
            in asked.stderr.splitlines()[-1]), asked


def test_data_survives_a_stop(own):
    make(own, "run")
    make(own, "status")
    events = request(own.api_port, "GET", "/api/coupons").json["items"]
    # Three runs came to their demo before this one.
    assert [event["issued"] for event in events] == [3, 3, 3, 3]


def test_stop_leaves_no_process(own):
    before = pids(own)
    output = make(own, "stop")
    assert output.count("stopped") == 5
    for pid in before.values():
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or ") Z " in stat.read_text()
    assert "does not run" in make(own, "status", check=False)
    make(own, "stop")
