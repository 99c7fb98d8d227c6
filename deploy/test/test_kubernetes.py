# SPDX-License-Identifier: MIT
"""deploy/kubernetes: builds, is valid, and agrees with the daemons it runs."""

import copy
import json
import re
import shlex
import subprocess

import pytest
import yaml

from cluster import policies, schemas
from cluster.manifests import (COMPONENTS, KUBERNETES, OVERLAYS, PARTS, STATIC,
                               component, containers, documents, of_kind, one,
                               overlay, pod)
import web
from service import wait_for
from stack import ENVIRONMENT, ROOT

SERIES = "http_server_requests_seconds_count"
# What kube-score says against us, and why we do it all the same.
ACCEPTED = {
    "container-image-pull-policy":
        "tags are never reused; with Always a registry's outage would be ours",
    "deployment-has-host-podantiaffinity":
        "topologySpreadConstraints do it, by zone and by host",
    "networkpolicy-targets-pod":
        "the pods of coupon-db and coupon-kafka are made by their operators",
}


def everything(name):
    """An overlay as it runs, each document once."""
    found = {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]): d
             for d in overlay(name)}
    return list(found.values())


def changed(docs, kind, name, change):
    docs = copy.deepcopy(docs)
    change(one(docs, kind, name))
    return docs


# ---- each document by itself ----

@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_document_is_valid(name, part):
    docs = overlay(name, part)
    assert docs
    wrong = {d["metadata"]["name"]: e for d in docs if (e := schemas.errors(d))}
    assert not wrong


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_goes_with_the_base(name):
    docs = component(name)
    wrong = {d["metadata"]["name"]: e for d in docs if (e := schemas.errors(d))}
    assert not wrong


@pytest.mark.parametrize("kind, name, path, value", [
    ("Deployment", "coupon-api", "spec.template.spec.readOnlyRootFileSystem", True),
    ("Deployment", "coupon-api", "spec.replica", 3),
    ("HorizontalPodAutoscaler", "coupon-api", "spec.maxReplicas", "three"),
    ("HorizontalPodAutoscaler", "coupon-api", "spec.behaviour", {}),
    ("PodMonitor", "coupon-consumer", "spec.podMetricEndpoints", []),
    ("Cluster", "coupon-db", "spec.postgresql.parameter", {}),
    ("KafkaTopic", "coupon-issue-requests", "spec.partition", 3),
    ("KafkaNodePool", "coupon-broker", "spec.roles", ["brocker"]),
])
def test_a_wrong_field_is_refused(kind, name, path, value):
    doc = copy.deepcopy(one(everything("prod"), kind, name))
    assert not schemas.errors(doc)
    *parents, last = path.split(".")
    place = doc
    for parent in parents:
        place = place[parent]
    place[last] = value
    assert schemas.errors(doc)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_linter_finds_nothing_new(name):
    result = subprocess.run(
        [STATIC / "bin/kube-score", "score", "-", "--output-format", "json",
         "--kubernetes-version", "v1.26", "--ignore-container-cpu-limit"],
        input=yaml.safe_dump_all(everything(name)), text=True, capture_output=True,
        timeout=60)
    found = {(check["check"]["id"], looked_at["object_name"])
             for looked_at in json.loads(result.stdout)
             for check in looked_at["checks"]
             if not check["skipped"] and check["grade"] < 10}
    assert {name for name, _ in found} == set(ACCEPTED)
    assert {"NetworkPolicy/networking.k8s.io/v1/coupon/coupon-db",
            "NetworkPolicy/networking.k8s.io/v1/coupon/coupon-kafka"} == {
        where for name, where in found if name == "networkpolicy-targets-pod"}


# ---- documents among themselves ----

@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("policy", policies.ALL, ids=lambda p: p.__name__)
def test_policy(name, policy):
    assert list(policy(everything(name))) == []


def _set(path, value):
    def change(doc):
        *parents, last = path
        for parent in parents:
            doc = doc[parent]
        doc[last] = value
    return change


POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", 0)


@pytest.mark.parametrize("policy, kind, name, path, value", [
    ("selectors", "Service", "coupon-api", ("spec", "selector"), {"app": "api"}),
    ("selectors", "HorizontalPodAutoscaler", "coupon-api",
     ("spec", "scaleTargetRef", "name"), "api"),
    ("ports", "Service", "coupon-api", ("spec", "ports", 0, "targetPort"), "web"),
    ("ports", "Deployment", "coupon-api", (*CONTAINER, "ports", 1, "containerPort"), 9091),
    ("ports", "Deployment", "coupon-api",
     (*CONTAINER, "livenessProbe", "httpGet", "port"), "mangement"),
    ("grace", "Deployment", "coupon-api", (*POD, "terminationGracePeriodSeconds"), 30),
    ("disruption", "PodDisruptionBudget", "coupon-api", ("spec", "maxUnavailable"), 2),
    ("disruption", "PodDisruptionBudget", "coupon-api", ("spec", "maxUnavailable"), 0),
    ("resources", "Deployment", "coupon-api",
     (*CONTAINER, "resources", "requests", "memory"), "1Gi"),
    ("connections", "HorizontalPodAutoscaler", "coupon-api", ("spec", "maxReplicas"), 40),
    ("security", "Deployment", "coupon-consumer",
     (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), False),
    ("network", "NetworkPolicy", "default-deny", ("spec", "policyTypes"), ["Ingress"]),
])
def test_a_policy_sees(policy, kind, name, path, value):
    docs = changed(everything("prod"), kind, name, _set(path, value))
    assert list(getattr(policies, policy)(docs))


def test_keda_scales_by_the_same_figures():
    hpa = one(documents(KUBERNETES / "base"), "HorizontalPodAutoscaler", "coupon-api")
    docs = component("keda-api")
    assert not of_kind(docs, "HorizontalPodAutoscaler")
    spec = one(docs, "ScaledObject", "coupon-api")["spec"]
    advanced = spec["advanced"]["horizontalPodAutoscalerConfig"]
    cpu, rps = (metric["metadata"] for metric in spec["triggers"])
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (
        hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"])
    assert advanced["behavior"] == hpa["spec"]["behavior"]
    resource, pods = (metric[metric["type"].lower()]
                      for metric in hpa["spec"]["metrics"])
    assert cpu["value"] == str(resource["target"]["averageUtilization"])
    assert rps["threshold"] == pods["target"]["averageValue"]


def test_keda_starts_no_consumer_without_a_partition():
    docs = component("keda-consumer")
    spec = one(docs, "ScaledObject", "coupon-consumer")["spec"]
    assert "replicas" not in one(docs, "Deployment", "coupon-consumer")["spec"]
    assert spec["minReplicaCount"] >= 1
    assert spec["triggers"][0]["metadata"]["allowIdleConsumers"] == "false"


def test_images_are_of_this_version():
    version = re.search(r'"(.*)"', (ROOT / "common/version.h").read_text())[1]
    for name in OVERLAYS:
        images = {c["image"] for d in of_kind(overlay(name, "migration", ""),
                                              "Deployment", "Job")
                  for c in containers(d)}
        assert images == {f"coupon/api:{version}", f"coupon/consumer:{version}"}


# ---- with what is beside them in the tree ----

def test_the_rules_are_those_of_the_local_stack():
    here = KUBERNETES / "components/prometheus-operator"
    made = subprocess.run([here / "make-rules"], check=True, text=True,
                          capture_output=True).stdout
    assert made == (here / "rules.yaml").read_text(), "stale: make docs"


def test_redis_forgets_as_little_as_the_local_one():
    lines = (ROOT / "deploy/local/redis.conf").read_text().splitlines()
    wanted = dict(line.split(" ", 1) for line in lines
                  if line and line[0] != "#" and not line.startswith("bind"))
    redis = one(overlay("prod", "data"), "StatefulSet", "coupon-redis")
    args = containers(redis)[0]["args"]
    given = {key.removeprefix("--"): shlex.quote(value) if value == "" else value
             for key, value in zip(args[::2], args[1::2])}
    wanted = {key: value.replace('""', "''") for key, value in wanted.items()}
    assert wanted.items() <= given.items()


def test_install_commands_name_what_is_there():
    text = (KUBERNETES / "README.md").read_text()
    for path in re.findall(r"deploy/kubernetes/[\w/.-]*\w", text):
        assert (ROOT / path).exists(), path
    made = set(re.findall(r"^\| `(coupon-[\w-]+)` \| `", text, re.M))
    for doc in of_kind(everything("prod"), "Deployment", "StatefulSet", "Job"):
        for container in containers(doc):
            for variable in container.get("env", []):
                secret = variable.get("valueFrom", {}).get("secretKeyRef")
                assert not secret or secret["name"] in made, secret
    for block in re.findall(r"^```sh kubernetes\n(.*?)^```", text, re.M | re.S):
        subprocess.run(["bash", "-n", "-c", block], check=True)


# ---- with the daemons ----

def environment(docs, workload):
    """The variables of a container; secrets have some value."""
    container = containers(workload)[0]
    found = {}
    for source in container["envFrom"]:
        found.update(one(docs, "ConfigMap", source["configMapRef"]["name"])["data"])
    for variable in container["env"]:
        found[variable["name"]] = variable.get("value", "a-secret-of-a-test")
    return found


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("daemon", ["api", "consumer"])
def test_the_daemon_takes_its_configuration(name, daemon, tmp_path):
    docs = everything(name)
    workload = one(docs, "Deployment", f"coupon-{daemon}")
    volume = pod(workload)["volumes"][0]["configMap"]["name"]
    for file, text in one(docs, "ConfigMap", volume)["data"].items():
        (tmp_path / file).write_text(text)
    arguments = [a.replace("/etc/coupon", str(tmp_path))
                 for a in containers(workload)[0]["args"]]

    def check(**more):
        return subprocess.run(
            [ROOT / f"build/release/bin/{daemon}", *arguments, "--check"],
            env={**ENVIRONMENT, **environment(docs, workload), **more},
            text=True, capture_output=True, timeout=20)
    assert check().returncode == 0, check().stderr
    assert "COUPON_REDIS_PORTS" in check(COUPON_REDIS_PORTS="1").stderr


def probes(workload):
    container = containers(workload)[0]
    return {container[kind]["httpGet"]["path"]
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")}


def test_probes_find_their_paths(service):
    management = service.stack.spare_port
    api = service.api(ready=False, management__port=management)
    consumer = service.consumer()
    docs = everything("prod")
    api_paths = probes(one(docs, "Deployment", "coupon-api"))
    consumer_paths = probes(one(docs, "Deployment", "coupon-consumer"))
    assert len(api_paths) == len(consumer_paths) == 2
    wait_ready(api, management)
    for path in api_paths:
        assert at(management, path).status == 200
    for path in consumer_paths:
        assert consumer.get(path).status == 200


def at(port, path):
    return web.request(port, "GET", path)


def wait_ready(api, port):
    def ready():
        assert api.process.poll() is None, api.tail()
        try:
            return at(port, "/actuator/health/readiness").status == 200
        except OSError:
            return False
    wait_for(ready)


def test_the_hpa_has_a_figure_before_the_first_request(service):
    """The adapter's rule finds series of an api that nobody has asked yet."""
    docs = everything("prod")
    rules = yaml.safe_load(
        one(docs, "ConfigMap", "adapter-config")["data"]["config.yaml"])["rules"]
    metric = one(docs, "HorizontalPodAutoscaler", "coupon-api")["spec"]["metrics"][1]
    (rule,) = [r for r in rules if r["name"]["as"] == metric["pods"]["metric"]["name"]]
    assert rule["seriesQuery"].startswith(SERIES + "{")
    assert re.fullmatch(rule["name"]["matches"], SERIES)
    pattern = re.search(r'uri=~"([^"]*)"', rule["metricsQuery"])[1]

    text = service.api().get("/actuator/prometheus").body.decode()
    found = {}
    for labels, value in re.findall(rf"^{SERIES}{{(.*)}} (\S+)$", text, re.M):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if re.fullmatch(pattern, labels["uri"]):
            key = (labels["method"], labels["uri"])
            found[key] = found.get(key, 0) + float(value)
    routes = set(re.findall(r'{ "(\w+)", "(/api/[^"]*)"',
                            (ROOT / "api/routes.c").read_text()))
    assert set(found) >= routes, routes - set(found)
    assert not any(found.values())
