#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A stand-in for prometheus-adapter and metrics-server, which the HPA asks.

It takes the adapter's own rules file and answers custom.metrics.k8s.io out of
Prometheus; metrics.k8s.io out of what nodelet.py measures.

    adapter.py DIRECTORY API_PORT PROMETHEUS_PORT PORT RULES
"""

import datetime
import json
import re
import ssl
import sys
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from cluster.kube import Kube

CUSTOM = re.compile(r"/apis/custom\.metrics\.k8s\.io/(v1beta[12])"
                    r"(?:/namespaces/([^/]+)/pods/([^/]+)/([^/]+))?")
RESOURCE = re.compile(r"/apis/metrics\.k8s\.io/v1beta1(?:/namespaces/([^/]+)/pods)?")


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Rules:
    """The rules of one file, by the name of the metric they make."""

    def __init__(self, path, prometheus):
        self.prometheus = prometheus
        self.rules = {}
        for rule in yaml.safe_load(Path(path).read_text())["rules"]:
            series = re.match(r"[\w:]+", rule["seriesQuery"])[0]
            name = re.sub(rule["name"]["matches"], rule["name"]["as"], series)
            labels = {value["resource"]: key for key, value in
                      rule["resources"]["overrides"].items()}
            self.rules[name] = (series, rule["metricsQuery"], labels)

    def ask(self, metric, namespace, pods):
        """[(pod, value)]"""
        series, query, labels = self.rules[metric]
        query = query.replace("<<.Series>>", series).replace(
            "<<.LabelMatchers>>", f'{labels["namespace"]}="{namespace}",'
            f'{labels["pod"]}=~"{"|".join(pods)}"').replace(
            "<<.GroupBy>>", labels["pod"])
        url = f"{self.prometheus}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            found = json.load(reply)["data"]["result"]
        return [(r["metric"][labels["pod"]], float(r["value"][1])) for r in found]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _answer(self, code, body):
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, code, reason, message):
        self._answer(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "reason": reason, "code": code, "message": message})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path).rstrip("/")
        selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
        custom, resource = CUSTOM.fullmatch(path), RESOURCE.fullmatch(path)
        if custom and not custom[2]:
            self._resources(f"custom.metrics.k8s.io/{custom[1]}", [
                f"pods/{name}" for name in self.server.rules.rules], "MetricValueList")
        elif custom:
            self._custom(*custom.groups(), selector)
        elif resource and not resource[1]:
            self._resources("metrics.k8s.io/v1beta1", ["pods"], "PodMetrics")
        elif resource:
            self._usage(resource[1], selector)
        else:
            self._fail(404, "NotFound", path)

    def _resources(self, version, names, kind):
        self._answer(200, {
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
            "resources": [{"name": name, "singularName": "", "namespaced": True,
                           "kind": kind, "verbs": ["get", "list"]} for name in names]})

    def _custom(self, version, namespace, pod, metric, selector):
        if metric not in self.server.rules.rules:
            self._fail(404, "NotFound", f"no such metric {metric}")
            return
        pods = [pod] if pod != "*" else self.server.pods(namespace, selector)
        found = self.server.rules.ask(metric, namespace, pods)
        if not found:
            self._fail(404, "NotFound", f"no {metric} of these pods")
            return
        named = ({"metricName": metric} if version == "v1beta1" else
                 {"metric": {"name": metric}})
        self._answer(200, {
            "kind": "MetricValueList", "apiVersion": f"custom.metrics.k8s.io/{version}",
            "metadata": {}, "items": [{
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": name,
                                    "apiVersion": "/v1"},
                "timestamp": now(), "value": f"{round(value * 1000)}m", **named}
                for name, value in found]})

    def _usage(self, namespace, selector):
        wanted = dict(word.split("=") for word in selector.split(",") if word)
        used = json.loads((self.server.dir / "usage.json").read_text())
        items = []
        for key, use in used.items():
            if use and key.startswith(f"{namespace}/") and (
                    wanted.items() <= use["labels"].items()):
                items.append({
                    "metadata": {"name": key.partition("/")[2], "namespace": namespace},
                    "timestamp": now(), "window": "5s", "containers": [{
                        "name": use["container"], "usage": {
                            "cpu": f"{round(use['cores'] * 1e9)}n",
                            "memory": str(use["bytes"])}}]})
        self._answer(200, {"kind": "PodMetricsList", "metadata": {},
                           "apiVersion": "metrics.k8s.io/v1beta1", "items": items})


class Server(ThreadingHTTPServer):
    def __init__(self, directory, api_port, prometheus_port, port, rules):
        super().__init__(("127.0.0.1", int(port)), Handler)
        self.dir = Path(directory)
        self.kube = Kube(self.dir / "pki", int(api_port))
        self.rules = Rules(rules, f"http://127.0.0.1:{prometheus_port}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.dir / "pki/server.crt", self.dir / "pki/server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def pods(self, namespace, selector):
        selector = urllib.parse.quote(selector)
        found = self.kube.get(
            f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")
        return [pod["metadata"]["name"] for pod in found["items"]]


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve_forever()
