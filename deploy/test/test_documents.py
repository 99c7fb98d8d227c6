# SPDX-License-Identifier: MIT
"""Commands in documents work as printed, and links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import runbook
from cluster import kubectl, schemas
from cluster.manifests import one, overlay, pod
from drill.catalogue import DRILLS
from runbook import RUNBOOK, RUNBOOKS, anchors
from stack import ROOT, Stack

PAGES = [ROOT / "README.md", ROOT / "deploy/kubernetes/README.md",
         *sorted((ROOT / "docs").rglob("*.md"))]


def shell_blocks(page, kind=""):
    return runbook.blocks(page.read_text(), kind)


def only_make(block):
    return all(line.startswith("make ") for line in block.splitlines())


@pytest.fixture(scope="module")
def running():
    """What `make run` leaves: everything up, one event with id 1."""
    stack = Stack()
    try:
        stack.start()
        subprocess.run([ROOT / "deploy/local/demo"], env=stack.env, check=True,
                       capture_output=True)
        yield stack
    finally:
        stack.close()


@pytest.mark.parametrize("page", [
    ROOT / "README.md", RUNBOOK, ROOT / "docs/event-review.md"],
                         ids=lambda page: page.name)
def test_the_commands_work_one_after_the_other(running, page):
    blocks = [b for b in shell_blocks(page) if not only_make(b)]
    assert blocks
    if page.name == "event-review.md":
        blocks = [*runbook.preamble(), *blocks]
    runbook.run(running, blocks, running.env)


def test_the_runbook_says_the_same_in_korean():
    def commands(page):
        return re.findall(r"^```(sh.*)\n((?:.*\n)*?)```$", page.read_text(), re.M)
    english, korean = map(commands, RUNBOOKS)
    assert len(english) > 30
    assert english == korean
    sections = [len(re.findall("^## ", page.read_text(), re.M))
                for page in RUNBOOKS]
    assert sections[0] == sections[1]


@pytest.mark.parametrize("page", [RUNBOOK, ROOT / "docs/event-review.md"],
                         ids=lambda page: page.name)
def test_what_kubernetes_would_run_names_what_is_there(page):
    """Objects, containers and paths are those of the prod overlay."""
    docs = overlay("prod")
    there = {(doc["kind"], doc["metadata"]["name"]) for doc in docs}
    found = 0
    for block in shell_blocks(page, "kubernetes"):
        assert block.startswith("kubectl ")
        subprocess.run(["bash", "-n", "-c", block], check=True)
        kinds = "|".join(map(re.escape, kubectl.KINDS))
        for kind, name in re.findall(rf"\b({kinds})[/ ]([a-z][\w.-]+)", block):
            assert (kubectl.KINDS[kind], name) in there, block
            found += 1
        for name, container in re.findall(r"deployment/(\S+) (\w+)=", block):
            names = [c["name"] for c in pod(one(docs, "Deployment", name))["containers"]]
            assert container in names, block
        for path in re.findall(r"-k (\S+)|^(deploy/\S+)", block, re.M):
            assert (ROOT / "".join(path)).exists(), block
    assert found >= 3


@pytest.fixture(scope="module")
def prod():
    if kubectl.lacking():
        pytest.skip(kubectl.lacking())
    return overlay("prod")


@pytest.mark.parametrize("page", [
    RUNBOOK, ROOT / "docs/event-review.md", ROOT / "deploy/kubernetes/README.md"],
                         ids=lambda page: page.name)
def test_kubectl_takes_what_it_would_be_given(page, prod):
    calls = [call for block in shell_blocks(page, "kubernetes")
             for call in kubectl.calls(block)]
    assert calls
    tried = 0
    for call in calls:
        kubectl.parse(call)
        made = kubectl.dry_run(call, prod)
        if isinstance(made, dict):
            assert schemas.errors(made) == [], call
        elif made is not None:
            assert one(prod, "ConfigMap", made), call
        tried += made is not None
    assert tried, "an object was changed or read"


@pytest.mark.parametrize("command", [
    "kubectl -n coupon rollout restrat deployment/coupon-api",
    "kubectl -n coupon get pods --selektor=a=b",
    "kubectl -n coupon rollout status",
    "kubectl apply -k deploy/kubernetes/overlays/production",
])
def test_kubectl_refuses_by_itself(command, prod):
    (call,) = kubectl.calls(command)
    with pytest.raises(AssertionError):
        kubectl.parse(call)


@pytest.mark.parametrize("command", [
    "patch hpa coupon-api --type merge -p '{\"spec\":{\"minReplicas\":10}'",
    "patch kafkatopic coupon-issue-requests -p '{\"spec\":{\"partitions\":3}}'",
    "set image deployment/coupon-api apid=coupon/api:0.1.1",
    "get deployment coupon-api -o jsonpath='{.spec[?(@.name==1].name}'",
])
def test_a_dry_run_refuses(command, prod):
    (call,) = kubectl.calls(f"kubectl -n coupon {command}")
    with pytest.raises(AssertionError):
        kubectl.dry_run(call, prod)


def every_alert():
    return [rule for group in yaml.safe_load(
        (ROOT / "deploy/monitoring/rules/alerts.yml").read_text())["groups"]
        for rule in group["rules"]]


def test_every_alert_has_its_section():
    for alert in every_alert():
        name, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert ROOT / name == RUNBOOK
        assert anchor in anchors(RUNBOOK), alert
        for page in RUNBOOKS:
            assert f"`{alert['alert']}`" in page.read_text(), page


def drills(text):
    """What a section says can be practised."""
    return [name for names in re.findall(
                r"(?:Drills?|훈련)\s((?:`[\w-]+`[,\s]*)+)", text)
            for name in re.findall(r"[\w-]+", names)]


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.parent.name)
def test_the_drills_of_the_runbook_exist(page):
    english = list(runbook.sections())
    named = {(english[number], name) for number, text
             in enumerate(runbook.sections(page).values())
             for name in drills(text)}
    of_another = {("Error rate high", "redis-full"),
                  ("Changing pool and limits live", "selling-slow")}
    assert named - of_another == {(d.section, d.name) for d in DRILLS.values()}


def test_every_section_of_an_alert_can_be_practised():
    for heading, text in runbook.sections().items():
        assert drills(text) or not re.search("^Alerts? ", text, re.M), heading


def test_a_drill_ends_with_commands_of_the_runbook():
    for drill in DRILLS.values():
        acts = runbook.part(drill.act or drill.section, "Act")
        by_itself = drill.name in ("rebalance", "redis-forgot")
        assert acts or by_itself, drill.name


def test_the_alerts_of_a_drill_exist():
    names = {alert["alert"] for alert in every_alert()}
    for drill in DRILLS.values():
        assert set(drill.alerts) <= names, drill.name


@pytest.mark.parametrize("daemon", ["api", "consumer"])
def test_every_thread_is_in_threads_md(running, daemon):
    text = (ROOT / "docs/threads.md").read_text()
    known = {re.sub("N$", "[0-9]+", name.replace("*", ".*"))
             for name in re.findall(r"`([\w:*-]+)`", text)}
    tasks = Path(f"/proc/{running.pid(daemon)}/task").iterdir()
    names = {(task / "comm").read_text().strip() for task in tasks}
    unknown = {name for name in names
               if not any(re.fullmatch(pattern, name) for pattern in known)}
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_documents_exist(page):
    makefiles = "".join((ROOT / name).read_text()
                        for name in ("Makefile", "deploy/local.mk", "deploy/kubernetes.mk",
                                     "loadtest/bench.mk", "loadtest/loadtest.mk"))
    for block in filter(only_make, shell_blocks(page)):
        for target in re.findall(r"^make ([\w-]+)", block, re.M):
            assert re.search(rf"^([\w-]+ )*{target}( [\w-]+)*:", makefiles, re.M), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target
