# SPDX-License-Identifier: MIT
"""What kustomize makes of deploy/kubernetes, and how to find one's way in it."""

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from stack import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coupon"
STATIC = CACHE / "kubernetes-static-1"
OVERLAYS = ("dev", "prod")
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())
# What a user applies, in this order.
PARTS = ("data", "migration", "")
WORKLOADS = ("Deployment", "StatefulSet", "Job")


def _kustomize():
    own = STATIC / "bin/kustomize"
    if own.exists():
        return [own, "build"]
    return [shutil.which("kubectl"), "kustomize"]


def build_text(root):
    """The manifests of one kustomization, as kustomize prints them."""
    result = subprocess.run([*_kustomize(), root], capture_output=True, text=True,
                            timeout=60)
    assert result.returncode == 0, f"{root}: {result.stderr}"
    return result.stdout


@functools.lru_cache(None)
def _documents(root):
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return json.dumps(list(yaml.load_all(build_text(root), loader)))


def documents(root):
    """The same as objects; each caller gets its own."""
    return json.loads(_documents(root))


def overlay(name, *parts):
    """All documents of an overlay, or of some of its parts."""
    return [doc for part in parts or PARTS
            for doc in documents(KUBERNETES / "overlays" / name / part)]


def component(name):
    """The base with one component, and with what that one changes."""
    names = ("postgres", name) if name == "postgres-backup" else (name,)
    with tempfile.TemporaryDirectory(dir=KUBERNETES, prefix=".test-") as root:
        (Path(root) / "kustomization.yaml").write_text(yaml.safe_dump({
            "resources": ["../base"],
            "components": [f"../components/{n}" for n in names]}))
        return list(yaml.safe_load_all(build_text(root)))


def label(doc):
    return f"{doc['kind']}/{doc['metadata']['name']}"


def of_kind(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def one(docs, kind, name):
    found = [d for d in of_kind(docs, kind) if d["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind}/{name}"
    return found[0]


def pod(doc):
    return doc["spec"]["template"]["spec"]


def pod_labels(doc):
    return doc["spec"]["template"]["metadata"]["labels"]


def matches(selector, labels):
    wanted = selector.get("matchLabels", {})
    assert set(selector) <= {"matchLabels"}, "only matchLabels are understood"
    return all(labels.get(key) == value for key, value in wanted.items())


def containers(doc):
    return pod(doc)["containers"]
