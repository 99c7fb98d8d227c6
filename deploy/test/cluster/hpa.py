# SPDX-License-Identifier: MIT
"""The shipped HPA at work (`make k8s-hpa-test`).

Real api processes as pods, real load, real Prometheus, the shipped adapter
rule, the real HPA controller and scheduler: two pods become ten above 2,000
requests/s and two again, then rolling restarts under 1,000 requests/s.  Nobody
may fail, and afterwards the rows are min(stock, users).

    python3 -m cluster.hpa [RESTARTS]
"""

import json
import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path

import psycopg2
import redis
import yaml

import web
from cluster import drain
from cluster.kube import is_ready
from cluster.manifests import KUBERNETES
from cluster.plane import ControlPlane
from cluster.timeline import Timeline
from service import timestamp, wait_for
from stack import DIRECTORY, ROOT, Stack

HERE = Path(__file__).parent
TOKEN, PASSWORD = "an-admin-token-of-a-test", "a-password-of-a-test"
STOCK = 190_000  # sold out while pods are restarted


class Cluster:
    """The shipped base, running on a control plane of its own."""

    def __init__(self):
        self.servers, self.ports = Stack(), Stack()
        self.dir = self.ports.dir
        self.plane = ControlPlane(self.dir / "cluster", self.ports.base + 1)
        self.kube, self.kubectl = self.plane.kube, self.plane.kubectl
        self.prometheus_port, self.adapter_port = (
            self.ports.base + 8, self.ports.base + 9)

    def start(self):
        self.servers.start("redis", "postgres", "kafka")
        redis.Redis(port=self.servers.redis_port).config_set("requirepass", PASSWORD)
        self.plane.start()
        self._start_nodes()
        self._start_metrics()
        self._deploy()

    def _start_nodes(self):
        programs = self.plane.dir / "bin"  # where uid 65532 may execute them
        programs.mkdir()
        for name in ("api", "consumer"):
            shutil.copy(ROOT / f"build/release/bin/{name}", programs)
        for path in (self.dir, self.plane.dir, programs):
            path.chmod(0o755)
        self._python("nodelet", f"coupon/api={programs}/api",
                     f"coupon/consumer={programs}/consumer", "--",
                     "node-a=zone-a", "node-b=zone-b", "node-c=zone-c")

    def _python(self, module, *arguments):
        self.plane.launch(
            module, sys.executable, "-B", "-m", f"cluster.{module}", self.plane.dir,
            self.plane.base, *arguments, cwd=HERE.parent)

    def _start_metrics(self):
        config = self.plane.dir / "prometheus.yml"
        config.write_text(yaml.safe_dump({
            "global": {"scrape_interval": "5s", "scrape_timeout": "4s"},
            "scrape_configs": [{
                "job_name": "pods", "metrics_path": "/actuator/prometheus",
                "file_sd_configs": [{"files": [str(self.plane.dir / "targets.json")],
                                     "refresh_interval": "2s"}]}]}))
        self.plane.launch(
            "prometheus", "prometheus", f"--config.file={config}",
            f"--storage.tsdb.path={self.plane.dir}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.prometheus_port}")
        self._python("adapter", self.prometheus_port, self.adapter_port,
                     KUBERNETES / "components/prometheus-adapter/rules.yaml")
        self._apply(*self._registrations())

    def _registrations(self):
        """An ExternalName goes where a cluster's network would."""
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
        port = self.adapter_port
        yield {"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "adapter", "namespace": "monitoring"},
               "spec": {"type": "ExternalName", "externalName": "localhost",
                        "ports": [{"port": port}]}}
        for version, group in (("v1beta1", "custom.metrics.k8s.io"),
                               ("v1beta2", "custom.metrics.k8s.io"),
                               ("v1beta1", "metrics.k8s.io")):
            yield {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                   "metadata": {"name": f"{version}.{group}"},
                   "spec": {"group": group, "version": version,
                            "groupPriorityMinimum": 100, "versionPriority": 100,
                            "insecureSkipTLSVerify": True,
                            "service": {"name": "adapter", "namespace": "monitoring",
                                        "port": port}}}

    def _apply(self, *docs):
        self.kubectl("apply", "--validate=strict", "-f", "-",
                     text="\n".join(map(json.dumps, docs)))

    def _deploy(self):
        self.kubectl("apply", "-k", KUBERNETES / "namespace")
        for name, key, value in (("coupon-admin", "token", TOKEN),
                                 ("coupon-redis", "password", PASSWORD),
                                 ("coupon-db-app", "password", PASSWORD)):
            self.kubectl("-n", "coupon", "create", "secret", "generic", name,
                         f"--from-literal={key}={value}")
        overlay = self.plane.dir / "overlay"
        self._write_settings(overlay / "settings")
        self._apply_root(overlay, "migration")
        self.kubectl("-n", "coupon", "wait", "--for=condition=Complete", "--timeout=60s",
                     "job/coupon-migrate")
        self._apply_root(overlay, "base", "components/prometheus-adapter")
        for name in ("coupon-api", "coupon-consumer"):
            self.kubectl("-n", "coupon", "rollout", "status", f"deployment/{name}",
                         "--timeout=90s")

    def _write_settings(self, directory):
        text = (HERE / "settings.yaml.in").read_text()
        for name in ("redis", "kafka", "postgres"):
            port = getattr(self.servers, f"{name}_port")
            text = text.replace(f"@{name.upper()}@", str(port))
        directory.mkdir(parents=True)
        (directory / "kustomization.yaml").write_text(text)

    def _apply_root(self, overlay, name, *components):
        """A root of deploy/kubernetes, with the settings beside it."""
        root = overlay / name
        root.mkdir()
        shipped = os.path.relpath(KUBERNETES, root)
        (root / "kustomization.yaml").write_text(yaml.safe_dump({
            "resources": [f"{shipped}/{name}"],
            "components": [*(f"{shipped}/{c}" for c in components), "../settings"]}))
        self.kubectl("apply", "--validate=strict", "-k", root)

    def pods(self):
        return self.kube.get("/api/v1/namespaces/coupon/pods?labelSelector="
                             "app.kubernetes.io/name%3Dcoupon-api")["items"]

    def hpa(self):
        return self.kube.get("/apis/autoscaling/v2/namespaces/coupon"
                             "/horizontalpodautoscalers/coupon-api")["status"]

    def create_event(self):
        address = next(p for p in self.pods() if is_ready(p))["status"]["podIP"]
        reply = web.request(8080, "POST", "/api/coupons", {
            "name": "test", "total": STOCK, "opensAt": timestamp(-1),
            "closesAt": timestamp(86400)}, {"Authorization": f"Bearer {TOKEN}"},
            host=address)
        assert reply.status == 201, reply
        return reply.json["id"]

    def rows(self, event):
        connection = psycopg2.connect(host="127.0.0.1", user="coupon", dbname="coupon",
                                      port=self.servers.postgres_port)
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM user_coupon WHERE coupon_id = %s",
                               [event])
                return cursor.fetchone()[0]
        finally:
            connection.close()

    def badly_ended(self):
        """Pods that were killed, or ended by themselves, or not with 0."""
        return re.findall(r"\S+ (?:KILLED|is not alive|\w+ with [^0]).*",
                          (self.plane.dir / "nodelet.log").read_text())

    def stop(self):
        self.plane.stop()
        for stack in (self.ports, self.servers):
            stack.dir.mkdir(parents=True, exist_ok=True)
            stack.close()


class Endpoints(threading.Thread):
    """Keeps the file of who is ready, as the controller keeps EndpointSlices."""

    def __init__(self, cluster, path):
        super().__init__(daemon=True)
        self.cluster, self.path = cluster, path
        self.pods = {}
        self.changes = []  # (time, how many there are from then on)

    def run(self):
        for kind, pod in self.cluster.kube.watch(
                "/api/v1/namespaces/coupon/pods?labelSelector="
                "app.kubernetes.io/name%3Dcoupon-api"):
            if kind == "DELETED" or not is_ready(pod):
                self.pods.pop(pod["metadata"]["uid"], None)
            else:
                self.pods[pod["metadata"]["uid"]] = pod["status"]["podIP"]
            if not self.changes or self.changes[-1][1] != len(self.pods):
                self.changes.append((time.time(), len(self.pods)))
            new = self.path.with_suffix(".new")
            new.write_text(json.dumps([(ip, 8080) for ip in self.pods.values()]))
            new.rename(self.path)


class Rehearsal:
    def __init__(self, cluster, directory):
        self.cluster, self.dir = cluster, directory
        self.endpoints = Endpoints(cluster, directory / "endpoints.json")
        self.timeline = Timeline(cluster)

    def run(self, restarts):
        self.endpoints.start()
        event = self.cluster.create_event()
        self.load = drain.start_load(self.dir, event)
        self.timeline.start()
        try:
            self._step(100, 2, 2, 60)
            self._step(2300, 10, 10, 180)
            self._step(50, 2, 2, 240)
            self._step(1000, 5, 10, 120)  # a slow machine's CPU may want a sixth
            for n in range(restarts):
                self._restart(n + 1)
            self._await_the_old_ones()
        finally:
            *seconds, summary = drain.finish(self.load, self.dir)
            self.timeline.stop()
            self.timeline.write(self.dir, seconds)
        print(json.dumps(summary), flush=True)
        self._settle(event, summary)
        return summary

    def _step(self, rate, least, most, timeout):
        """Another rate; until so many pods share it, as the HPA sees them."""
        drain.tell(self.load, rate)
        began = time.time()
        self.timeline.note(f"{rate} requests/s")
        wait_for(lambda: self.timeline.is_shared(rate, least, most), timeout,
                 f"{rate} requests/s shared by {least} to {most}")
        self.timeline.note("shared; " + ", ".join(
            f"{ready} after {at - began:.1f} s"
            for at, ready in self.endpoints.changes if at >= began))

    def _await_the_old_ones(self):
        """The last pods to be replaced end under load, too."""
        wait_for(lambda: all(map(is_ready, self.cluster.pods())), 60,
                 "every pod that was replaced has ended")

    def _restart(self, n):
        began = time.monotonic()
        self.cluster.kubectl("-n", "coupon", "rollout", "restart", "deployment/coupon-api")
        self.cluster.kubectl("-n", "coupon", "rollout", "status", "deployment/coupon-api",
                             "--timeout=110s")
        self.timeline.note(f"restart {n} done in {time.monotonic() - began:.0f} s")

    def _settle(self, event, summary):
        accepted = summary["total"].get("accepted", 0)
        wait_for(lambda: self.cluster.rows(event) >= min(STOCK, accepted), 120, "rows")
        rows = self.cluster.rows(event)
        print(f"{summary['users']} users, {accepted} accepted, {rows} rows of {STOCK}")
        assert rows == accepted == min(STOCK, summary["users"])
        assert not self.cluster.badly_ended()


def main(restarts="10"):
    directory = DIRECTORY / "logs/hpa"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    cluster = Cluster()
    try:
        cluster.start()
        summary = Rehearsal(cluster, directory).run(int(restarts))
    finally:
        cluster.stop()
    failed = drain.failures(summary)
    print(f"scaled 2 -> 10 -> 2, {restarts} rolling restarts: "
          f"{sum(failed.values())} failed {failed or ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
