# SPDX-License-Identifier: MIT
"""The service under test: daemons on an empty database, and its oracle."""

import datetime
import itertools
import json
import shutil
import signal
import subprocess
import time

import psycopg2
import redis

import web
from stack import PATIENCE, ROOT, die_with_parent

_numbers = itertools.count(1)


def wait_for(condition, timeout=20, what=None):
    """The first true value of condition(); fails after `timeout` seconds."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what or condition}"
        time.sleep(0.02)


class Endpoint:
    """What an operator asks a daemon on this port."""

    def __init__(self, port):
        self.port = port

    def get(self, path, **options):
        return web.request(self.port, "GET", path, **options)

    def post(self, path, body=None, **options):
        return web.request(self.port, "POST", path, body, **options)

    def metric(self, name, statistic="VALUE", **tags):
        """One measurement of /actuator/metrics, summed over other tags."""
        query = "&".join(f"tag={key}:{value}" for key, value in tags.items())
        reply = self.get(f"/actuator/metrics/{name}?{query}")
        if reply.status == 404:
            return 0
        assert reply.status == 200, (name, reply)
        values = {m["statistic"]: m["value"] for m in reply.json["measurements"]}
        return values[statistic] if statistic in values else values["COUNT"]

    def partitions(self):
        """How many partitions this consumer owns."""
        return self.metric("kafka.consumer.assigned.partitions")


class Daemon(Endpoint):
    """One api or consumer process."""

    def __init__(self, stack, kind, port, settings, directory, wrap=()):
        super().__init__(port)
        self.kind = kind
        self.log = directory / f"{kind}-{port}.log"
        command = [*wrap, *stack.command(kind, port)]
        # A file of its own, that tests may edit.
        at = command.index("--config") + 1
        self.file = directory / f"{kind}-{port}.yaml"
        shutil.copy(command[at], self.file)
        command[at] = str(self.file)
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self._command, self._env = command, stack.env
        self.process = None
        self.start()

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, preexec_fn=die_with_parent)
        return self

    def wait_ready(self, timeout=20):
        def ready():
            assert self.process.poll() is None, f"{self.kind} ended:\n{self.tail()}"
            try:
                return self.get("/actuator/health/readiness").status == 200
            except OSError:
                return False
        wait_for(ready, timeout, f"{self.kind} ready")
        return self

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=30):
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout * PATIENCE)


class Client:
    """What tests do with the servers of a stack, and read there."""

    def __init__(self, stack):
        self.stack = stack
        self.redis = redis.Redis(port=stack.redis_port, decode_responses=True)

    def connect(self, user="coupon"):
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.stack.postgres_port, user=user,
            dbname="coupon", connect_timeout=5)
        connection.autocommit = True
        return connection

    def query(self, sql, *parameters):
        return self.query_as("coupon", sql, *parameters)

    def query_as(self, user, sql, *parameters):
        connection = self.connect(user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # ---- events ----

    def admin(self, api, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.stack.admin_token()}"}
        return web.request(api.port, method, path, body, headers)

    def event(self, api, total, opens_in=-1.0, closes_in=86400.0):
        """The id of a new event; the schema may still be on its way."""
        body = {"name": "test", "total": total,
                "opensAt": timestamp(opens_in), "closesAt": timestamp(closes_in)}
        headers = {"Authorization": f"Bearer {self.stack.admin_token()}",
                   "Idempotency-Key": f"test-{next(_numbers)}"}

        def create():
            reply = web.request(api.port, "POST", "/api/coupons", body, headers)
            return reply if reply.status != 503 else None
        reply = wait_for(create, what="the event in PostgreSQL")
        assert reply.status == 201, reply
        event = reply.json["id"]
        wait_for(lambda: api.get(f"/api/coupons/{event}").json["state"] != "FENCED",
                 what="the event in Redis")
        return event

    def rows(self, event):
        """[(user, number, request id, accepted at)] in order of number."""
        return self.query(
            "SELECT user_id, seq, request_id, accepted_at FROM user_coupon"
            " WHERE coupon_id = %s ORDER BY seq", event)

    def n_rows(self, event):
        return self.query("SELECT count(*) FROM user_coupon"
                          " WHERE coupon_id = %s", event)[0][0]

    def holders(self, event):
        """Users that Redis knows to hold a number of this event."""
        return {int(user) for user in self.redis.hkeys(f"{{c:{event}}}:users")
                if ":" not in user}

    def settle(self, event, timeout=40):
        """Wait until every accepted request is a row (or a rejection)."""
        def settled():
            holders = len(self.holders(event))
            pending = self.redis.zcard(f"{{c:{event}}}:pending")
            return pending == 0 and holders == self.n_rows(event) + self.n_rejections(event)
        wait_for(settled, timeout, f"event {event} at rest")

    def n_rejections(self, event):
        return self.query("SELECT count(*) FROM issue_rejection"
                          " WHERE coupon_id = %s", event)[0][0]

    def names(self):
        """Settings that the daemons are given beside their files."""
        return {}

    def verify(self, *arguments):
        """(exit status, JSON) of coupon-verify."""
        command = self.stack.command("api", self.stack.api_port)
        command[0] = str(ROOT / "build/release/bin/coupon-verify")
        for key, value in self.names().items():
            command += ["--set", f"{key}={value}"]
        result = subprocess.run(
            [*command, "--json", *arguments], env=self.stack.env, text=True,
            capture_output=True, timeout=60 * PATIENCE)
        assert result.returncode in (0, 1), result.stderr
        return result.returncode, json.loads(result.stdout)


class Service(Client):
    """Daemons around a topic of their own, on empty Redis and PostgreSQL."""

    def __init__(self, stack, directory, partitions=1):
        super().__init__(stack)
        self.directory = directory
        self.daemons = []
        self.wrap = ()  # in front of the command of daemons started from now on
        number = next(_numbers)
        self.topic, self.group = f"issue-{number}", f"group-{number}"
        self._empty()
        for topic, n in ((self.topic, partitions), (f"{self.topic}.dlq", 1)):
            stack.tool("coupon-topic", "--create", "--topic", topic,
                       "--partitions", str(n))

    def _empty(self):
        self.redis.flushall()
        with self.connect("postgres") as connection:
            with connection.cursor() as cursor:
                cursor.execute("DROP SCHEMA public CASCADE;"
                               "CREATE SCHEMA public AUTHORIZATION coupon")

    # ---- daemons ----

    def _add(self, kind, first_port, settings):
        used = {daemon.port for daemon in self.daemons if daemon.process.poll() is None}
        port = next(p for p in range(first_port, first_port + 5) if p not in used)
        daemon = Daemon(self.stack, kind, port, {
            "server.drain-delay": "0s",
            **self.names(),
            "ratelimiter.coupon-issue.enabled": "false",
            **settings,
        }, self.directory, self.wrap)
        self.daemons.append(daemon)
        return daemon

    def names(self):
        return {
            "kafka.topic": self.topic,
            "kafka.dead-letter-topic": f"{self.topic}.dlq",
            "kafka.group-id": self.group,
        }

    def api(self, ready=True, **settings):
        daemon = self._add("api", self.stack.api_port, _dashed(settings))
        return daemon.wait_ready() if ready else daemon

    def consumer(self, ready=True, **settings):
        daemon = self._add("consumer", self.stack.consumer_port, _dashed(settings))
        return daemon.wait_ready() if ready else daemon

    def close(self):
        """Every daemon left ends when asked to, with status 0."""
        running = [d for d in self.daemons if d.process.poll() is None]
        for daemon in running:
            daemon.signal(signal.SIGCONT)
            daemon.process.terminate()
        codes = {}
        for daemon in running:
            try:
                codes[daemon.log.name] = daemon.process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                daemon.kill()
                codes[daemon.log.name] = "no end within 30 s"
        self.redis.close()
        assert not any(codes.values()), codes

    # ---- the oracles ----

    def check(self, event, total, answers, resets=False):
        """G1-G5 and G7 of an event at rest, against what clients were told.

        resets: some requests got no answer; they may have been accepted.
        """
        rows = self.rows(event)
        numbers = [row[1] for row in rows]
        users = {row[0] for row in rows}
        assert len(rows) <= total, "G1: over-issued"
        assert all(1 <= n <= total for n in numbers), "G1: number out of range"
        assert len(set(numbers)) == len(numbers), "G1: number given twice"
        assert len(users) == len(rows), "G2: a user has two"
        self._check_accepted(rows, answers)
        self._check_order(rows, answers)
        refused = {a.user for a in answers if 400 <= a.status < 500
                   and a.body.get("code") != "ALREADY_ISSUED"}
        assert not refused & users, "G5: refused, yet a row"
        assert not refused & self.holders(event), "G5: refused, yet marked"
        assert self.holders(event) == users, "G3: Redis and rows differ"
        if not resets:
            accepted = {a.user for a in answers if a.status == 202}
            assert users == accepted, "G3: rows that nobody was told of"
        self._check_sum(event, len(rows), total)

    def _check_accepted(self, rows, answers):
        by_user = {row[0]: row for row in rows}
        for answer in answers:
            if answer.status == 202:
                row = by_user.get(answer.user)
                assert row, f"G3: user {answer.user} was accepted, no row"
                assert (row[1], row[2]) == (
                    answer.body["seq"], answer.body["requestId"]), "G3: another row"

    def _check_order(self, rows, answers):
        times = [row[3] for row in rows]
        assert times == sorted(times), "G4: accept times fall"
        accepted = sorted((a for a in answers if a.status == 202 and a.tries == 1),
                          key=lambda a: a.body["seq"])
        earliest_done = float("inf")
        for answer in reversed(accepted):
            assert answer.sent < earliest_done, (
                "G4: a request sent after another's answer got a lower number")
            earliest_done = min(earliest_done, answer.done)

    def _check_sum(self, event, n_rows, total):
        api = next(d for d in self.daemons
                   if d.kind == "api" and d.process.poll() is None)
        # Whoever restarted PostgreSQL may be here before the api's pool is back.
        body = wait_for(lambda: (reply := api.get(f"/api/coupons/{event}")).status
                        == 200 and reply, what="the event").json
        assert body["issued"] == n_rows, body
        assert body["issued"] + body["pending"] + body["remaining"] == total, body
        assert body["pending"] == 0, body


def _dashed(settings):
    """redis__pool__max_active=1 -> redis.pool.max-active=1"""
    return {key.replace("__", ".").replace("_", "-"): value
            for key, value in settings.items()}


def timestamp(seconds_from_now):
    now = datetime.datetime.now(datetime.timezone.utc)
    when = now + datetime.timedelta(seconds=seconds_from_now)
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
