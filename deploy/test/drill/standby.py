# SPDX-License-Identifier: MIT
"""The primary is lost and a standby stands by.

The standby is a stack of its own with nothing but a PostgreSQL, whose data
pg_basebackup has copied.  Once it was promoted its data are the data: at the
end they take the place of the old primary's.
"""

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager

import psycopg2

from service import wait_for
from stack import SCRIPT


class Standby:
    def __init__(self, world):
        self.primary, self.port = world.stack, world.free_port()
        self.dir = world.stack.dir / "standby"
        self.env = dict(world.stack.env, LOCAL_DIR=str(self.dir),
                        LOCAL_POSTGRES_PORT=str(self.port))

    def _run(self, verb):
        subprocess.run([SCRIPT, verb, "postgres"], env=self.env, check=True,
                       stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=120)

    def start(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()
        data = self.dir / "postgres"
        subprocess.run(
            ["pg_basebackup", "-h", "127.0.0.1", "-U", "postgres", "-R", "-D",
             data, "-p", str(self.primary.postgres_port), "-c", "fast"],
            check=True, timeout=120, cwd="/")
        owner = (self.primary.dir / "postgres").stat()
        for path in (data, *data.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)
        self._run("start")

    def ask(self, question):
        session = psycopg2.connect(host="127.0.0.1", port=self.port,
                                   user="postgres", dbname="coupon")
        try:
            with session.cursor() as cursor:
                cursor.execute(question)
                return cursor.fetchone()[0]
        finally:
            session.close()

    def streams(self):
        return self.ask("SELECT count(*) FROM pg_stat_wal_receiver"
                        " WHERE status = 'streaming'")

    def end(self):
        """What was promoted takes the place of the primary."""
        promoted = not self.ask("SELECT pg_is_in_recovery()")
        self._run("stop")
        if promoted:
            self.primary.stop("postgres")
            old = self.primary.dir / "postgres"
            old.rename(self.dir / "old")
            (self.dir / "postgres").rename(old)
        shutil.rmtree(self.dir)


@contextmanager
def primary_lost(world):
    standby = Standby(world)
    hosts = (f"127.0.0.1:{world.stack.postgres_port},"
             f"127.0.0.1:{standby.port}/coupon")
    primary = world.stack.postgres_port
    standby.start()
    try:
        wait_for(standby.streams, 20, "the standby to stream")
        world.stack.env["LOCAL_DAEMON_POSTGRES"] = (
            hosts + "?target_session_attrs=read-write")
        world.stack.start()
        world.elsewhere.append(("127.0.0.1:15432/coupon", hosts))
        world.kill("postgres", signal.SIGKILL)
        world.stack.postgres_port = standby.port
        yield
    finally:
        world.elsewhere.clear()
        world.stack.postgres_port = primary
        world.stack.env.pop("LOCAL_DAEMON_POSTGRES", None)
        standby.end()
        world.stack.start()
