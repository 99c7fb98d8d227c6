# SPDX-License-Identifier: MIT
"""Every overlay against a real kube-apiserver, strictly (`make k8s-validate`).

Server-side dry run with field validation Strict: what a cluster would say.
Then mutants, each of which must be refused: a validator that takes all is
none.
"""

import copy
import json
import sys
import time

import yaml

from cluster.manifests import KUBERNETES, OVERLAYS, PARTS, documents, label, one
from cluster.plane import ControlPlane
from cluster.schemas import custom_resource_definitions
from service import wait_for
from stack import Stack

POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)
DEPLOYMENT = ("Deployment", "coupon-api")
HPA = ("HorizontalPodAutoscaler", "coupon-api")
MUTANTS = (
    ("unknown field", DEPLOYMENT, (*POD, "readOnlyRootFileSystem"), True),
    ("replica for replicas", DEPLOYMENT, ("spec", "replica"), 3),
    ("selector of other pods", DEPLOYMENT, ("spec", "selector", "matchLabels"), {"a": "b"}),
    ("probe without its port", DEPLOYMENT,
     (*CONTAINER, "livenessProbe", "httpGet", "port"), "mangement"),
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


class Validator:
    def __init__(self, plane):
        self.plane = plane

    def install(self):
        """Namespaces and custom resources, as operators would have."""
        self.apply("\n---\n".join(json.dumps(d) for d in custom_resource_definitions()),
                   "--server-side")
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all",
                           "--timeout=60s")
        for name in ("coupon", "monitoring"):
            self.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace",
                                   "metadata": {"name": name}}))
        wait_for(lambda: self.plane.kubectl(
            "-n", "coupon", "get", "serviceaccount", "default", check=False
        ).returncode == 0)

    def apply(self, text, *options):
        return self.plane.kubectl("apply", "-f", "-", *options, text=text)

    def dry_run(self, docs):
        return self.plane.kubectl(
            "apply", "--dry-run=server", "--validate=strict", "-f", "-",
            text=yaml.safe_dump_all(docs), check=False)

    def overlays(self):
        """How many roots are refused, or warned about."""
        wrong = 0
        for name in OVERLAYS:
            for part in PARTS:
                docs = documents(KUBERNETES / "overlays" / name / part)
                began = time.monotonic()
                result = self.dry_run(docs)
                good = result.returncode == 0 and not result.stderr
                wrong += not good
                print(f"{'valid ' if good else 'WRONG '} overlays/{name}/{part:<10} "
                      f"{len(docs):3} documents, {time.monotonic() - began:.2f} s")
                if not good:
                    print(result.stderr)
        return wrong

    def mutants(self):
        """How many are taken."""
        docs = [d for part in PARTS
                for d in documents(KUBERNETES / "overlays/prod" / part)]
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
        wrong, taken = validator.overlays(), validator.mutants()
    finally:
        plane.stop()
        stack.close()
    print(f"{len(OVERLAYS) * len(PARTS) - wrong} overlays valid, {wrong} wrong; "
          f"{len(MUTANTS) - taken} mutants refused, {taken} taken")
    return 1 if wrong or taken else 0


if __name__ == "__main__":
    sys.exit(main())
