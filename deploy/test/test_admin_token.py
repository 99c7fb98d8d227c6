# SPDX-License-Identifier: MIT
"""The admin token: none, many wrong ones, and requests during the stop."""

import pytest

from service import wait_for


@pytest.mark.parametrize("kind", ["api", "consumer"])
def test_without_a_token_there_are_no_levers(service, kind):
    daemon = getattr(service, kind)()
    assert daemon.stop() == 0
    at = next(i for i, part in enumerate(daemon._command)
              if part.startswith("admin.token-file="))
    del daemon._command[at - 1:at + 1]
    daemon.start().wait_ready()
    for path, body in (("/actuator/refresh", None),
                       ("/actuator/pools/redis/suspend", None),
                       ("/actuator/loggers/ROOT", {"configuredLevel": "off"})):
        reply = daemon.post(path, body, headers={"Authorization": "Bearer x"})
        assert reply.status == 404, path
    assert daemon.get("/actuator/pools").json["pools"]["redis"]["state"] == "RUNNING"


def test_guessing_the_token_is_slowed_down(service):
    api = service.api()
    statuses = [api.post("/actuator/refresh", headers={
        "Authorization": f"Bearer {n}"}).status for n in range(15)]
    assert statuses[:10] == [403] * 10 and statuses[-1] == 429
    assert service.admin(api, "POST", "/actuator/refresh").status == 429
    wait_for(lambda: 'msg="wrong admin token" by=127.0.0.1' in api.log.read_text())


def test_a_refresh_while_it_stops_is_answered(service):
    api = service.api(server__drain_delay="1s")
    api.process.terminate()
    wait_for(lambda: api.get("/actuator/health/readiness").status == 503)
    reply = service.admin(api, "POST", "/actuator/refresh")
    assert (reply.status, reply.json["reason"]) == (503, "DRAINING")
    assert api.process.wait(10) == 0
