# SPDX-License-Identifier: MIT
"""What a different configuration changes, seen from outside."""

import subprocess

from service import timestamp, wait_for
from web import request


def test_without_a_token_there_is_no_admin(service):
    api = service.api(admin__token_file="")
    reply = service.admin(api, "POST", "/api/coupons", {
        "name": "x", "total": 5, "opensAt": timestamp(-1),
        "closesAt": timestamp(60)})
    assert (reply.status, reply.json["code"]) == (404, "NOT_FOUND")


def test_a_management_port_of_its_own(service):
    port = service.stack.spare_port
    api = service.api(ready=False, management__port=port)

    def ready():
        try:
            return request(port, "GET", "/actuator/health/readiness").status == 200
        except OSError:
            return False
    wait_for(ready, what="readiness on the management port")
    assert api.get("/actuator/health").status == 404
    assert request(port, "GET", "/api/coupons").status == 404
    assert request(port, "GET", "/actuator/prometheus").status == 200


def test_either_daemon_migrates_and_only_once(service):
    def migrate(daemon):
        return subprocess.run(
            [*service.stack.command(daemon, service.stack.spare_port), "--migrate"],
            check=True, text=True, stdin=subprocess.DEVNULL, capture_output=True).stdout
    first = migrate("consumer")
    newest = service.query("SELECT max(version) FROM schema_migration")[0][0]
    said = f"schema version {newest}, {{}} migrations applied\n"
    assert (first, migrate("api")) == (said.format(newest), said.format(0))


def test_the_access_log_is_off_and_then_a_sample(service):
    for sample, lines in ((0, 0), (10, 5)):
        api = service.api(server__threads=1, server__access_log_sample=sample)
        for _ in range(50):
            api.get("/api/nothing")
        api.stop()
        assert api.log.read_text().count('msg=request method=GET path=/api/nothing') == lines
        api.log.unlink()
