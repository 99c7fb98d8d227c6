# SPDX-License-Identifier: MIT
"""One stack for the run; for each test daemons on empty servers."""

import os

import pytest

from service import Service
from stack import DIRECTORY, Stack

# tmp_path is below build, too: pytest keeps those of the last three runs.
(DIRECTORY / "tmp").mkdir(parents=True, exist_ok=True)
os.environ["PYTEST_DEBUG_TEMPROOT"] = str(DIRECTORY / "tmp")

SERVERS = ("redis", "postgres", "kafka")


@pytest.fixture(scope="session")
def stack():
    stack = Stack()
    try:
        stack.start(*SERVERS)
        yield stack
    finally:
        stack.close()


@pytest.fixture
def make_service(stack, request):
    """Service(partitions=N); closed at the end of the test."""
    stack.repair(*SERVERS)
    made = []
    directory = DIRECTORY / "logs" / request.node.name.replace("/", "_")
    directory.mkdir(parents=True, exist_ok=True)
    for log in directory.glob("*.log"):
        log.unlink()

    def make(**options):
        made.append(Service(stack, directory, **options))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(make_service):
    return make_service()


def pytest_terminal_summary(terminalreporter):
    """The counts for the closing line of deploy/test/run."""
    stats = terminalreporter.stats
    counts = [sum(len(stats.get(kind, ())) for kind in kinds) for kinds in (
        ("passed",), ("failed", "error"), ("skipped",))]
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    (DIRECTORY / "pytest.counts").write_text(
        "{} passed, {} failed, {} skipped\n".format(*counts))
