# SPDX-License-Identifier: MIT
"""docs/runbook.md as data: its sections, their parts, and their commands.

Commands are printed for the default ports; run() takes them to where a stack
really is.  The tests run all of them, a drill those of one section.
"""

import re
import subprocess

from stack import ROOT

RUNBOOK = ROOT / "docs/runbook.md"
RUNBOOKS = [RUNBOOK, ROOT / "docs/ko/runbook.md"]
PARTS = ("Symptom", "Confirm", "Act", "Verify", "Roll back", "Escalate")


def blocks(text, kind=""):
    """The fenced blocks that say `sh`, or `sh KIND`."""
    return re.findall(rf"^```sh{kind and ' ' + kind}\n(.*?)^```", text,
                      re.M | re.S)


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")


def anchors(page):
    return {anchor(h) for h in re.findall(r"^#+ (.*)$", page.read_text(), re.M)}


def sections(page=RUNBOOK):
    """{heading: text} of the second level, in order."""
    parts = re.split(r"^## (.*)\n", page.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def preamble():
    """The variables that the commands need."""
    return blocks(RUNBOOK.read_text().partition("\n## ")[0])


def part(heading, name):
    """The commands below **name.** in one section."""
    marks = "|".join(PARTS)
    found = re.split(rf"\*\*({marks})\.\*\*", sections()[heading])
    return [block for mark, text in zip(found[1::2], found[2::2])
            if mark == name for block in blocks(text)]


def here(script, where, others=()):
    """The script with the ports and the directory of a stack.

    where: an object with dir, api_port, redis_port and so on.
    others: further pairs of what is printed and what is meant.
    """
    for printed, real in (
            *others,
            ("localhost:8080", f"localhost:{where.api_port}"),
            ("localhost:8081", f"localhost:{where.consumer_port}"),
            ("localhost:19090", f"localhost:{where.prometheus_port}"),
            ("localhost:19094", f"localhost:{where.alertmanager_port}"),
            ("16379", str(where.redis_port)),
            ("127.0.0.1:15432", f"127.0.0.1:{where.postgres_port}"),
            ("127.0.0.1:19092", f"127.0.0.1:{where.kafka_port}"),
            ("build/local/", f"{where.dir}/"),
            ("curl ", "curl --fail --noproxy '*' ")):
        script = script.replace(printed, real)
    return script


def run(where, scripts, env, others=(), timeout=120):
    """As printed, but for where this stack is; a 4xx or 5xx fails."""
    result = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", here("".join(scripts), where, others)],
        cwd=ROOT, text=True, env=env, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=timeout)
    assert result.returncode == 0, result.stderr.replace(
        where.admin_token(), "***")
    return result.stdout
