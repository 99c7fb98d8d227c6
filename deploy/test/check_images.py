# SPDX-License-Identifier: MIT
"""The built images, run as a kubelet would (`make image-test`)."""

import json
import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

import web
from service import wait_for
from stack import ROOT

VERSION = re.search(r'"(.*)"', (ROOT / "common/version.h").read_text())[1]
STORE = os.environ.get("IMAGE_STORE")
OPTIONS = (["--root", f"{STORE}/storage", "--runroot", f"{STORE}/run"]
           if STORE else [])
MEMORY = 192 << 20
CONFINED = [
    "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
    "--security-opt", "no-new-privileges", "--memory", str(MEMORY),
    "--pids-limit", "64", "--network", "host",
    # Without CAP_SYS_RESOURCE podman's own choice is refused.
    "--ulimit", "nofile=16384:16384", "--ulimit", "nproc=4096:4096"]


def podman(*arguments, check=True):
    result = subprocess.run(
        ["podman", *OPTIONS, "--runtime", "runc", "--cgroup-manager", "cgroupfs",
         *arguments], text=True, capture_output=True, timeout=120)
    assert not check or result.returncode == 0, result.stderr
    return result


def image(kind):
    return f"localhost/coupon/{kind}:{VERSION}"


class Container:
    """An api or consumer of the image, on the stack's servers."""

    def __init__(self, service, kind, port):
        self.kind, self.port, self.name = kind, port, f"coupon-test-{kind}-{port}"
        settings = {
            "server.address": "127.0.0.1", "server.port": port,
            "redis.port": service.stack.redis_port,
            "kafka.bootstrap-servers": f"127.0.0.1:{service.stack.kafka_port}",
            "datasource.url": f"postgresql://coupon@127.0.0.1:"
                              f"{service.stack.postgres_port}/coupon",
            "ratelimiter.coupon-issue.enabled": "false",
            "kafka.topic": service.topic, "kafka.group-id": service.group,
            "kafka.dead-letter-topic": f"{service.topic}.dlq"}
        sets = [word for key, value in settings.items()
                for word in ("--set", f"{key}={value}")]
        podman("rm", "-f", self.name, check=False)
        podman("run", "-d", "--name", self.name, *CONFINED, "-e",
               f"COUPON_ADMIN_TOKEN={service.stack.admin_token()}", image(kind),
               "--config", f"/etc/coupon/{kind}.yaml", *sets)
        self.pid = int(self.inspect("{{.State.Pid}}"))

    def get(self, path):
        return web.request(self.port, "GET", path)

    def inspect(self, what):
        return podman("inspect", "--format", what, self.name).stdout.strip()

    def wait_ready(self):
        def ready():
            try:
                return self.get("/actuator/health/readiness").status == 200
            except OSError:
                return False
        wait_for(ready, 60, f"{self.kind} ready: {podman('logs', self.name).stderr}")
        return self

    def proc(self, name):
        return Path(f"/proc/{self.pid}/{name}").read_text()

    def status(self, field):
        return re.search(rf"^{field}:\s*(.*)$", self.proc("status"), re.M)[1].split()

    def remove(self):
        podman("rm", "-f", self.name, check=False)


@pytest.fixture
def run(service):
    made = []
    service.stack.command("api", 1)  # makes the admin token

    def start(kind, port):
        made.append(Container(service, kind, port))
        return made[-1].wait_ready()
    yield start
    for container in made:
        container.remove()


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_it_is_small_and_says_what_it_is(kind):
    (found,) = json.loads(podman("image", "inspect", image(kind)).stdout)
    labels = found["Labels"]
    print(f"{image(kind)}: {found['Size'] / 1e6:.1f} MB")
    assert found["Size"] < 40e6
    assert found["Config"]["User"] == "65532:65532"
    assert labels["org.opencontainers.image.version"] == VERSION
    for name in ("title", "description", "licenses", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"]


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_it_has_no_shell(kind):
    result = podman("run", "--rm", *CONFINED, "--entrypoint", "sh", image(kind),
                    check=False)
    assert result.returncode == 127 and "executable file not found" in result.stderr


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_it_is_confined(run, service, kind):
    container = run(kind, service.stack.spare_port)
    assert container.status("Uid") == container.status("Gid") == ["65532"] * 4
    for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh"):
        assert int(container.status(capabilities)[0], 16) == 0
    assert container.status("NoNewPrivs") == ["1"]
    root = [line.split() for line in container.proc("mountinfo").splitlines()
            if line.split()[4] == "/"]
    assert "ro" in root[-1][5].split(",")
    assert memory_limit(container) == MEMORY


def memory_limit(container):
    """Of its cgroup, in either version."""
    for line in container.proc("cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for file in (f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes",
                     f"/sys/fs/cgroup{path}/memory.max",
                     f"/sys/fs/cgroup/unified{path}/memory.max"):
            if controllers in ("memory", "") and Path(file).exists():
                return int(Path(file).read_text())
    raise AssertionError("no memory cgroup")


def test_the_pair_issues_coupons_and_sigterm_drains(run, service):
    api = run("api", service.stack.spare_port)
    consumer = run("consumer", service.stack.spare_port + 2)
    event = service.event(api, total=100000)
    load = web.Load([api.port], event, range(1, 100001), connections=20)
    wait_for(lambda: load.count(202) > 500)

    began = time.monotonic()
    podman("kill", "--signal", "TERM", api.name)
    wait_for(lambda: api.inspect("{{.State.Status}}") == "exited", 40)
    answers = load.stop()
    print(f"the api ended {time.monotonic() - began:.1f} s after SIGTERM")
    assert api.inspect("{{.State.ExitCode}}") == "0"
    answered = [a for a in answers if a.status]
    outcomes = Counter(a.status for a in answered)
    assert set(outcomes) <= {202, 503}, outcomes
    refused = {a.error.split("(")[0] for a in answers if not a.status}
    assert refused <= {"ConnectionRefusedError"}

    accepted = outcomes[202]
    wait_for(lambda: service.n_rows(event) == accepted, 60, "rows")
    podman("kill", "--signal", "TERM", consumer.name)
    wait_for(lambda: consumer.inspect("{{.State.Status}}") == "exited", 40)
    assert consumer.inspect("{{.State.ExitCode}}") == "0"
