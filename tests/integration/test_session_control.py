"""Upstreams that sign users in and out with a login form of their own, behind real gateways."""

from __future__ import annotations

import asyncio
import json
from asyncio import to_thread
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from gateway.stores.keeper import Keeper
from tests.gateway_process import GatewayProcess
from tests.integration.browser import Visitor
from tests.integration.wire import OK, Answer, Client, Received, Upstream, answering
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "for tests only: at least 32 characters"
CONFIG = f"""\
version: 1
server: {{listen: 127.0.0.1:${{PORT}}, admin: 127.0.0.1:${{ADMIN_PORT}}}}
session:
  store: "sqlite:///${{STORE}}"
  secret: "{SECRET}"
  max_age: 1d
  remember: ask
  anonymous: true
  store_timeout: 5s
roles: {{admin: {{permissions: ["reports:write"]}}}}
upstreams: {{app: "${{UPSTREAM}}"}}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /form/**, access: public, session_control: true}}
  - {{path: /public/**, access: public}}
  - {{path: /optional/**, access: optional, session_control: true}}
  - {{path: /app/**, access: login, session_control: true}}
  - {{path: /read/**, access: login}}
  - {{path: /admin/**, access: login, role: admin}}
"""
PRIVATE = "whispered-to-nobody-else"
ADA: Mapping[str, Any] = {
    "id": "ada",
    "name": "Ada L.",
    "email": "ada@example.com",
    "roles": ["editor"],
}


@pytest.fixture(scope="module")
def both(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways on one store."""
    folders = [tmp_path_factory.mktemp("gateway") for _ in range(2)]
    place = {"UPSTREAM": running_upstream.url, "STORE": folders[0] / "sessions.db"}
    with (
        GatewayProcess(folders[0], CONFIG, **place) as first,
        GatewayProcess(folders[1], CONFIG, **place) as second,
    ):
        yield first, second


@pytest.fixture(scope="module")
def running_gateway(both: tuple[GatewayProcess, GatewayProcess]) -> GatewayProcess:
    return both[0]


@pytest.fixture
def other(gateway: GatewayProcess, both: tuple[GatewayProcess, GatewayProcess]) -> GatewayProcess:
    return both[1]


def saying(*fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Length: 2", *fields, "", "ok"]
    return "\r\n".join(lines).encode()


def create(user: Mapping[str, Any] = ADA, **more: Any) -> str:
    return "X-Session-Create: " + json.dumps({"user": dict(user), **more})


def update(**patch: Any) -> str:
    return "X-Session-Update: " + json.dumps(patch)


DESTROY = "X-Session-Destroy: 1"
OK_LINE = "X-Other: 1"


async def ask(gateway: GatewayProcess, path: str, token: str = "", *lines: str) -> Answer:
    fields = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: */*", *lines]
    if token:
        fields.append(f"Cookie: gateway_session={token}")
    async with Client(gateway.port) as client:
        return await client.ask("\r\n".join([*fields, "", ""]))


def cookie_of(answer: Answer) -> str:
    [cookie] = [c for c in answer.fields.all("Set-Cookie") if c.startswith("gateway_session=")]
    return cookie


def token_of(answer: Answer) -> str:
    return cookie_of(answer).partition("=")[2].partition(";")[0]


async def told(
    gateway: GatewayProcess, upstream: Upstream, *fields: str, path: str = "/app/x", token: str = ""
) -> Answer:
    """Ask for something whose answer has these fields."""
    upstream.handler = answering(saying(*fields))
    answer = await ask(gateway, path, token)
    upstream.handler = answering(OK)
    assert not [name for name in answer.fields.names() if name.startswith("x-session-")]
    return answer


async def signed_in(gateway: GatewayProcess, upstream: Upstream, **user: Any) -> str:
    answer = await told(gateway, upstream, create({**ADA, **user}), path="/form/x")
    assert answer.status == 200
    return token_of(answer)


async def status(gateway: GatewayProcess, token: str, path: str = "/read/x") -> int:
    return (await ask(gateway, path, token)).status


# --- a login form of the application's own ---------------------------------------------------


async def app(request: Received) -> None:
    """An application as there are many: a form, a page, a link to leave."""
    form = parse_qs((await request.read()).decode())
    if request.target == "/form/login" and form.get("password") == ["correct horse"]:
        session = {"user": ADA, "data": {"cart": [1]}, "remember": "keep" in form}
        answer = saying(
            f"X-Session-Create: {json.dumps(session)}",
            "Location: /app/home",
            status="303 See Other",
        )
    elif request.target == "/form/login":
        answer = saying("Content-Type: text/html")
    elif request.target == "/app/promote":
        answer = saying(update(user={"roles": ["editor", "admin"]}))
    elif request.target == "/app/logout":
        answer = saying(DESTROY, "Location: /form/login", status="303 See Other")
    else:
        name, roles = request.get("X-User-Name"), request.get("X-User-Roles")
        body = f"{name}: {roles}".encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    await request.peer.send(answer)


async def test_an_application_keeps_its_own_login_form(
    gateway: GatewayProcess, other: GatewayProcess, upstream: Upstream
) -> None:
    upstream.handler = app
    here = Visitor(gateway.port)
    there = Visitor(other.port, here.cookies)

    assert (await to_thread(here.get, "/app/home")).status == 302
    wrong = await to_thread(here.post, "/form/login", {"user": "ada", "password": "?"})
    assert (wrong.status, here.cookies) == (200, {})

    right = await to_thread(here.post, "/form/login", {"user": "ada", "password": "correct horse"})
    assert (right.status, right.headers["Location"]) == (303, "/app/home")
    for visitor in here, there:
        page = await to_thread(visitor.get, "/app/home")
        assert (page.status, page.text) == (200, "Ada L.: editor")
        assert (await to_thread(visitor.get, "/admin/x")).status == 403
        described = (await to_thread(visitor.get, "/_gateway/auth/session")).json()
        assert described["user"]["provider"] == "upstream:app"

    before = dict(here.cookies)
    await to_thread(here.get, "/app/promote")
    assert here.cookies != before
    for visitor in here, there:
        assert (await to_thread(visitor.get, "/admin/x")).text == "Ada L.: editor,admin"
    for gateway_of_before in gateway, other:
        stolen = Visitor(gateway_of_before.port, dict(before))
        await wait_until_status(stolen, 401)

    left = await to_thread(here.get, "/app/logout")
    assert (left.status, here.cookies) == (303, {})
    await wait_until_status(Visitor(other.port, dict(there.cookies)), 401)


async def test_so_it_does_where_sessions_are_in_their_cookies(
    running_upstream: Upstream, upstream: Upstream, tmp_path: Path
) -> None:
    config = CONFIG.replace("session:\n", "session:\n  strategy: jwt\n")
    place = {"UPSTREAM": running_upstream.url, "STORE": tmp_path / "sessions.db"}
    with GatewayProcess(tmp_path, config, **place) as gateway:
        upstream.handler = app
        visitor = Visitor(gateway.port)
        form = {"user": "ada", "password": "correct horse"}
        assert (await to_thread(visitor.post, "/form/login", form)).status == 303
        assert (await to_thread(visitor.get, "/app/home")).text == "Ada L.: editor"
        before = dict(visitor.cookies)
        await to_thread(visitor.get, "/app/promote")
        assert (await to_thread(visitor.get, "/admin/x")).text == "Ada L.: editor,admin"
        await wait_until_status(Visitor(gateway.port, before), 401)
        before = dict(visitor.cookies)
        left = await to_thread(visitor.get, "/app/logout")
        assert (left.status, visitor.cookies) == (303, {})
        await wait_until_status(Visitor(gateway.port, before), 401)


async def wait_until_status(visitor: Visitor, expected: int) -> None:
    def is_so() -> bool:
        return visitor.get("/app/home", Accept="*/*").status == expected

    async with asyncio.timeout(2.0):
        while not await to_thread(is_so):
            pass


# --- create ----------------------------------------------------------------------------------


async def test_a_session_begins_as_one_of_the_gateways_own(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    answer = await told(
        gateway,
        upstream,
        create(data={"a": PRIVATE}, max_age=3600, remember=True),
        "Cache-Control: public, max-age=60",
        path="/form/x",
    )
    cookie = cookie_of(answer)
    assert answer.body == b"ok"
    assert answer.fields.all("Cache-Control") == ["no-store"]
    assert "; HttpOnly" in cookie
    assert "; SameSite=Lax" in cookie
    assert "; Max-Age=3600" in cookie
    await ask(gateway, "/read/x", token_of(answer))
    assert upstream.last.get("X-User-Email") == "ada@example.com"
    assert upstream.last.get("X-Auth-Provider") == "upstream:app"
    line = gateway.log("signed_in")[-1]
    assert (line["user"], line["route"]) == ("ada", "/form/**")
    assert PRIVATE not in gateway.output()
    assert token_of(answer) not in gateway.output()


@pytest.mark.parametrize(("wanted", "outlives"), [(True, True), (False, False), (None, False)])
async def test_a_session_outlives_the_browser_only_where_that_was_asked_for(
    gateway: GatewayProcess, upstream: Upstream, wanted: bool | None, *, outlives: bool
) -> None:
    more: dict[str, Any] = {} if wanted is None else {"remember": wanted}
    answer = await told(gateway, upstream, create(**more), path="/form/x")
    assert ("Max-Age" in cookie_of(answer)) is outlives


async def test_a_planted_session_ends_and_is_never_promoted(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    planted = await signed_in(gateway, upstream, id="mallory")
    for path in "/form/x", "/app/x":
        answer = await told(gateway, upstream, create(), path=path, token=planted)
        assert token_of(answer) != planted
        assert await status(gateway, planted) == 401
        assert await status(gateway, token_of(answer)) == 200
        planted = await signed_in(gateway, upstream, id="mallory")


async def test_what_was_kept_for_a_visitor_goes_over(
    gateway: GatewayProcess, upstream: Upstream, keeper: Keeper
) -> None:
    visitor = token_of(await told(gateway, upstream, OK_LINE, path="/optional/x"))
    await told(gateway, upstream, update(data={"cart": [1]}), path="/optional/x", token=visitor)
    session = create({"id": "carl"}, data={"seen": True})
    answer = await told(gateway, upstream, session, path="/optional/x", token=visitor)
    assert (await ask(gateway, "/optional/x", visitor)).status == 200
    assert "X-Session-Id" not in upstream.last.fields.names()
    assert await status(gateway, token_of(answer)) == 200
    [kept] = await keeper.of_user("carl")
    assert kept.data == {"cart": [1], "seen": True}


async def test_a_visitor_of_this_very_request_is_signed_in_as_well(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    answer = await told(gateway, upstream, create(), path="/optional/x")
    assert await status(gateway, token_of(answer)) == 200


async def test_a_visitor_cannot_be_given_roles(gateway: GatewayProcess, upstream: Upstream) -> None:
    patch = update(user={"roles": ["admin"]})
    assert (await told(gateway, upstream, patch, path="/optional/x")).status == 502


# --- update ----------------------------------------------------------------------------------


async def test_a_name_changes_and_the_token_stays(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    token = await signed_in(gateway, upstream)
    answer = await told(gateway, upstream, update(user={"name": "Ada Lovelace"}), token=token)
    assert (answer.status, answer.fields.all("Set-Cookie")) == (200, [])
    await ask(gateway, "/read/x", token)
    assert upstream.last.get("X-User-Name") == "Ada Lovelace"
    assert upstream.last.get("X-User-Email") == "ada@example.com"


@pytest.mark.parametrize("path", ["/app/x", "/form/x"])
async def test_other_roles_bring_another_token(
    gateway: GatewayProcess, upstream: Upstream, path: str
) -> None:
    token = await signed_in(gateway, upstream)
    patch = update(user={"roles": ["admin"], "email": None})
    answer = await told(gateway, upstream, patch, path=path, token=token)
    assert await status(gateway, token) == 401
    assert await status(gateway, token_of(answer), "/admin/x") == 200
    assert upstream.last.get("X-User-Roles") == "admin"
    assert upstream.last.get("X-User-Email") is None


async def test_without_a_session_there_is_nothing_to_change(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    for token in "", "A" * 43:
        answer = await told(
            gateway, upstream, update(user={"roles": ["admin"]}), path="/form/x", token=token
        )
        assert (answer.status, answer.fields.all("Set-Cookie")) == (200, [])


async def test_of_many_updates_at_once_none_is_lost(
    gateway: GatewayProcess, upstream: Upstream, keeper: Keeper
) -> None:
    token = await signed_in(gateway, upstream, id="dora")

    async def numbered(request: Received) -> None:
        number = request.target.rpartition("/")[2]
        await request.peer.send(saying(update(data={number: True})))

    upstream.handler = numbered
    answers = await asyncio.gather(*(ask(gateway, f"/app/{number}", token) for number in range(20)))
    assert {answer.status for answer in answers} == {200}
    [kept] = await keeper.of_user("dora")
    assert kept.data == {str(number): True for number in range(20)}


async def test_a_session_does_not_grow_without_end(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    token = await signed_in(gateway, upstream)
    answers = [
        await told(gateway, upstream, update(data={str(number): "x" * 8000}), token=token)
        for number in range(9)
    ]
    assert [answer.status for answer in answers] == [200] * 8 + [502]


# --- destroy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/app/x", "/form/x", "/optional/x"])
async def test_a_session_ends_and_its_cookie_goes(
    gateway: GatewayProcess, upstream: Upstream, path: str
) -> None:
    token = await signed_in(gateway, upstream)
    answer = await told(gateway, upstream, DESTROY, path=path, token=token)
    assert cookie_of(answer).startswith("gateway_session=;")
    assert "Max-Age=0" in cookie_of(answer)
    assert await status(gateway, token) == 401


async def test_a_stream_says_it_too(gateway: GatewayProcess, upstream: Upstream) -> None:
    """What is done is done before the client has the head, however long the body takes."""
    token = await signed_in(gateway, upstream)
    rest = asyncio.Event()

    async def slow(request: Received) -> None:
        await request.read()
        await request.peer.send(
            f"HTTP/1.1 200 OK\r\nContent-Length: 400004\r\n{update(user={'roles': ['admin']})}"
            "\r\n\r\nab".encode()
            + b"x" * 400_000
        )
        await rest.wait()
        await request.peer.send(b"cd")

    upstream.handler = slow
    async with Client(gateway.port) as client:
        await client.send(
            "POST /app/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
            f"Cookie: gateway_session={token}\r\n\r\nbo"
        )
        await client.send("dy")
        head = await client.head()
        [cookie] = head.fields.all("Set-Cookie")
        new = cookie.partition("=")[2].partition(";")[0]
        rest.set()
        body = await client.read(400_004)
    assert body == b"ab" + b"x" * 400_000 + b"cd"
    upstream.handler = answering(OK)
    assert await status(gateway, new, "/admin/x") == 200


# --- what is not obeyed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["X-Session-Create: {}"], id="no user"),
        pytest.param(
            [f'X-Session-Create: {{"user": {{"id": "{PRIVATE}", "role": 1}}}}'], id="role"
        ),
        pytest.param(["X-Session-Create: nonsense " + PRIVATE], id="no JSON"),
        pytest.param([create(max_age=10**9)], id="longer than configured"),
        pytest.param([create(data={"a": "x" * 9000})], id="too long"),
        pytest.param([update(user={"id": "root"})], id="another user"),
        pytest.param([update(user={"roles": ["a,b"]})], id="a role with a comma"),
        pytest.param(["X-Session-Destroy: yes"], id="not 1"),
        pytest.param([DESTROY, DESTROY], id="twice"),
        pytest.param([update(data={"a": 1}), DESTROY], id="two of them"),
        pytest.param([create(), update(data={})], id="two others"),
    ],
)
async def test_what_is_not_valid_changes_nothing_and_is_502(
    gateway: GatewayProcess, upstream: Upstream, fields: list[str]
) -> None:
    token = await signed_in(gateway, upstream)
    answer = await told(gateway, upstream, *fields, token=token)
    assert (answer.status, answer.fields.all("Set-Cookie")) == (502, [])
    assert json.loads(answer.body)["title"] == "Sign-in did not work"
    await ask(gateway, "/read/x", token)
    assert upstream.last.get("X-User-Roles") == "editor"
    line = gateway.log("request failed")[-1]
    assert line["reason"] == "session_control"
    assert line["detail"].startswith("/app/**: ")
    asked = {"reason": "session_control", "request_id": line["request_id"]}
    await wait_until(lambda: gateway.requests(**asked), what="the request log has it")
    assert PRIVATE not in gateway.output()


@pytest.mark.parametrize("path", ["/public/x", "/read/x"])
@pytest.mark.parametrize("field", [create(), update(user={"roles": ["admin"]}), DESTROY])
async def test_from_other_routes_it_means_nothing(
    gateway: GatewayProcess, upstream: Upstream, path: str, field: str
) -> None:
    token = await signed_in(gateway, upstream)
    answer = await told(gateway, upstream, field, path=path, token=token)
    assert (answer.status, answer.fields.all("Set-Cookie")) == (200, [])
    await ask(gateway, "/read/x", token)
    assert upstream.last.get("X-User-Roles") == "editor"
    lines = gateway.log("session_control_ignored")
    assert path.replace("x", "**") in {line["route"] for line in lines}


async def test_the_log_does_not_fill_with_it(gateway: GatewayProcess, upstream: Upstream) -> None:
    for _ in range(20):
        await told(gateway, upstream, DESTROY, path="/public/x")
    lines = [one for one in gateway.log("session_control_ignored") if one["route"] == "/public/**"]
    assert len(lines) == 1


@pytest.mark.parametrize("name", ["X-Session-Create", "x_session_update", "X-SESSION-DESTROY"])
async def test_a_client_cannot_say_it_through_an_upstream_that_echoes(
    gateway: GatewayProcess, upstream: Upstream, name: str
) -> None:
    token = await signed_in(gateway, upstream)
    answer = await ask(gateway, "/app/x", token, f"{name}: 1")
    assert answer.status == 200
    assert name.lower() not in upstream.last.fields.names()
    assert await status(gateway, token) == 200


async def test_interim_answers_say_nothing(gateway: GatewayProcess, upstream: Upstream) -> None:
    token = await signed_in(gateway, upstream)
    hints = f"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n{DESTROY}\r\n\r\n".encode()
    upstream.handler = answering(hints, OK)
    answer = await ask(gateway, "/app/x", token)
    assert [interim.fields for interim in answer.interim] == [[("Link", "</a>")]]
    upstream.handler = answering(OK)
    assert await status(gateway, token) == 200


# --- clients that leave ----------------------------------------------------------------------


async def test_an_answer_that_nobody_waits_for_changes_nothing(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    token = await signed_in(gateway, upstream)
    asked, gone = asyncio.Event(), asyncio.Event()

    async def late(request: Received) -> None:
        asked.set()
        await gone.wait()
        await request.peer.send(saying(DESTROY))

    upstream.handler = late
    async with Client(gateway.port) as client:
        await client.send(
            f"GET /app/left HTTP/1.1\r\nHost: localhost\r\nCookie: gateway_session={token}\r\n\r\n"
        )
        async with asyncio.timeout(5.0):
            await asked.wait()
    await wait_until(
        lambda: gateway.requests(path="/app/left"), what="the gateway sees that the client left"
    )
    gone.set()
    upstream.handler = answering(OK)
    assert await status(gateway, token) == 200
