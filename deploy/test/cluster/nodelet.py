#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A stand-in for kubelets: pods bound to its nodes run as local processes.

A pod gets a loopback address, 127.0.1.N.  Done as a kubelet does: variables and
references, ConfigMap volumes (arguments are pointed at them), runAsUser,
probes, restarts, preStop, SIGTERM, SIGKILL after the grace, status, leases.
Not done: images (a program stands for each), limits, read-only root, networks.

It writes, for others: targets.json (Prometheus' file_sd), usage.json (CPU and
memory of each pod).

    nodelet.py DIRECTORY API_PORT IMAGE=PROGRAM... -- NODE=ZONE...
"""

import base64
import datetime
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from cluster.kube import MERGE, Kube
from stack import die_with_parent

TICK_S = 0.2
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CAPACITY = {"cpu": "16", "memory": "16Gi", "pods": "110", "ephemeral-storage": "50Gi"}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


def now(digits=False):
    stamp = datetime.datetime.now(datetime.timezone.utc)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if digits else "%Y-%m-%dT%H:%M:%SZ")


def log(*words):
    print(now(digits=True), *words, flush=True)


class Node(threading.Thread):
    """Registers one node and keeps its lease."""

    def __init__(self, kube, name, zone):
        super().__init__(daemon=True)
        self.kube, self.name, self.zone = kube, name, zone

    def run(self):
        self.kube.call("POST", "/api/v1/nodes", {"metadata": {
            "name": self.name, "labels": {
                "kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": self.zone}}})
        self.kube.call("POST", LEASES, {
            "metadata": {"name": self.name},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40}})
        while True:
            self.kube.patch_status(f"/api/v1/nodes/{self.name}", {
                "capacity": CAPACITY, "allocatable": CAPACITY,
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Nodelet",
                                "lastHeartbeatTime": now()}]})
            self.kube.call("PATCH", f"{LEASES}/{self.name}",
                           {"spec": {"renewTime": now(digits=True)}}, MERGE)
            time.sleep(5)


class Probe:
    """One probe of a container, with its thresholds."""

    def __init__(self, spec, address, ports):
        self.get = spec["httpGet"]
        self.spec, self.address = spec, address
        self.port = ports.get(self.get["port"], self.get["port"])
        self.due = self.good = self.bad = 0

    def look(self, at):
        """True or False once the threshold is reached, else None."""
        if at < self.due:
            return None
        self.due = at + self.spec.get("periodSeconds", 10)
        if self._ask():
            self.good, self.bad = self.good + 1, 0
            return True if self.good >= self.spec.get("successThreshold", 1) else None
        self.good, self.bad = 0, self.bad + 1
        return False if self.bad >= self.spec.get("failureThreshold", 3) else None

    def _ask(self):
        connection = http.client.HTTPConnection(
            self.address, self.port, timeout=self.spec.get("timeoutSeconds", 1))
        try:
            connection.request("GET", self.get["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Pod(threading.Thread):
    """One pod of one container, from binding to its end."""

    def __init__(self, nodelet, pod, address):
        super().__init__(daemon=True)
        self.nodelet, self.kube = nodelet, nodelet.kube
        self.pod, self.address = pod, address
        self.meta, self.spec = pod["metadata"], pod["spec"]
        self.namespace, self.name = self.meta["namespace"], self.meta["name"]
        (self.container,) = self.spec["containers"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        self.dir = nodelet.dir / "pods" / self.name
        self.deleted = threading.Event()
        self.process = self.error = self.began = self.reported = None
        self.ready = self.started = False
        self.restarts, self.retry_at = 0, 0

    # ---- what it is started with ----

    def _object(self, kind, name):
        return self.kube.get(f"/api/v1/namespaces/{self.namespace}/{kind}s/{name}")

    def _value(self, source):
        if "fieldRef" in source:
            return {"status.podIP": self.address, "metadata.name": self.name,
                    "metadata.namespace": self.namespace}[source["fieldRef"]["fieldPath"]]
        ref = source["secretKeyRef"]
        return base64.b64decode(self._object("secret", ref["name"])["data"][ref["key"]]
                                ).decode()

    def _environment(self):
        found = {"HOSTNAME": self.name}
        for source in self.container.get("envFrom", []):
            found.update(self._object("configmap", source["configMapRef"]["name"])["data"])
        for variable in self.container.get("env", []):
            found[variable["name"]] = (
                self._value(variable["valueFrom"]) if "valueFrom" in variable
                else variable.get("value", ""))
        return found

    def _arguments(self):
        arguments = self.container.get("args", [])
        volumes = {v["name"]: v for v in self.spec.get("volumes", [])}
        for mount in self.container.get("volumeMounts", []):
            name = volumes[mount["name"]]["configMap"]["name"]
            place = self.dir / mount["name"]
            place.mkdir(parents=True, exist_ok=True)
            for file, text in self._object("configmap", name)["data"].items():
                (place / file).write_text(text)
            arguments = [a.replace(mount["mountPath"], str(place)) for a in arguments]
        image = self.container["image"].rsplit(":", 1)[0]
        return [self.nodelet.images[image], *arguments]

    def _user(self):
        context = {**self.spec.get("securityContext", {}),
                   **self.container.get("securityContext", {})}
        if os.geteuid() or "runAsUser" not in context:
            return {}
        return {"user": context["runAsUser"], "group": context.get("runAsGroup", 0),
                "extra_groups": []}

    def _start(self):
        try:
            environment, arguments = self._environment(), self._arguments()
        except (LookupError, OSError) as error:
            self.error, self.retry_at = f"CreateContainerConfigError: {error}", time.time() + 2
            return
        with (self.dir / "log").open("ab") as output:
            self.process = subprocess.Popen(
                arguments, env=environment, cwd="/", stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
                preexec_fn=die_with_parent, **self._user())
        ports = {p["name"]: p["containerPort"] for p in self.container.get("ports", [])}
        self.probes = {kind: Probe(self.container[kind], self.address, ports)
                       for kind in ("startupProbe", "livenessProbe", "readinessProbe")
                       if kind in self.container}
        self.error, self.began = None, now()
        self.started = "startupProbe" not in self.probes
        self.ready = self.started and "readinessProbe" not in self.probes

    # ---- its life ----

    def run(self):
        log(self.name, "starts on", self.address)
        self.dir.mkdir(parents=True, exist_ok=True)
        while not self.deleted.wait(TICK_S):
            self._tick(time.time())
            self._report()
        self._terminate()

    def _tick(self, at):
        if self.process is None:
            if at >= self.retry_at:
                self._start()
            return
        if self.process.poll() is not None:
            self._exited(at)
        elif not self.started:
            self.started = self._look("startupProbe", at) is True
            self.ready = self.started and "readinessProbe" not in self.probes
        elif self._look("livenessProbe", at) is False:
            log(self.name, "is not alive")
            self.process.kill()
        else:
            seen = self._look("readinessProbe", at)
            self.ready = self.ready if seen is None else seen

    def _look(self, kind, at):
        probe = self.probes.get(kind)
        seen = probe.look(at) if probe else None
        if kind == "startupProbe" and seen is False:
            self.process.kill()
        return seen

    def _exited(self, at):
        status = self.process.returncode
        log(self.name, "exited with", status)
        self.process, self.ready, self.started = None, False, False
        if status == 0 and self.spec.get("restartPolicy") == "Never":
            self.retry_at, self.error = float("inf"), "Completed: "
            return
        self.error = f"CrashLoopBackOff: exited with {status}"
        self.retry_at = at + min(10, 2 ** self.restarts)
        self.restarts += 1

    def _terminate(self):
        grace = self.meta.get("deletionGracePeriodSeconds", 30)
        end = time.monotonic() + grace
        self.ready = False
        self._report()
        log(self.name, "terminates within", grace)
        if self.process and self.process.poll() is None:
            sleep = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
            time.sleep(min(sleep.get("seconds", 0), grace))
            self.process.terminate()
            try:
                log(self.name, "ended with", self.process.wait(max(end - time.monotonic(), 2)))
            except subprocess.TimeoutExpired:
                log(self.name, "KILLED at the end of its grace")
                self.process.kill()
                self.process.wait()
        self.kube.call("DELETE", self.path, {"gracePeriodSeconds": 0})
        self.nodelet.forget(self)

    # ---- what the apiserver hears ----

    def _state(self):
        if self.process and self.process.poll() is None:
            return {"running": {"startedAt": self.began}}
        reason, _, message = (self.error or "ContainerCreating: ").partition(": ")
        if reason == "Completed":
            return {"terminated": {"exitCode": 0, "reason": reason}}
        return {"waiting": {"reason": reason, "message": message}}

    def _report(self):
        state = self._state()
        phase = ("Succeeded" if "terminated" in state else
                 "Running" if self.process or self.restarts else "Pending")
        seen = (phase, json.dumps(state), self.ready, self.restarts)
        if seen == self.reported:
            return
        ready = "True" if self.ready else "False"
        status, _ = self.kube.patch_status(self.path, {
            "phase": phase, "podIP": self.address, "podIPs": [{"ip": self.address}],
            "hostIP": "127.0.0.1", "startTime": self.began or now(),
            "containerStatuses": [{
                "name": self.container["name"], "image": self.container["image"],
                "imageID": "", "ready": self.ready, "started": self.started,
                "restartCount": self.restarts, "state": state}],
            "conditions": [
                {"type": kind, "status": value, "lastTransitionTime": now()}
                for kind, value in (("Initialized", "True"), ("PodScheduled", "True"),
                                    ("ContainersReady", ready), ("Ready", ready))]})
        if status == 200:
            self.reported = seen

    def usage(self):
        """CPU seconds and bytes, or None."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ")[1]
        except (AttributeError, OSError):
            return None
        fields = fields.split()
        return ((int(fields[11]) + int(fields[12])) / TICKS_PER_S,
                int(fields[21]) * PAGE)


class Nodelet:
    def __init__(self, directory, port, images, zones):
        self.dir, self.images = directory, images
        self.kube = Kube(directory / "pki", port)
        self.nodes = [Node(self.kube, name, zone) for name, zone in zones.items()]
        self.pods, self.lock = {}, threading.Lock()
        self.used = {}

    def run(self):
        for node in self.nodes:
            node.start()
        threading.Thread(target=self._publish, daemon=True).start()
        names = {node.name for node in self.nodes}
        for kind, pod in self.kube.watch("/api/v1/pods"):
            if pod["spec"].get("nodeName") in names:
                self._seen(kind, pod)

    def _seen(self, kind, pod):
        uid = pod["metadata"]["uid"]
        with self.lock:
            known = self.pods.get(uid)
            if known is None and kind != "DELETED" and not pod["metadata"].get(
                    "deletionTimestamp"):
                known = self.pods[uid] = Pod(self, pod, self._address())
                known.start()
        if known and pod["metadata"].get("deletionTimestamp"):
            known.meta = pod["metadata"]
            known.deleted.set()

    def _address(self):
        taken = {pod.address for pod in self.pods.values()}
        return next(a for a in (f"127.0.1.{n}" for n in range(1, 255)) if a not in taken)

    def forget(self, pod):
        with self.lock:
            self.pods.pop(pod.meta["uid"], None)

    def _publish(self):
        while True:
            with self.lock:
                pods = list(self.pods.values())
            self._write("targets.json", [t for pod in pods for t in targets(pod)])
            self._write("usage.json", {
                f"{pod.namespace}/{pod.name}": self._rate(pod) for pod in pods
                if pod.process})
            time.sleep(1)

    def _rate(self, pod):
        """Cores over the last five looks, and bytes."""
        history = self.used.setdefault(pod.name, [])
        seen = pod.usage()
        if seen:
            history.append((time.monotonic(), *seen))
        del history[:-6]
        if len(history) < 2:
            return None
        (t0, c0, _), (t1, c1, memory) = history[0], history[-1]
        return {"cores": (c1 - c0) / (t1 - t0), "bytes": memory,
                "labels": pod.meta.get("labels", {}), "container": pod.container["name"]}

    def _write(self, name, value):
        (self.dir / f"{name}.new").write_text(json.dumps(value))
        (self.dir / f"{name}.new").rename(self.dir / name)


def targets(pod):
    """What of a pod is scraped: nothing of a Job's."""
    return [{"targets": [f"{pod.address}:{port['containerPort']}"],
             "labels": {"namespace": pod.namespace, "pod": pod.name,
                        "job": pod.meta["labels"]["app.kubernetes.io/name"]}}
            for port in pod.container.get("ports", [])
            if port["name"] == "management" and pod.process]


def main(directory, port, *rest):
    images, zones = (dict(word.split("=") for word in part.split())
                     for part in " ".join(rest).split(" -- "))
    nodelet = Nodelet(Path(directory), int(port), images, zones)

    def end(*_):
        for pod in nodelet.pods.values():
            if pod.process and pod.process.poll() is None:
                pod.process.kill()
        os._exit(0)
    signal.signal(signal.SIGTERM, end)
    nodelet.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
