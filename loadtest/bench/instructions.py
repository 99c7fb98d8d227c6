# SPDX-License-Identifier: MIT
"""Instructions per request, counted by callgrind: no noise moves them.

Counted are the http threads, in user space: parsing, deciding, Redis, Kafka,
the answer.  One thread and 64 connections, so that turns are full.
"""

import statistics
import subprocess
import time

import load
from bench import DIRECTORY, MANY, PATIENT, PROGRAMS, new_event, settle, wait_for
from report import Figure

COUNT = 3000
CALLGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no",
             "--separate-threads=yes"]
# A stopped clock would end requests: instructions take fifty times as long.
SLOW = {**PATIENT, "server__threads": "1", "server__request_timeout": "60s"}


def instructions(bench):
    """Instructions per request of the http threads (callgrind)."""
    samples = {"constant reply": _of_constant(bench), **_of_api(bench)}
    base = statistics.median(samples["constant reply"])
    return [Figure(f"instructions per request: {name}", "", "", counts,
                   f"{statistics.median(counts) / base:.2f} times the constant reply")
            for name, counts in samples.items()]


def _of_constant(bench):
    output = _fresh("constant")
    port = bench.stack.spare_port
    process = subprocess.Popen(
        [*CALLGRIND, f"--callgrind-out-file={output}", PROGRAMS / "constant",
         str(port), "1"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _answers(port), 60, "the constant reply")
        return [_counted(process.pid, output, "serve", port,
                         lambda i: load.post(1, 1 + i))
                for _ in range(bench.rounds)]
    finally:
        process.terminate()
        process.wait()


def _of_api(bench):
    output = _fresh("api")
    with bench.service() as service:
        service.wrap = (*CALLGRIND, f"--callgrind-out-file={output}")
        api = service.api(ready=False, **SLOW).wait_ready(120)
        live, sold_out = new_event(service, api, MANY), new_event(service, api, 1)
        counts = {}

        def count(name, event, request):
            counts.setdefault(name, []).append(_counted(
                api.process.pid, output, "http_loop_thread", api.port, request))
            settle(service, event)

        for _ in range(bench.rounds):
            first = load.first_user()
            count("accepted", live, lambda i: load.post(live, first + i))
            count("ALREADY_ISSUED", live, lambda i: load.post(live, first + i))
            count("SOLD_OUT", sold_out, lambda i: load.post(sold_out, first + i))
            count("status", live, lambda i: load.get(
                f"/api/user-coupons/{live}/{first + i}"))
        return counts


def _fresh(name):
    output = DIRECTORY / f"callgrind.{name}"
    for old in DIRECTORY.glob(f"{output.name}*"):
        old.unlink()
    return output


def _answers(port):
    try:
        return load.exactly(1, port, 1, lambda i: load.post(1, 1))
    except (OSError, AssertionError):
        return None


def _counted(pid, output, root, port, request):
    """Instructions below `root` per request, in threads that run it."""
    load.exactly(64, port, 64, request)  # memory and connections are there
    _control("--instr=on", pid)
    _control("--zero", pid)
    load.exactly(COUNT, port, 64, lambda i: request(i + 64))
    _control("--dump", pid)
    _control("--instr=off", pid)
    dumps = wait_for(lambda: sorted(
        path for path in output.parent.glob(f"{output.name}*")
        if path.stat().st_size), 30, "callgrind's dump")
    time.sleep(0.5)
    total = sum(_total(path) for path in dumps if root in path.read_text())
    for path in dumps:
        path.unlink()
    assert total, f"no thread runs {root}"
    return total / COUNT


def _control(option, pid):
    subprocess.run(["callgrind_control", option, str(pid)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _total(path):
    for line in path.read_text().splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    return 0
