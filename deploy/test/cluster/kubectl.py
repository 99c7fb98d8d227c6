# SPDX-License-Identifier: MIT
"""The kubectl commands of documents, tried without a cluster.

kubectl itself looks at verbs, flags and arguments before it asks a server, so
one that nobody listens at is enough for that.  What changes an object, or
reads a field of it, is done to the object of the prod overlay (--local).
"""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster.manifests import one
from stack import ENVIRONMENT, ROOT

NOBODY = "--server=http://127.0.0.1:1"
# Instead of kubectl: notes its arguments; who reads a field gets some name.
_NOTE = """
kubectl() {
	printf '%s\\0' "$@" >"$(mktemp -p "$CALLS")"
	[[ "$*" != *jsonpath* ]] || echo some-name
}
export -f kubectl
"""
# As commands write them.
KINDS = {"deployment": "Deployment", "hpa": "HorizontalPodAutoscaler",
         "statefulset": "StatefulSet", "kafkatopic": "KafkaTopic",
         "kafka": "Kafka", "job": "Job", "clusters.postgresql.cnpg.io": "Cluster"}


def lacking():
    """Why nothing can be tried here, or ""."""
    if not shutil.which("kubectl"):
        return "kubectl is not installed"
    client = subprocess.run(["kubectl", "version", "--client"], text=True,
                            capture_output=True, timeout=60).stdout
    minor = re.search(r"Client Version:.*?v1\.(\d+)", client)
    if not minor or int(minor[1]) < 27:
        return "kubectl is older than 1.27: its kustomize cannot build ours"
    return ""


def calls(block):
    """The arguments of each kubectl that a block of shell runs."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["bash", "-euc", _NOTE + block], check=True, cwd=ROOT,
                       env={**ENVIRONMENT, "CALLS": directory},
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
        return sorted(path.read_text().split("\0")[:-1]
                      for path in Path(directory).iterdir())


def _run(arguments, text=""):
    with tempfile.TemporaryDirectory() as home:
        return subprocess.run(
            ["kubectl", *arguments, NOBODY], input=text, text=True, cwd=ROOT,
            capture_output=True, timeout=60,
            env={**ENVIRONMENT, "HOME": home, "KUBECONFIG": "/dev/null"})


def parse(arguments):
    """kubectl understood them: all that it lacks is the server."""
    said = _run(arguments).stderr
    assert re.search(r"127\.0\.0\.1:1\b.*refused", said), (arguments, said)


def dry_run(arguments, docs):
    """What the command prints or makes of its object; None: cannot be tried."""
    found = re.search(r"\b(patch|set image|get) (\S+?)[/ ]([a-z][\w.-]+) (.*)",
                      " ".join(arguments))
    if not found or found[1] == "get" and "jsonpath" not in found[4]:
        return None
    verb, kind, name = found.groups()[:3]
    doc = one(docs, KINDS[kind], name)
    words = [a for a in arguments if a not in ("get", kind, name, f"{kind}/{name}")]
    words += ["patch", "-p", "{}", "--type=merge"] if verb == "get" else ["-o=json"]
    result = _run([*words, "--local", "-f", "-"], json.dumps(doc))
    assert result.returncode == 0, (arguments, result.stderr)
    return result.stdout if verb == "get" else json.loads(result.stdout)
