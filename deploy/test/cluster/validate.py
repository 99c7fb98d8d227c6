# SPDX-License-Identifier: MIT
"""All of deploy/kubernetes against a real kube-apiserver (`make k8s-validate`).

Server-side dry run with field validation Strict: what a cluster would say.
Then mutants, each of which must be refused: a validator that takes all is
none.
"""

import copy
import json
import sys
import time

import yaml

from cluster.manifests import (COMPONENTS, KUBERNETES, OVERLAYS, PARTS, component,
                               documents, label, of_kind, one, pod, pod_labels)
from cluster.plane import ControlPlane
from cluster.schemas import custom_resource_definitions
from service import wait_for
from stack import Stack

POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
DEPLOYMENT = ("Deployment", "coupon-api")
BARE_POD = ("Pod", "coupon-api")
HPA = ("HorizontalPodAutoscaler", "coupon-api")
MUTANTS = (
    ("unknown field", DEPLOYMENT, (*POD, "readOnlyRootFileSystem"), True),
    ("replica for replicas", DEPLOYMENT, ("spec", "replica"), 3),
    ("selector of other pods", DEPLOYMENT, ("spec", "selector", "matchLabels"), {"a": "b"}),
    ("no name of a port", DEPLOYMENT,
     (*CONTAINER, "livenessProbe", "httpGet", "port"), "management_port"),
    ("more privileges", BARE_POD,
     ("spec", "containers", 0, "securityContext", "allowPrivilegeEscalation"), True),
    ("root", BARE_POD, ("spec", "securityContext", "runAsUser"), 0),
    ("request above limit", DEPLOYMENT,
     (*CONTAINER, "resources", "requests", "memory"), "1Gi"),
    ("bad quantity", DEPLOYMENT, (*CONTAINER, "resources", "requests", "cpu"), "100mm"),
    ("preStop beyond the grace", DEPLOYMENT,
     (*CONTAINER, "lifecycle", "preStop", "sleep", "seconds"), 60),
    ("port out of range", DEPLOYMENT, (*CONTAINER, "ports", 0, "containerPort"), 80800),
    ("a token by another name", DEPLOYMENT, (*POD, "automountServiceToken"), False),
    ("no surge, none unavailable", DEPLOYMENT,
     ("spec", "strategy", "rollingUpdate", "maxSurge"), 0),
    ("more than the most", HPA, ("spec", "minReplicas"), 11),
    ("a number in words", HPA, ("spec", "maxReplicas"), "ten"),
    ("behaviour", HPA, ("spec", "behaviour"), {}),
    ("utilization of nothing", HPA,
     ("spec", "metrics", 0, "resource", "target", "averageUtilization"), 0),
    ("both of a budget", ("PodDisruptionBudget", "coupon-api"),
     ("spec", "minAvailable"), 1),
    ("policy type", ("NetworkPolicy", "default-deny"), ("spec", "policyTypes"), ["Both"]),
    ("service port", ("Service", "coupon-api"), ("spec", "ports", 0, "port"), 0),
    ("path type", ("Ingress", "coupon-api"),
     ("spec", "rules", 0, "http", "paths", 0, "pathType"), "Begin"),
    ("monitor's endpoint", ("PodMonitor", "coupon-consumer"),
     ("spec", "podMetricsEndpoints", 0, "intervall"), "5s"),
    ("rules", ("PrometheusRule", "coupon"), ("spec", "groups", 0, "rules", 0, "foo"), 1),
    ("roles of a broker", ("KafkaNodePool", "coupon-broker"), ("spec", "roles"), ["broke"]),
    ("instances", ("Cluster", "coupon-db"), ("spec", "instances"), -1),
)


def mutate(doc, path, value):
    place = doc
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value


def bare_pod(deployment):
    """What its controller would create: Pod Security looks at nothing else."""
    spec = dict(pod(deployment))
    del spec["serviceAccountName"]
    return {"apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
        "name": deployment["metadata"]["name"], "labels": pod_labels(deployment),
        "namespace": deployment["metadata"]["namespace"]}}


class Validator:
    def __init__(self, plane):
        self.plane = plane

    def install(self):
        """Namespaces and custom resources, as operators would have."""
        self.apply("\n".join(json.dumps(d) for d in custom_resource_definitions()),
                   "--server-side")
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all",
                           "--timeout=60s")
        self.plane.kubectl("apply", "-k", KUBERNETES / "namespace")
        self.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace",
                               "metadata": {"name": "monitoring"}}))
        wait_for(lambda: self.plane.kubectl(
            "-n", "coupon", "get", "serviceaccount", "default", check=False
        ).returncode == 0)

    def apply(self, text, *options):
        return self.plane.kubectl("apply", "-f", "-", *options, text=text)

    def dry_run(self, docs):
        return self.plane.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-",
            text=yaml.safe_dump_all(docs), check=False)

    def roots(self):
        """How many are refused, or warned about."""
        wrong = sum(not self._is_valid(f"components/{name}", component(name))
                    for name in COMPONENTS)
        for name in OVERLAYS:
            for part in PARTS:
                docs = documents(KUBERNETES / "overlays" / name / part)
                docs += map(bare_pod, of_kind(docs, "Deployment"))
                wrong += not self._is_valid(f"overlays/{name}/{part}", docs)
        return wrong

    def _is_valid(self, what, docs):
        began = time.monotonic()
        result = self.dry_run(docs)
        good = result.returncode == 0 and not result.stderr
        print(f"{'valid ' if good else 'WRONG '} {what:<30} {len(docs):3} documents, "
              f"{time.monotonic() - began:.2f} s")
        if not good:
            print(result.stderr)
        return good

    def mutants(self):
        """How many are taken."""
        docs = [d for part in PARTS
                for d in documents(KUBERNETES / "overlays/prod" / part)]
        docs += map(bare_pod, of_kind(docs, "Deployment"))
        taken = 0
        for why, (kind, name), path, value in MUTANTS:
            doc = copy.deepcopy(one(docs, kind, name))
            mutate(doc, path, value)
            result = self.dry_run([doc])
            refused = result.returncode != 0
            taken += not refused
            says = result.stderr.strip().splitlines()[-1][-110:] if refused else ""
            print(f"{'refused' if refused else 'TAKEN  '} {label(doc)}: {why}: {says}")
        return taken


def main():
    stack = Stack()
    plane = ControlPlane(stack.dir / "cluster", stack.base + 1)
    try:
        plane.start()
        validator = Validator(plane)
        validator.install()
        wrong, taken = validator.roots(), validator.mutants()
    finally:
        plane.stop()
        stack.close()
    valid = len(COMPONENTS) + len(OVERLAYS) * len(PARTS) - wrong
    print(f"{valid} components and overlays valid, {wrong} wrong; "
          f"{len(MUTANTS) - taken} mutants refused, {taken} taken")
    return 1 if wrong or taken else 0


if __name__ == "__main__":
    sys.exit(main())
