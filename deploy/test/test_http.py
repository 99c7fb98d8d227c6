# SPDX-License-Identifier: MIT
"""The contract of docs/architecture.md's HTTP table, row by row."""

import itertools
import json
import re
import socket

import pytest

from service import timestamp, wait_for
from web import ISSUE, raw, request, statuses

REQUEST_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


@pytest.fixture(scope="module")
def world(stack, tmp_path_factory):
    """One api, one consumer and one event for all tests of this file."""
    from service import Service
    service = Service(stack, tmp_path_factory.mktemp("http"))
    world = type("World", (), {})()
    world.service, world.api = service, service.api()
    service.consumer()
    world.event = service.event(world.api, total=1000)
    yield world
    service.close()


@pytest.fixture
def user(counter=iter(range(1000, 10 ** 6))):
    return next(counter)


def issue(world, event, user, **headers):
    return request(world.api.port, "POST", ISSUE,
                   {"couponId": event, "userId": user},
                   {name.replace("_", "-"): value for name, value in headers.items()})


def problem(reply, status, code):
    """`reply` is this problem, with every member it must have."""
    assert reply.status == status, reply
    assert reply.headers["content-type"].startswith("application/problem+json")
    body = reply.json
    assert body["status"] == status and body["code"] == code, body
    assert body["type"] and body["title"] and body["detail"] and body["instance"]
    return body


# ---- issuing ----

def test_an_accepted_request_is_202_with_where_to_look(world, user):
    reply = issue(world, world.event, user)
    assert reply.status == 202
    body = reply.json
    assert body["status"] == "PENDING" and body["seq"] >= 1
    assert REQUEST_ID.match(body["requestId"])
    location = reply.headers["location"]
    assert location.startswith(f"/api/user-coupons/{world.event}/{user}")

    issued = wait_for(lambda: (s := world.api.get(location).json)
                      ["status"] == "ISSUED" and s)
    assert issued == {
        "couponId": world.event, "userId": user, "requestId": body["requestId"],
        "seq": body["seq"], "status": "ISSUED", "reason": None,
        "acceptedAt": issued["acceptedAt"], "issuedAt": issued["issuedAt"]}
    assert TIME.match(issued["acceptedAt"]) and TIME.match(issued["issuedAt"])


def test_a_second_request_is_409_with_the_first_ones_id(world, user):
    first = issue(world, world.event, user).json
    reply = issue(world, world.event, user)
    body = problem(reply, 409, "ALREADY_ISSUED")
    assert body["requestId"] == first["requestId"]
    assert "location" in reply.headers
    assert body["outcome"] == "REFUSED"


@pytest.mark.parametrize("quote", ["", '"'])
def test_the_same_key_gets_the_same_202(world, user, quote):
    key = f"{quote}key-{user}{quote}"
    first = issue(world, world.event, user, Idempotency_Key=key)
    again = issue(world, world.event, user, Idempotency_Key=key)
    assert (first.status, again.status) == (202, 202)
    assert first.json == again.json
    assert first.json["requestId"] == f"key-{user}"


def test_another_users_key_is_unrelated(world, user):
    assert issue(world, world.event, user, Idempotency_Key="shared").status == 202
    other = issue(world, world.event, user + 10 ** 7, Idempotency_Key="shared")
    assert other.status == 202


@pytest.mark.parametrize("key", ["", "a b", "x" * 65, "가", '"open'])
def test_a_key_of_the_wrong_form_is_400(world, user, key):
    data = json.dumps({"couponId": world.event, "userId": user})
    reply = raw(world.api.port, (
        f"POST {ISSUE} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        f"Idempotency-Key: {key}\r\n\r\n{data}").encode())
    assert statuses(reply) == [400]


def test_sold_out(world):
    event = world.service.event(world.api, total=1)
    assert issue(world, event, 1).status == 202
    problem(issue(world, event, 2), 409, "SOLD_OUT")
    state = world.api.get(f"/api/coupons/{event}").json
    assert (state["state"], state["remaining"]) == ("SOLD_OUT", 0)
    problem(issue(world, event, 1, Idempotency_Key="k"), 409, "ALREADY_ISSUED")


def test_not_open_yet_says_when(world):
    event = world.service.event(world.api, total=1, opens_in=3600)
    reply = issue(world, event, 1)
    problem(reply, 409, "NOT_OPEN")
    assert 3500 <= int(reply.headers["retry-after"]) <= 3601
    assert world.api.get(f"/api/coupons/{event}").json["state"] == "SCHEDULED"


def test_an_event_opens_and_closes_by_itself(world):
    event = world.service.event(world.api, total=10 ** 6, opens_in=0.5, closes_in=1.5)
    problem(issue(world, event, 1), 409, "NOT_OPEN")
    wait_for(lambda: issue(world, event, 2).status == 202, 5, "open")
    users = itertools.count(3)
    wait_for(lambda: issue(world, event, next(users)).json.get("code") == "CLOSED",
             5, "closed")
    assert world.api.get(f"/api/coupons/{event}").json["state"] == "CLOSED"


def test_an_unknown_event_is_404(world):
    problem(issue(world, 2 ** 62, 1), 404, "COUPON_NOT_FOUND")
    problem(world.api.get(f"/api/coupons/{2 ** 62}"), 404, "COUPON_NOT_FOUND")


@pytest.mark.parametrize("body", [
    "", "{", "[]", "1", "null", '"x"', "{}", '{"couponId":1}', '{"userId":1}',
    '{"couponId":"1","userId":1}', '{"couponId":1.0,"userId":1}',
    '{"couponId":1,"userId":1e3}', '{"couponId":0,"userId":1}',
    '{"couponId":1,"userId":-1}', '{"couponId":1,"userId":9223372036854775808}',
    '{"couponId":1,"userId":123456789012345678901234567890}',
    '{"couponId":1,"userId":1,"userId":2}', '{"couponId":1,"userId":null}',
    '{"couponId":1,"userId":true}', '{"couponId":1,"userId":1}x',
    '{"couponId":1,"userId":01}', '{"couponId":1,"userId":1,}',
    b'{"couponId":1,"userId":1,"x":"\xff"}', '{"x":' + "[" * 2000 + "]" * 2000 + "}",
    '{"couponId":1,"userId":1,"x":"\\ud800"}', b"\x00",
])
def test_a_malformed_body_is_400(world, body):
    reply = request(world.api.port, "POST", ISSUE, body,
                    {"Content-Type": "application/json"})
    problem(reply, 400, "BAD_REQUEST")


def test_unknown_members_and_the_largest_ids_are_taken(world):
    reply = request(
        world.api.port, "POST", ISSUE,
        '{"couponId":%d,"userId":9223372036854775807,"x":[1,{"y":null}]}'
        % world.event, {"Content-Type": "application/json"})
    assert reply.status in (202, 409), reply


def test_a_large_body_is_413_and_the_answer_arrives(world):
    reply = request(world.api.port, "POST", ISSUE, "x" * 300000,
                    {"Content-Type": "application/json"})
    problem(reply, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("headers", [
    {}, {"Content-Type": "text/plain"}, {"Content-Type": "application/jsonx"}])
def test_another_media_type_is_415(world, headers):
    reply = request(world.api.port, "POST", ISSUE, b'{"couponId":1,"userId":1}',
                    headers)
    problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_charset_does_no_harm(world, user):
    reply = request(world.api.port, "POST", ISSUE, json.dumps(
        {"couponId": world.event, "userId": user}),
        {"Content-Type": "application/json; charset=utf-8"})
    assert reply.status == 202


def test_errors_speak_korean_or_english(world):
    detail = {}
    for language in ("ko", "en", "ko-KR,ko;q=0.9,en;q=0.8", "fr"):
        reply = issue(world, 2 ** 62, 1, Accept_Language=language)
        detail[language] = problem(reply, 404, "COUPON_NOT_FOUND")["detail"]
    assert detail["ko"] == "존재하지 않는 쿠폰 이벤트입니다."
    assert detail["ko-KR,ko;q=0.9,en;q=0.8"] == detail["ko"]
    assert detail["en"].isascii()


# ---- queries ----

def test_the_status_of_nobody_is_404(world):
    reply = world.api.get(f"/api/user-coupons/{world.event}/{10 ** 12}")
    problem(reply, 404, "USER_COUPON_NOT_FOUND")


def test_the_status_of_one_request(world, user):
    made = issue(world, world.event, user).json
    path = f"/api/user-coupons/{world.event}/{user}"
    assert world.api.get(f"{path}?requestId={made['requestId']}").status == 200
    assert world.api.get(f"{path}?requestId=other").status == 404


@pytest.mark.parametrize("path", [
    "/api/user-coupons/x/1", "/api/user-coupons/1/0", "/api/user-coupons/1/1.5",
    "/api/user-coupons?userId=x", "/api/user-coupons", "/api/coupons/x",
    "/api/coupons?limit=0", "/api/coupons?limit=101", "/api/coupons?limit=x",
    "/api/coupons?after=!!!", "/api/user-coupons?userId=1&after=AAAA"])
def test_a_malformed_query_is_4xx(world, path):
    reply = world.api.get(path)
    assert reply.status in (400, 404), reply
    problem(reply, reply.status, reply.json["code"])


def test_a_users_coupons_are_paged(world, user):
    events = [world.service.event(world.api, total=5) for _ in range(5)]
    for event in events:
        assert issue(world, event, user).status == 202
    wait_for(lambda: len(world.api.get(
        f"/api/user-coupons?userId={user}").json["items"]) == 5)
    assert sorted(pages(world, f"/api/user-coupons?userId={user}&limit=2",
                        "couponId")) == events


def test_events_are_paged(world):
    made = {world.service.event(world.api, total=5) for _ in range(5)}
    found = pages(world, "/api/coupons?limit=3", "id")
    assert made <= set(found) and len(found) == len(set(found))


def pages(world, path, member):
    found, after = [], ""
    while after is not None:
        page = world.api.get(path + (f"&after={after}" if after else "")).json
        assert page["items"], page
        found += [item[member] for item in page["items"]]
        after = page["next"]
    return found


def test_an_event_adds_up(world, user):
    event = world.service.event(world.api, total=10)
    for n in range(3):
        assert issue(world, event, user + n).status == 202
    world.service.settle(event)
    body = world.api.get(f"/api/coupons/{event}").json
    assert body == {
        "id": event, "name": "test", "total": 10, "issued": 3, "pending": 0,
        "remaining": 7, "state": "OPEN", "opensAt": body["opensAt"],
        "closesAt": body["closesAt"]}
    assert TIME.match(body["opensAt"]) and TIME.match(body["closesAt"])


# ---- admin ----

def admin(world, method, path, body=None):
    return world.service.admin(world.api, method, path, body)


def event_body(**changes):
    body = {"name": "쿠폰", "total": 5, "opensAt": timestamp(-1),
            "closesAt": timestamp(60)}
    body.update(changes)
    return {name: value for name, value in body.items() if value is not ...}


def test_a_new_event_is_201_with_location(world):
    reply = admin(world, "POST", "/api/coupons", event_body())
    assert reply.status == 201
    body = reply.json
    assert reply.headers["location"] == f"/api/coupons/{body['id']}"
    assert (body["name"], body["total"], body["issued"]) == ("쿠폰", 5, 0)
    assert world.api.get(reply.headers["location"]).json == body


@pytest.mark.parametrize("changes", [
    {"total": 0}, {"total": -1}, {"total": 2 ** 31}, {"total": "5"}, {"total": ...},
    {"name": ...}, {"name": 5}, {"opensAt": ...}, {"opensAt": "tomorrow"},
    {"opensAt": "2026-13-01T00:00:00Z"}, {"closesAt": timestamp(-60)}])
def test_an_event_that_makes_no_sense_is_400(world, changes):
    problem(admin(world, "POST", "/api/coupons", event_body(**changes)),
            400, "BAD_REQUEST")


ADMIN = [("POST", "/api/coupons"), ("POST", "/api/coupons/1/open"),
         ("POST", "/api/coupons/1/close"), ("PUT", "/api/coupons/1/total")]


@pytest.mark.parametrize("method,path", ADMIN)
def test_admin_requests_need_the_token(world, method, path):
    reply = request(world.api.port, method, path, {"total": 5})
    problem(reply, 401, "UNAUTHORIZED")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    reply = request(world.api.port, method, path, {"total": 5},
                    {"Authorization": "Bearer wrong"})
    problem(reply, 403, "FORBIDDEN")


@pytest.mark.parametrize("verb", ["open", "close"])
def test_open_and_close_may_be_repeated(world, verb):
    event = world.service.event(world.api, total=5, opens_in=3600, closes_in=7200)
    first = admin(world, "POST", f"/api/coupons/{event}/{verb}")
    again = admin(world, "POST", f"/api/coupons/{event}/{verb}")
    assert (first.status, again.status) == (200, 200), (first, again)
    assert first.json == again.json
    assert first.json["state"] == {"open": "OPEN", "close": "CLOSED"}[verb]


def test_opening_lets_users_in_and_closing_ends_it(world):
    event = world.service.event(world.api, total=5, opens_in=3600, closes_in=7200)
    problem(issue(world, event, 1), 409, "NOT_OPEN")
    assert admin(world, "POST", f"/api/coupons/{event}/open").status == 200
    assert issue(world, event, 1).status == 202
    assert admin(world, "POST", f"/api/coupons/{event}/close").status == 200
    problem(issue(world, event, 2), 409, "CLOSED")
    problem(issue(world, event, 1), 409, "ALREADY_ISSUED")


def test_what_is_closed_stays_closed(world):
    event = world.service.event(world.api, total=5)
    admin(world, "POST", f"/api/coupons/{event}/close")
    problem(admin(world, "POST", f"/api/coupons/{event}/open"), 409, "INVALID_STATE")
    problem(admin(world, "PUT", f"/api/coupons/{event}/total", {"total": 9}),
            409, "INVALID_STATE")


def test_a_total_is_absolute_and_never_shrinks(world):
    event = world.service.event(world.api, total=5)
    path = f"/api/coupons/{event}/total"
    for _ in range(2):
        reply = admin(world, "PUT", path, {"total": 8})
        assert (reply.status, reply.json["total"]) == (200, 8)
    reply = admin(world, "PUT", path, {"total": 7})
    assert reply.status in (400, 409), reply
    assert world.api.get(f"/api/coupons/{event}").json["total"] == 8


@pytest.mark.parametrize("method,path", ADMIN[1:])
def test_admin_requests_for_no_event_are_404(world, method, path):
    reply = admin(world, method, path.replace("/1/", f"/{2 ** 62}/"),
                  {"total": 5} if method == "PUT" else None)
    problem(reply, 404, "COUPON_NOT_FOUND")


# ---- methods and framing ----

@pytest.mark.parametrize("path", [
    "/api/coupons", "/actuator/health", "/actuator/metrics", "/actuator/prometheus"])
def test_head_is_get_without_the_body(world, path):
    get, head = (request(world.api.port, m, path) for m in ("GET", "HEAD"))
    assert head.status == get.status == 200
    assert head.body == b""
    assert head.headers["content-type"] == get.headers["content-type"]


def test_options_and_other_methods_name_what_is_allowed(world):
    reply = request(world.api.port, "OPTIONS", ISSUE)
    assert reply.status == 204 and "POST" in reply.headers["allow"]
    reply = request(world.api.port, "DELETE", ISSUE)
    problem(reply, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in reply.headers["allow"]
    assert "GET" in request(
        world.api.port, "DELETE", "/api/coupons").headers["allow"]


@pytest.mark.parametrize("path", ["/", "/api", "/nothing", "/api/coupons/1/2/3",
                                  "/actuator/nothing"])
def test_an_unknown_path_is_404(world, path):
    problem(world.api.get(path), 404, "NOT_FOUND")


BODY = b'{"couponId":1,"userId":1}'


@pytest.mark.parametrize("head", [
    b"Content-Length: 25\r\nTransfer-Encoding: chunked\r\n",
    b"Content-Length: 25\r\nContent-Length: 26\r\n",
    b"Content-Length: 25, 25\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x19\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
])
def test_ambiguous_framing_is_refused_and_the_connection_closed(world, head):
    second = b"GET /actuator/health/liveness HTTP/1.1\r\nHost: t\r\n\r\n"
    data = raw(world.api.port, b"POST %s HTTP/1.1\r\nHost: t\r\n"
               b"Content-Type: application/json\r\n%s\r\n%s%s"
               % (ISSUE.encode(), head, BODY, second))
    # libmicrohttpd 0.9.75 sends the head of some of these answers twice, so
    # this looks at every status line: none may be of the second request.
    found = re.findall(rb"HTTP/1.1 (\d+)", data)
    assert set(found) <= {b"400", b"413", b"501"} and len(found) <= 2, data


def test_pipelined_requests_are_answered_in_order(world):
    paths = (b"/actuator/health/liveness", b"/nothing", b"/actuator/health/liveness")
    data = raw(world.api.port, b"".join(
        b"GET %s HTTP/1.1\r\nHost: t\r\n%s\r\n"
        % (path, b"Connection: close\r\n" if n == 2 else b"")
        for n, path in enumerate(paths)))
    assert statuses(data) == [200, 404, 200]


def test_large_headers_are_refused(world):
    data = raw(world.api.port, b"GET /api/coupons HTTP/1.1\r\nHost: t\r\nX: %s\r\n\r\n"
               % (b"x" * 100000))
    assert statuses(data) in ([431], [413], [400]), data[:200]


@pytest.mark.parametrize("data", [
    b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 1000, b"GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n", b"POST " + b"/" * 70000],
    ids=["blank", "no path", "tls", "version", "zeros", "escape", "endless path"])
def test_garbage_does_not_hurt(world, data):
    try:
        raw(world.api.port, data, timeout=0.5)
    except OSError:
        pass  # reset, or it waits for more: its right
    assert world.api.get("/actuator/health/liveness").status == 200


def test_a_slow_body_waits_and_a_half_one_is_dropped(world, user):
    data = json.dumps({"couponId": world.event, "userId": user}).encode()
    with socket.create_connection(("127.0.0.1", world.api.port), 5) as sock:
        sock.sendall(b"POST %s HTTP/1.1\r\nHost: t\r\nContent-Type: application/json"
                     b"\r\nContent-Length: %d\r\n\r\n" % (ISSUE.encode(), len(data)))
        sock.sendall(data[:10])
        assert world.api.get("/actuator/health/liveness").status == 200
        sock.sendall(data[10:])
        assert sock.recv(100).startswith(b"HTTP/1.1 202")
