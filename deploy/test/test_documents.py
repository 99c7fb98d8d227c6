# SPDX-License-Identifier: MIT
"""Commands in documents work as printed, and links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from stack import ROOT, Stack

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNBOOK = ROOT / "docs/runbook.md"
RUNBOOKS = [RUNBOOK, ROOT / "docs/ko/runbook.md"]


def shell_blocks(page, kind=""):
    """The fenced blocks that say `sh`, or `sh KIND`."""
    return re.findall(rf"^```sh{kind and ' ' + kind}\n(.*?)^```",
                      page.read_text(), re.M | re.S)


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


def run_blocks(stack, blocks):
    """As printed, but for where this stack is; a 4xx or 5xx fails."""
    script = "".join(blocks)
    for printed, here in (
            ("localhost:8080", f"localhost:{stack.api_port}"),
            ("localhost:8081", f"localhost:{stack.consumer_port}"),
            ("localhost:19090", f"localhost:{stack.prometheus_port}"),
            ("16379", str(stack.redis_port)),
            ("127.0.0.1:15432", f"127.0.0.1:{stack.postgres_port}"),
            ("127.0.0.1:19092", f"127.0.0.1:{stack.kafka_port}"),
            ("build/local/", f"{stack.dir}/"),
            ("curl ", "curl --fail --noproxy '*' ")):
        script = script.replace(printed, here)
    result = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script], cwd=ROOT, text=True,
        env=stack.env, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", [ROOT / "README.md", RUNBOOK],
                         ids=lambda page: page.name)
def test_the_commands_work_one_after_the_other(running, page):
    blocks = [b for b in shell_blocks(page) if not only_make(b)]
    assert len(blocks) >= 3
    run_blocks(running, blocks)


def test_the_runbook_says_the_same_in_korean():
    def commands(page):
        return re.findall(r"^```(sh.*)\n((?:.*\n)*?)```$", page.read_text(), re.M)
    english, korean = map(commands, RUNBOOKS)
    assert len(english) > 30
    assert english == korean
    sections = [len(re.findall("^## ", page.read_text(), re.M))
                for page in RUNBOOKS]
    assert sections[0] == sections[1]


def test_what_kubernetes_would_run_is_well_formed():
    blocks = shell_blocks(RUNBOOK, "kubernetes")
    assert blocks
    for block in blocks:
        assert block.startswith("kubectl ")
        subprocess.run(["bash", "-n", "-c", block], check=True)


def test_every_alert_has_its_section():
    alerts = [rule for group in yaml.safe_load(
        (ROOT / "deploy/monitoring/rules/alerts.yml").read_text())["groups"]
        for rule in group["rules"]]
    for alert in alerts:
        name, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert ROOT / name == RUNBOOK
        assert anchor in anchors(RUNBOOK), alert
        for page in RUNBOOKS:
            assert f"`{alert['alert']}`" in page.read_text(), page


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


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_in_documents_exist(page):
    makefiles = "".join((ROOT / name).read_text()
                        for name in ("Makefile", "deploy/local.mk",
                                       "loadtest/bench.mk"))
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
