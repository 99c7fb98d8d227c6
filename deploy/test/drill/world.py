# SPDX-License-Identifier: MIT
"""What a drill may do to the stack of `make run`; all of it is put back.

A file is copied to DIR/drill before it is changed.  A drill that was killed
leaves the copy behind, and the next one begins by putting it back.
"""

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse

import psycopg2

import web
from monitor import Prometheus
from service import Client, Endpoint, die_with_parent, wait_for
from stack import ROOT, Running

DELAY = ROOT / "build/release/bench/delay"
PLENTY = 1_000_000_000
WHOLE_S = 150  # the reconciler looks once a minute
TOPIC = "coupon-issue-requests"


class World:
    """The stack, with monitoring; `undo` holds what has to be put back."""

    def __init__(self, say):
        self.stack, self.say = Running(), say
        self.client = Client(self.stack)
        self.api = Endpoint(self.stack.api_port)
        self.consumer = Endpoint(self.stack.consumer_port)
        self.prometheus = Prometheus(self.stack.prometheus_port)
        self.undo = contextlib.ExitStack()
        self.event, self.load = None, None
        self.elsewhere = []  # what the runbook prints, what it is in this drill
        self._saved = self.stack.dir / "drill"
        self._lock = None
        self._users = itertools.count(1)

    def __enter__(self):
        self._be_alone()
        self._put_back_leftovers()
        self.stack.start()
        self.stack.start("prometheus", "alertmanager")
        wait_for(self._is_scraped, 30, "both daemons in Prometheus")
        self.event = wait_for(self._new_event, 60, "a new event")
        self.undo.callback(self._repair)
        return self

    def __exit__(self, *error):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # not half put back
        self.say("restore", "putting everything back")
        self.undo.close()

    def _be_alone(self):
        """Two drills would put back each other's files."""
        self.stack.dir.mkdir(parents=True, exist_ok=True)
        self._lock = (self.stack.dir / "drill.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AssertionError("another drill runs on this stack") from None

    def _new_event(self):
        try:
            return self.client.event(self.api, PLENTY)
        except (AssertionError, OSError):
            return None  # an outage that is not over yet

    def _is_scraped(self):
        return len(self.prometheus.query('up{job=~"coupon-.*"} == 1')) == 2

    def _repair(self):
        self.stack.start()
        self.client.admin(self.api, "POST", f"/api/coupons/{self.event}/close")
        wait_for(self._is_whole, WHOLE_S, "coupon-verify without a finding")
        self.say("restore", "the stack is as it was; coupon-verify finds nothing")

    def _is_whole(self):
        try:
            return self.client.verify()[0] == 0
        except AssertionError:
            return False  # it could not ask

    # ---- files ----

    def keep(self, path):
        """Put `path` back at the end as it is now."""
        self._saved.mkdir(exist_ok=True)
        copy = self._saved / urllib.parse.quote(str(path), safe="")
        if not copy.exists():
            shutil.copy2(path, copy.with_suffix(".new"))
            copy.with_suffix(".new").rename(copy)
            self.undo.callback(self._put_back, copy)

    def _put_back(self, copy):
        shutil.move(copy, urllib.parse.unquote(copy.name))

    def _put_back_leftovers(self):
        for copy in self._saved.glob("*"):
            if copy.suffix == ".new":
                copy.unlink()
            else:
                self.say("restore", "an earlier drill was killed: putting back "
                         + urllib.parse.unquote(copy.name))
                self._put_back(copy)

    def configure(self, kind, **settings):
        """Edit build/local/KIND.yaml as an operator would, and refresh."""
        path = self.stack.dir / f"{kind}.yaml"
        self.undo.callback(self._refresh, kind)
        self.keep(path)
        text = path.read_text()
        for key, value in settings.items():
            key = key.replace("__", ".").replace("_", "-")
            last = key.rpartition(".")[2]
            text, n = re.subn(rf"(?m)^(\s+{last}:)[^#\n]*?(\s*#.*)?$",
                              rf"\1 {value}\2", text)
            if n == 0:
                text += f"{key}: {value}\n"
        path.write_text(text)
        self._refresh(kind)

    def _refresh(self, kind):
        self.post(kind, "/actuator/refresh")

    def post(self, kind, path, body=None):
        reply = self.client.admin(getattr(self, kind), "POST", path, body)
        assert reply.status in (200, 204), reply

    def breaker(self, state):
        self.post("api", "/actuator/circuitbreakers/coupon-issue",
                  {"updateState": state})

    # ---- processes ----

    def kill(self, name, number=signal.SIGKILL):
        os.kill(self.stack.pid(name), number)

    def start(self, name):
        self.stack.start(name)

    @contextlib.contextmanager
    def slow(self, server, milliseconds, daemon):
        """Every answer of this server comes later, for one of our daemons."""
        port = self.free_port()
        variable, value = {
            "redis": ("LOCAL_DAEMON_REDIS_PORT", str(port)),
            "postgres": ("LOCAL_DAEMON_POSTGRES", f"127.0.0.1:{port}/coupon"),
        }[server]
        with subprocess.Popen(
                [DELAY, str(port), str(getattr(self.stack, f"{server}_port")),
                 str(milliseconds)], preexec_fn=die_with_parent) as proxy:
            self.stack.env[variable] = value
            try:
                self.stack.start(daemon)
                yield
            finally:
                del self.stack.env[variable]
                try:
                    self.stack.start(daemon)
                finally:
                    proxy.kill()

    @contextlib.contextmanager
    def own_topic(self):
        """Both daemons on a topic of the drill; what it holds is consumed
        before they go back to theirs."""
        topic = f"drill-{os.getpid()}"
        self.stack.tool("coupon-topic", "--create", "--topic", topic,
                        "--partitions", "1")
        self.elsewhere.append((f"--topic {TOPIC}", f"--topic {topic}"))
        try:
            self._move_to(topic)
            yield topic
        finally:
            self.load.stop()
            self.client.settle(self.event, 120)
            self.elsewhere.clear()
            self._move_to(TOPIC)
            self.stack.tool("coupon-topic", "--delete", "--if-exists",
                            "--topic", topic)
            self.client.query("DELETE FROM consumer_offset WHERE topic = %s",
                              topic)

    def _move_to(self, topic):
        for kind in ("api", "consumer"):
            self.configure(kind, kafka__topic=topic)
        self.stack.stop("api", "consumer")
        self.stack.start()

    # ---- users ----

    def users(self, rate, connections=200):
        """New users ask at this rate, until the end of the drill."""
        self.load = web.Load([self.stack.api_port], self.event, self._users,
                             connections=connections, rate=rate)
        self.undo.callback(self.load.stop)

    def try_one(self):
        """A new user is accepted now."""
        try:
            reply = self.api.post(web.ISSUE, {
                "couponId": self.event, "userId": next(self._users)})
        except OSError:
            return None
        return reply.status == 202 and reply.json

    def has_row(self, accepted):
        try:
            return self.client.query(
                "SELECT 1 FROM user_coupon WHERE coupon_id = %s"
                " AND request_id = %s", self.event, accepted["requestId"])
        except psycopg2.OperationalError:
            return None

    @staticmethod
    def free_port():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]
