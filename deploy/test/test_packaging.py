# SPDX-License-Identifier: MIT
"""What leaves the tree: installed files, the source archive, compose.yml."""

import re
import subprocess
import tarfile

from stack import ENVIRONMENT, ROOT, VARIABLES


def run(*command, **env):
    result = subprocess.run(
        command, cwd=ROOT, env={**ENVIRONMENT, **env}, text=True, timeout=120,
        stdin=subprocess.DEVNULL, capture_output=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_install_puts_everything_below_destdir(tmp_path):
    run("make", "install", f"DESTDIR={tmp_path}", "PREFIX=/opt/coupon", *VARIABLES)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
             if path.is_file()}
    assert {"opt/coupon/sbin/api", "opt/coupon/sbin/consumer",
            "opt/coupon/sbin/coupon-topic", "opt/coupon/etc/coupon/api.yaml",
            "opt/coupon/etc/coupon/consumer.yaml"} <= found
    assert "opt/coupon/sbin/coupon-docs" not in found  # of the build only
    for name in ("api", "consumer"):
        run(f"{tmp_path}/opt/coupon/sbin/{name}", "--check", "--config",
            f"{tmp_path}/opt/coupon/etc/coupon/{name}.yaml")
        assert "0.1.0" in run(f"{tmp_path}/opt/coupon/sbin/{name}", "--version")
    run(f"{tmp_path}/opt/coupon/sbin/api", "--check", "--config",
        f"{tmp_path}/opt/coupon/etc/coupon/api.production.yaml")


def test_dist_holds_what_is_committed():
    name = run("make", "--no-print-directory", "dist", *VARIABLES).split()[-1]
    with tarfile.open(ROOT / name) as archive:
        files = {path.partition("/")[2] for path in archive.getnames()}
    assert {"Makefile", "api/issue.lua", "deploy/local/stack"} <= files


def test_nothing_to_do_is_quick_and_does_nothing(tmp_path):
    output = run("make", "all", *VARIABLES, TMPDIR=tmp_path)
    assert "CC" not in output and "LINK" not in output
    assert not list(tmp_path.iterdir())


INTERNAL = {"all", "build-all", "tests", "headers", "docs-check", "run-fuzzers",
            "FORCE", "lint-shell", "console-vendor", "console-pictures",
            "loadtest-programs"}


def test_help_names_every_target_a_user_needs():
    declared = "".join(path.read_text() for path in (
        ROOT / "Makefile", *ROOT.glob("deploy/*.mk"), *ROOT.glob("loadtest/*.mk")))
    targets = {name for names in re.findall(r"^\.PHONY: ((?:[\w -]|\\\n\t)+)$", declared, re.M)
               for name in re.findall(r"[\w-]+", names)} - INTERNAL
    assert len(targets) > 25
    named = {name for names in re.findall(
        r"^ +make ([\w.-]+(?: ?\| ?[\w.-]+)*)", run("make", "help"), re.M)
        for name in re.split(r" ?\| ?", names)}
    assert not targets - named


def test_compose_file_is_valid():
    run("docker-compose", "-f", "deploy/compose.yml", "config", "-q",
        COUPON_ADMIN_TOKEN="x")
