# SPDX-License-Identifier: MIT
"""A kubelet, played: an api is replaced N times under load (`make drain-test`).

As a rollout does it, with the numbers of deploy/kubernetes: the next one is
started, and is an endpoint once it is ready; the one before is taken from the
endpoints and, at the same moment, its preStop sleep begins; then SIGTERM, and
SIGKILL when the grace is over.  Nobody may notice.

    python3 -m cluster.drain [REPETITIONS [RATE]]
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from cluster.manifests import KUBERNETES, containers, documents, one, pod
from cluster.policies import config_of, setting
from service import Service, die_with_parent, wait_for
from stack import DIRECTORY, Stack

LAG_S = 0.5  # until everybody knows that an endpoint is gone
SERVING = 2  # apis at a time
SPARE = 2000  # connections that wait a second for their turn, at 2,000 requests/s


class Kubelet:
    def __init__(self, service, endpoints):
        docs = documents(KUBERNETES / "base")
        deployment = one(docs, "Deployment", "coupon-api")
        self.sleep_s = containers(deployment)[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        self.grace_s = pod(deployment)["terminationGracePeriodSeconds"]
        self.drain_delay = setting(config_of(docs, deployment), "server.drain-delay", "0s")
        self.service, self.endpoints = service, endpoints
        self.serving = []

    def publish(self):
        new = self.endpoints.with_suffix(".new")
        new.write_text(json.dumps([("127.0.0.1", api.port) for api in self.serving]))
        new.rename(self.endpoints)

    def start(self):
        api = self.service.api(server__drain_delay=self.drain_delay)
        self.serving.append(api)
        self.publish()

    def terminate(self, api):
        """How long it took after SIGTERM."""
        began = time.monotonic()
        time.sleep(LAG_S)
        self.serving.remove(api)
        self.publish()
        time.sleep(began + self.sleep_s - time.monotonic())
        asked = time.monotonic()
        status = api.stop(timeout=began + self.grace_s - asked)
        assert status == 0, f"exit status {status}"
        return time.monotonic() - asked


def start_load(directory, event, spare=0):
    with (directory / "load.log").open("w") as log:
        return subprocess.Popen(
            ["/usr/bin/python3", "-B", "-m", "cluster.load", directory / "endpoints.json",
             str(event), str(spare)], stdin=subprocess.PIPE, stdout=log, text=True,
            preexec_fn=die_with_parent)


def tell(load, word):
    load.stdin.write(f"{word}\n")
    load.stdin.flush()


def finish(load, directory):
    """What load.py said of each second, and in sum."""
    tell(load, "end")
    load.wait(30)
    return list(map(json.loads, (directory / "load.log").read_text().splitlines()))


def failures(summary):
    return {what: n for what, n in summary["total"].items() if what.startswith("failed")}


def play(service, directory, repetitions, rate):
    kubelet = Kubelet(service, directory / "endpoints.json")
    for _ in range(SERVING):
        kubelet.start()
    service.consumer()
    event = service.event(kubelet.serving[0], total=2_000_000)
    load = start_load(directory, event, SPARE)
    tell(load, rate)
    for n in range(repetitions):
        kubelet.start()
        took = kubelet.terminate(kubelet.serving[0])
        print(f"{n + 1:3}: ended {took:.1f} s after SIGTERM", flush=True)
    *_, summary = finish(load, directory)
    wait_for(lambda: service.n_rows(event) == summary["total"].get("accepted", 0), 120,
             "every accepted request a row")
    print(json.dumps(summary))
    return summary


def main(repetitions="20", rate="2000"):
    stack = Stack()
    directory = DIRECTORY / "logs/drain"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        stack.start("redis", "postgres", "kafka")
        service = Service(stack, Path(directory))
        try:
            failed = failures(play(service, directory, int(repetitions), float(rate)))
        finally:
            service.close()
    finally:
        stack.close()
    print(f"{repetitions} replacements under {rate} requests/s: "
          f"{sum(failed.values())} failed {failed or ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
