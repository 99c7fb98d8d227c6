# SPDX-License-Identifier: MIT
"""The servers of deploy/local, in a directory and on ports of their own.

A block of ports is held by listening on its first one: the kernel frees it
however the run ends, so two runs never share a block, and a directory whose
block is free was left behind by a run that was killed.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

_libc = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy/local/stack"
DIRECTORY = ROOT / "build/test"
BLOCK = 20  # ports per stack
# On a machine busy with other work all waiting may take so many times longer.
PATIENCE = int(os.environ.get("TEST_PATIENCE", "1"))
FIRST, LAST = (
    int(port) for port in os.environ.get("TEST_PORTS", "21000-31999").split("-")
)
# What `make test` was called with (WERROR=1 ...): a make that a test calls
# must get the same, or it would build everything anew.
VARIABLES = os.environ.get("MAKEFLAGS", "").partition("-- ")[2].split()
# Without the test run's own make, and without a user's configuration.
ENVIRONMENT = {
    name: value for name, value in os.environ.items()
    if not name.startswith(("COUPON_", "LOCAL_", "MAKE", "MFLAGS"))
}


def die_with_parent():
    """In a child, between fork and exec."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _listen(port):
    """A listening socket, or None when the port is taken."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen(1)
        return sock
    except OSError:
        sock.close()
        return None


def _is_free(port):
    sock = _listen(port)
    if sock:
        sock.close()
    return sock is not None


class Servers:
    """What deploy/local/stack started: `env`, `dir` and ports say where."""

    env, dir, kafka_port = None, None, None

    def run(self, *arguments, check=True):
        return subprocess.run(
            [SCRIPT, *arguments], env=self.env, check=check, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=330 * PATIENCE,
        )

    def start(self, *names):
        result = self.run("start", *names, check=False)
        assert result.returncode == 0, result.stdout + result.stderr

    def repair(self, *names):
        """Start again what a test left dead, so that only that test fails."""
        dead = [name for name in names if not self._runs(name)]
        if dead:
            self.start(*dead)

    def _runs(self, name):
        try:
            return Path(f"/proc/{self.pid(name)}").exists()
        except FileNotFoundError:
            return False

    def stop(self, *names):
        self.run("stop", *names)

    def pid(self, name):
        return int((self.dir / f"{name}.pid").read_text().split()[0])

    def command(self, kind, port):
        """The command line of one more api or consumer."""
        return self.run("command", kind, str(port)).stdout.splitlines()

    def tool(self, name, *arguments):
        """Run one of our tools against this stack's Kafka."""
        program = ROOT / f"build/release/bin/{name}"
        result = subprocess.run(
            [program, "--bootstrap-server", f"127.0.0.1:{self.kafka_port}",
             *arguments], capture_output=True, text=True,
            timeout=60 * PATIENCE)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def admin_token(self):
        return (self.dir / "admin-token").read_text().strip()


class Running(Servers):
    """The stack of `make run`: where common.sh, so the environment, puts it."""

    NAMES = ("dir", "api_port", "consumer_port", "redis_port", "postgres_port",
             "kafka_port", "prometheus_port", "alertmanager_port",
             "alert_webhook")

    def __init__(self):
        self.env = dict(os.environ)
        script = (f"source {ROOT}/deploy/local/common.sh; for name in"
                  f" {' '.join(self.NAMES)}; do echo \"${{!name}}\"; done")
        lines = subprocess.run(["bash", "-c", script], check=True, text=True,
                               capture_output=True).stdout.splitlines()
        for name, value in zip(self.NAMES, lines):
            setattr(self, name, int(value) if name.endswith("port") else value)
        self.dir = Path(self.dir)


class Stack(Servers):
    """Redis, PostgreSQL and Kafka; further daemons are started with command()."""

    def __init__(self, directory=DIRECTORY, proxied=False):
        """proxied: Kafka names itself by the port of its proxy."""
        _remove_leftovers(directory)
        self.base, self._lock = _take_block()
        self.dir = directory / f"stack-{self.base}"
        self.redis_port = self.base + 1
        self.postgres_port = self.base + 2
        self.kafka_port = self.base + 3
        self.api_port = self.base + 5
        self.consumer_port = self.base + 10
        self.spare_port = self.base + 15
        self.prometheus_port = self.base + 16
        self.alertmanager_port = self.base + 17
        self.webhook_port = self.base + 18
        self.env = _environment(self.base, self.dir)
        if proxied:
            self.env["LOCAL_KAFKA_ADVERTISED_PORT"] = str(self.spare_port + 1)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir)
        self._lock.close()


def _environment(base, directory):
    ports = {
        "REDIS": base + 1, "POSTGRES": base + 2, "KAFKA": base + 3,
        "KAFKA_CONTROLLER": base + 4, "API": base + 5, "CONSUMER": base + 10,
        "PROMETHEUS": base + 16, "ALERTMANAGER": base + 17,
    }
    env = dict(ENVIRONMENT)
    env.update({f"LOCAL_{k}_PORT": str(v) for k, v in ports.items()})
    env["LOCAL_DIR"] = str(directory)
    env["LOCAL_PATIENCE"] = str(PATIENCE)
    env["LOCAL_SCRAPE_INTERVAL"] = "1s"
    env["LOCAL_ALERT_WEBHOOK"] = f"http://127.0.0.1:{base + 18}/"
    return env


def _take_block():
    taken = FIRST
    for base in range(FIRST, LAST - BLOCK + 2, BLOCK):
        lock, taken = _listen(base), base
        if not lock:
            continue
        taken = next((p for p in range(base + 1, base + BLOCK) if not _is_free(p)), None)
        if taken is None:
            return base, lock
        lock.close()
    raise RuntimeError(f"no {BLOCK} free ports in {FIRST}-{LAST}: port {taken} is in"
                       f" use by {_listener(taken)}")


def _listener(port):
    return subprocess.run(
        ["bash", "-c", f". {ROOT}/deploy/local/port.sh; listener_of {port}"],
        text=True, capture_output=True, check=False).stdout.strip()


def _remove_leftovers(parent):
    for directory in parent.glob("stack-*"):
        base = int(directory.name.removeprefix("stack-"))
        lock = _listen(base)
        if not lock:
            continue  # in use by another run
        subprocess.run([SCRIPT, "stop"], check=True,
                       env=_environment(base, directory),
                       stdin=subprocess.DEVNULL, capture_output=True)
        shutil.rmtree(directory)
        lock.close()
