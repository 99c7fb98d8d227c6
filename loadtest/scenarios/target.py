# SPDX-License-Identifier: MIT
"""What is put under load: the stack of `make run`, or any deployment."""

import contextlib
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import yaml

from remote import Refused, fetch_json

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "deploy/local"
# Of private servers: on a tmpfs, a busy disk is not in the figures.
DIRECTORY = Path(os.environ.get("LOADTEST_DIR") or ROOT / "build/loadtest")
# Behind our own directory.
sys.path += [str(ROOT / "deploy/test"), str(ROOT / "loadtest/bench")]

# pylint: disable=wrong-import-position
import report  # noqa: E402
import stack  # noqa: E402

OFF = {"ratelimiter.coupon-issue.enabled": False}
ON = {"ratelimiter.coupon-issue.enabled": True,
      "ratelimiter.coupon-issue.limit-for-period": 500}


def wait_for(condition, timeout, what):
    """The first true value of condition(); one that fails is not true yet."""
    end = time.monotonic() + timeout
    while True:
        failure = ""
        try:
            if value := condition():
                return value
        except (OSError, Refused, ValueError) as error:
            failure = f" ({error})"
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout} s: {what}{failure}")
        time.sleep(0.05)


class Target:
    """A deployment known by its URL; what needs more is not done there."""

    def __init__(self, url, token=None, metrics_url=None, consumer_url=None):
        self.url, self.token = url.rstrip("/"), token
        # None: no figures of the server (behind a balancer they would be
        # another process's each time).
        self.metrics_url, self.consumer_url = metrics_url, consumer_url
        parts = urllib.parse.urlsplit(self.url)
        self.host = parts.hostname
        self.port = parts.port or {"http": 80, "https": 443}[parts.scheme]

    def new_event(self, name, stock):
        """The id of an event that is open; EVENT names one that is there."""
        if "EVENT" in os.environ:
            return int(os.environ["EVENT"])
        now = datetime.datetime.now(datetime.timezone.utc)
        event = fetch_json(f"{self.url}/api/coupons", "POST", {
            "name": f"loadtest {name} {now.isoformat()}", "total": stock,
            "opensAt": _timestamp(now, -1), "closesAt": _timestamp(now, 86400)},
            self.token)["id"]
        wait_for(lambda: self.event(event)["state"] == "OPEN", 30,
                 f"event {event} open")
        return event

    def event(self, event):
        return fetch_json(f"{self.url}/api/coupons/{event}")

    def settle(self, event, timeout=180):
        """Until nothing is on its way; the event then."""
        def at_rest():
            body = self.event(event)
            return body if body["pending"] == 0 else None
        return wait_for(at_rest, timeout, f"event {event} at rest")

    def commit(self):
        """That it was built of, None where it is not to be had."""
        try:
            info = fetch_json(f"{self.metrics_url or self.url}/actuator/info",
                              token=self.token)
            return info["git"]["commit"]["id"]
        except (OSError, Refused, ValueError, KeyError):
            return None

    def machine(self):
        """Of the servers; None: another one than this."""
        return None

    def pids(self):
        return {}

    def settings(self):
        """The effective configuration, {} where it is not to be had."""
        if not self.metrics_url:
            return {}
        try:
            return _flat(fetch_json(f"{self.metrics_url}/actuator/configprops",
                                    token=self.token))
        except (OSError, Refused, ValueError):
            return {}

    @contextlib.contextmanager
    def configured(self, settings):
        """Not ours to configure: what is set there has to be right."""
        yield

    def verify(self):
        """None: cannot be done from here; else what coupon-verify says."""
        config = os.environ.get("VERIFY_CONFIG")
        return _verify(["--config", config], os.environ) if config else None


class Stack(Target):
    """Servers and daemons started by deploy/local/stack, as `env` says."""

    def __init__(self, env, spare_port=None):
        self.env, self.spare_port = env, spare_port
        directory, api_port, consumer_port, *ports = _asked(
            env, "$dir", "$api_port", "$consumer_port", "$redis_port",
            "$postgres_port", "$kafka_port", "$alertmanager_port")
        (self.redis_port, self.postgres_port, self.kafka_port,
         self.alertmanager_port) = ports
        self.dir = Path(directory)
        url = f"http://127.0.0.1:{api_port}"
        super().__init__(url, metrics_url=url,
                         consumer_url=f"http://127.0.0.1:{consumer_port}")
        self._before = self.dir / "api.yaml.before-loadtest"

    def start(self, *names, **moved):
        """What does not run; a daemon whose variables changed starts anew."""
        started = subprocess.run(
            [LOCAL / "stack", "start", *names], env=dict(self.env, **moved),
            check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True)
        if started.returncode:
            sys.exit(started.stdout + started.stderr)
        self.token = (self.dir / "admin-token").read_text().strip()

    def commit(self):
        return report.commit()

    def machine(self):
        return report.machine()

    def _file(self, daemon):
        return self.dir / f"{daemon}.yaml"

    def pids(self):
        return {name: int((self.dir / f"{name}.pid").read_text().split()[0])
                for name in ("api", "consumer", "redis", "postgres", "kafka")}

    @contextlib.contextmanager
    def configured(self, settings):
        """Live, by the api's file and a refresh; as before afterwards."""
        if not self._before.exists():  # else of a run that was killed
            self._before.write_text(self._file("api").read_text())
        try:
            self.set(settings)
            yield
        finally:
            self._before.rename(self._file("api"))
            self.refresh(self.url)

    def set(self, settings, daemon="api"):
        self.write(settings, daemon)
        self.refresh(self.url if daemon == "api" else self.consumer_url)

    def write(self, settings, daemon="api"):
        """For the next refresh or start."""
        file = self._file(daemon)
        content = yaml.safe_load(file.read_text())
        for key, value in settings.items():
            _put(content, key.split("."), value)
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def refresh(self, url):
        fetch_json(f"{url}/actuator/refresh", "POST", token=self.token)

    def grow_topic(self, n_more):
        """More partitions, live; how many there are then."""
        def topic(*arguments):
            return subprocess.run(
                [ROOT / "build/release/bin/coupon-topic", "--bootstrap-server",
                 f"127.0.0.1:{self.kafka_port}", "--topic",
                 "coupon-issue-requests", *arguments], check=True, text=True,
                capture_output=True, timeout=60).stdout
        now = int(topic("--describe").partition("PartitionCount:")[2].split()[0])
        topic("--alter", "--partitions", str(now + n_more))
        return now + n_more

    def verify(self):
        command = subprocess.run(
            [LOCAL / "stack", "command", "api", str(self.port)], env=self.env,
            check=True, text=True, capture_output=True).stdout.splitlines()
        return _verify(command[1:], self.env)


@contextlib.contextmanager
def private_stack():
    """Servers and daemons of the load test's own, on free ports; not started."""
    servers = stack.Stack(DIRECTORY)
    try:
        # A block has ports for more consumers than the one of a scenario.
        yield Stack(servers.env, servers.consumer_port + 2)
    finally:
        for log in servers.dir.glob("*.log"):
            shutil.copy(log, DIRECTORY)
        servers.close()


def _asked(env, *variables):
    """Values of variables of deploy/local/common.sh."""
    names = " ".join(f'"{name}"' for name in variables)
    return subprocess.run(
        ["bash", "-c", f'source "$0"; printf "%s\\n" {names}', LOCAL / "common.sh"],
        env=env, check=True, text=True, capture_output=True).stdout.splitlines()


def _verify(arguments, env):
    """{"violations": n, "text": ...}; at rest all must add up exactly."""
    try:
        result = subprocess.run(
            [ROOT / "build/release/bin/coupon-verify", *arguments, "--at-rest", "--json"],
            env=env, text=True, capture_output=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"violations": None, "text": str(error)}
    if result.returncode not in (0, 1):
        return {"violations": None, "text": result.stderr.strip()}
    report = json.loads(result.stdout)
    return {"violations": report["violations"],
            "text": result.stdout if result.returncode else ""}


def _put(content, path, value):
    for key in path[:-1]:
        content = content.setdefault(key, {})
    content[path[-1]] = value


def _timestamp(now, seconds):
    at = now + datetime.timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _flat(report):
    """{key: value} of Spring's configprops."""
    found = {}

    def walk(prefix, node):
        if isinstance(node, dict):
            for key, value in node.items():
                walk(f"{prefix}.{key}", value)
        else:
            found[prefix] = node
    for context in report["contexts"].values():
        for bean in context["beans"].values():
            walk(bean["prefix"], bean["properties"])
    return found
