# SPDX-License-Identifier: MIT
"""The README's commands work as printed, and its links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

from stack import ROOT, Stack

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def shell_blocks(page):
    return re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)


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


def test_the_readmes_commands_work_one_after_the_other(running):
    blocks = [b for b in shell_blocks(ROOT / "README.md") if not only_make(b)]
    assert len(blocks) >= 3
    # As printed, but for where this stack is; an answer of 4xx or 5xx fails.
    script = ("".join(blocks)
              .replace("localhost:8080", f"localhost:{running.api_port}")
              .replace("localhost:8081", f"localhost:{running.consumer_port}")
              .replace("build/local/", f"{running.dir}/")
              .replace("curl ", "curl --fail --noproxy '*' "))
    result = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script], cwd=ROOT, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr


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
                        for name in ("Makefile", "deploy/local.mk"))
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
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h).strip().lower()
                              .replace(" ", "-") for h in headings}, target
