# SPDX-License-Identifier: MIT
"""What must hold between documents; each returns what is wrong, one line each."""

import re

import yaml

from cluster.manifests import (WORKLOADS, containers, label, matches, of_kind, one,
                               pod, pod_labels)

MARGIN_S = 5  # between the last second a daemon may take and SIGKILL
POOL_DEFAULTS = {"api": 5, "consumer": 30}
# Pods that operators make, by the labels they give them.
OPERATED = ({"strimzi.io/cluster": "coupon-kafka"}, {"cnpg.io/cluster": "coupon-db"},
            {"k8s-app": "kube-dns"})


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def quantity(text):
    """A Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([\d.]+)(m|[kKMGT]i?)?", str(text)).groups()
    scale = {None: 1, "m": 0.001, **{
        u + i: (1024 if i else 1000) ** n for n, u in enumerate("KMGT", 1)
        for i in ("", "i")}}
    return float(number) * scale[unit]


def config_of(docs, workload):
    """The settings of a daemon, as its ConfigMap has them."""
    name = pod(workload)["volumes"][0]["configMap"]["name"]
    (text,) = one(docs, "ConfigMap", name)["data"].values()
    return yaml.safe_load(text)


def setting(config, key, default):
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return default
        config = config[part]
    return re.sub(r"^\$\{\w+:(.*)\}$", r"\1", str(config))


def _pods(docs):
    return of_kind(docs, *WORKLOADS)


def selectors(docs):
    for doc in _pods(docs):
        selector = doc["spec"].get("selector")
        if selector and not matches(selector, pod_labels(doc)):
            yield f"{label(doc)} does not select its own pods"
        for spread in pod(doc).get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"], pod_labels(doc)):
                yield f"{label(doc)} spreads other pods"
    for doc in of_kind(docs, "Service", "PodDisruptionBudget", "NetworkPolicy",
                       "PodMonitor"):
        yield from _selector(docs, doc)
    for doc in of_kind(docs, "ServiceMonitor"):
        if not any(matches(doc["spec"]["selector"], s["metadata"].get("labels", {}))
                   for s in of_kind(docs, "Service")):
            yield f"{label(doc)} finds no Service"
    for doc in of_kind(docs, "HorizontalPodAutoscaler", "ScaledObject"):
        target = doc["spec"]["scaleTargetRef"]["name"]
        if not any(d["metadata"]["name"] == target for d in of_kind(docs, "Deployment")):
            yield f"{label(doc)} scales nothing"


def _selector(docs, doc):
    selector = doc["spec"].get("selector", doc["spec"].get("podSelector"))
    if doc["kind"] == "Service":
        selector = {"matchLabels": selector}
    if not any(matches(selector, labels) for labels in
               [*map(pod_labels, _pods(docs)), *OPERATED]):
        yield f"{label(doc)} selects no pod"


def _container_ports(doc):
    return {port["name"]: port["containerPort"]
            for c in containers(doc) for port in c.get("ports", [])}


def _probes(docs):
    """An apiserver takes a probe of a port that is not there."""
    for doc in _pods(docs):
        for container in containers(doc):
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                get = container.get(kind, {}).get("httpGet")
                if get and get["port"] not in _container_ports(doc):
                    yield f"{label(doc)}: its {kind} asks at no port of its"


def ports(docs):
    services = {s["metadata"]["name"]: s for s in of_kind(docs, "Service")}
    for service in services.values():
        for doc in _pods(docs):
            if matches({"matchLabels": service["spec"]["selector"]}, pod_labels(doc)):
                for port in service["spec"]["ports"]:
                    if port["targetPort"] not in _container_ports(doc):
                        yield f"{label(service)}: {label(doc)} has no such port"
    for ingress in of_kind(docs, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                if backend["port"]["name"] not in {
                        p["name"] for p in services[backend["name"]]["spec"]["ports"]}:
                    yield f"{label(ingress)}: no such port"
    for route in of_kind(docs, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                if backend["port"] not in {
                        p["port"] for p in services[backend["name"]]["spec"]["ports"]}:
                    yield f"{label(route)}: no such port"
    for policy in of_kind(docs, "NetworkPolicy"):
        for doc in _pods(docs):
            if not matches(policy["spec"]["podSelector"], pod_labels(doc)):
                continue
            for rule in policy["spec"].get("ingress", []):
                for port in rule["ports"]:
                    if port["port"] not in {*_container_ports(doc),
                                            *_container_ports(doc).values()}:
                        yield f"{label(policy)}: {label(doc)} has no port {port['port']}"
    yield from _daemon_ports(docs)
    yield from _probes(docs)


def _daemon_ports(docs):
    """What the configuration listens on is what the manifest names."""
    for doc in of_kind(docs, "Deployment"):
        config, named = config_of(docs, doc), _container_ports(doc)
        server = int(setting(config, "server.port", 0))
        management = int(setting(config, "management.port", 0)) or server
        if named.get("http", server) != server or named["management"] != management:
            yield f"{label(doc)}: {named}, but {server} and {management} in its file"


def grace(docs):
    for doc in of_kind(docs, "Deployment"):
        config = config_of(docs, doc)
        sleep = containers(doc)[0].get("lifecycle", {}).get("preStop", {}).get(
            "sleep", {}).get("seconds", 0)
        needed = sleep + MARGIN_S + seconds(
            setting(config, "server.shutdown-timeout", "25s")) + seconds(
            setting(config, "server.drain-delay", "0s"))
        if pod(doc)["terminationGracePeriodSeconds"] < needed:
            yield f"{label(doc)} needs {needed:.0f} s to stop"


def disruption(docs):
    for budget in of_kind(docs, "PodDisruptionBudget"):
        for doc in of_kind(docs, "Deployment", "StatefulSet"):
            if not matches(budget["spec"]["selector"], pod_labels(doc)):
                continue
            least = _replicas(docs, doc)[0]
            allowed = budget["spec"].get("maxUnavailable", 0)
            if allowed < 1:
                yield f"{label(budget)}: no node could be drained"
            if least > 1 and allowed >= least:
                yield f"{label(budget)}: all {least} pods may be away at once"


def _replicas(docs, doc):
    """The least and the most pods of a workload."""
    for scaler in of_kind(docs, "HorizontalPodAutoscaler", "ScaledObject"):
        if scaler["spec"]["scaleTargetRef"]["name"] == doc["metadata"]["name"]:
            if "replicas" in doc["spec"]:
                raise AssertionError(f"{label(doc)}: replicas beside {label(scaler)}")
            s = scaler["spec"]
            return (s.get("minReplicas", s.get("minReplicaCount")),
                    s.get("maxReplicas", s.get("maxReplicaCount")))
    return doc["spec"]["replicas"], doc["spec"]["replicas"]


def resources(docs):
    for doc in _pods(docs):
        for container in containers(doc):
            r = container.get("resources", {})
            requests, limits = r.get("requests", {}), r.get("limits", {})
            for need in ("cpu", "memory"):
                if need not in requests:
                    yield f"{label(doc)}: no request for {need}"
            if "memory" not in limits:
                yield f"{label(doc)}: no memory limit"
            for name, limit in limits.items():
                if quantity(requests.get(name, 0)) > quantity(limit):
                    yield f"{label(doc)}: requests more {name} than its limit"


def connections(docs):
    """Every pool at its most, in a rollout, fits into max_connections."""
    need = 10  # the migration's, operators' psql, superuser_reserved_connections
    for doc in of_kind(docs, "Deployment"):
        kind = doc["metadata"]["labels"]["app.kubernetes.io/component"]
        pool = int(setting(config_of(docs, doc), "datasource.hikari.maximum-pool-size",
                           POOL_DEFAULTS[kind]))
        surge = doc["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        need += pool * (_replicas(docs, doc)[1] + surge)
    cluster = one(docs, "Cluster", "coupon-db")
    have = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    if need > have:
        yield f"{need} connections, but max_connections is {have}"


def security(docs):
    """Pod Security `restricted`, and a root that nobody writes."""
    for doc in _pods(docs):
        spec, context = pod(doc), pod(doc).get("securityContext", {})
        if not (context.get("runAsNonRoot") and context.get("runAsUser")):
            yield f"{label(doc)}: may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{label(doc)}: no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{label(doc)}: mounts a token"
        if spec.get("enableServiceLinks") is not False:
            yield f"{label(doc)}: takes variables of Services"
        for c in containers(doc):
            if c.get("securityContext") != {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}}:
                yield f"{label(doc)}: container {c['name']} is not confined"


def network(docs):
    """Default-deny both ways."""
    denied = set()
    for policy in of_kind(docs, "NetworkPolicy"):
        if policy["spec"]["podSelector"] == {} and not (
                policy["spec"].get("ingress") or policy["spec"].get("egress")):
            denied |= set(policy["spec"]["policyTypes"])
    if denied != {"Ingress", "Egress"}:
        yield f"only {denied} is denied by default"


ALL = (selectors, ports, grace, disruption, resources, connections, security, network)
