"""What happens to a session between its first request and its end, with real processes."""

from __future__ import annotations

import asyncio
import signal
from asyncio import to_thread
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.stores.keeper import Keeper
from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import Visitor
from tests.integration.wire import Answer, Client, Upstream, answering
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse"
SECRET = "for tests only: at least 32 characters"
CONFIG = f"""\
version: 1
server: {{listen: 127.0.0.1:${{PORT}}, admin: 127.0.0.1:${{ADMIN_PORT}}, workers: 2}}
session:
  store: sqlite:///sessions.db
  secret: "{SECRET}"
  anonymous: true
  remember: ask
  max_per_user: 3
  store_timeout: 5s
login: {{providers: [{{id: local, type: users, file: users.yaml}}]}}
upstreams: {{app: "${{UPSTREAM}}"}}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /public/**, access: public}}
  - {{path: /optional/**, access: optional}}
  - {{path: /login/**, access: login}}
  - {{path: /admin/**, access: login, role: admin}}
"""
PARALLEL = 100
ROTATIONS = 50


def users() -> str:
    hashed = cheap_hash(PASSWORD)
    names = ("ada", "bob", "cleo", "dora", "emil", "fay")
    lines = (f"  {name}: {{password: {hashed!r}, roles: [admin, editor]}}\n" for name in names)
    return "users:\n" + "".join(lines)


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "users.yaml").write_text(users(), encoding="utf-8")
    with GatewayProcess(folder, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


def request(path: str, cookie: str = "", *lines: str) -> str:
    fields = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: */*", *lines]
    if cookie:
        fields.append(f"Cookie: gateway_session={cookie}")
    return "\r\n".join([*fields, "", ""])


async def ask(gateway: GatewayProcess, path: str, cookie: str = "", *lines: str) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(request(path, cookie, *lines))


async def signed_in(gateway: GatewayProcess, user: str, **form: str) -> str:
    """Sign in with a form; return the token."""
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, user, PASSWORD, **form)
    assert page.status == 303
    return visitor.cookies["gateway_session"]


def given(*answers: Answer) -> list[str]:
    """Return the tokens that answers give to the browser."""
    cookies = [line for answer in answers for line in answer.fields.all("Set-Cookie")]
    return [
        cookie.partition("=")[2].partition(";")[0]
        for cookie in cookies
        if cookie.startswith("gateway_session=")
    ]


# --- renewal ---------------------------------------------------------------------------------


async def test_no_parallel_request_is_refused_while_the_token_is_renewed(
    gateway: GatewayProcess, keeper: Keeper
) -> None:
    token = await signed_in(gateway, "ada")
    contested = 0
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(gateway.port)) for _ in range(PARALLEL)]
        for _ in range(ROTATIONS):
            await keeper.set_roles("ada", ("editor", "admin"))
            answers = await asyncio.gather(
                *(client.ask(request("/admin/x", token)) for client in clients)
            )
            assert {answer.status for answer in answers} == {200}
            # All may come before the workers have heard of it; nobody gets a second one.
            contested += bool(given(*answers))
            later = await clients[0].ask(request("/admin/x", token))
            tokens = given(*answers, later)
            assert len(tokens) == 1
            assert tokens[0] != token
            [token] = tokens
    assert contested > ROTATIONS / 2
    assert len(await keeper.of_user("ada")) == 1


async def test_a_role_that_is_taken_away_is_gone_at_once_and_the_old_token_with_the_new_one_given(
    gateway: GatewayProcess, keeper: Keeper
) -> None:
    old = await signed_in(gateway, "bob")
    assert (await ask(gateway, "/admin/x", old)).status == 200
    await keeper.set_roles("bob", ("editor",))

    async def refused() -> Answer:
        answer = await ask(gateway, "/admin/x", old)
        while answer.status == 200:
            answer = await ask(gateway, "/admin/x", old)
        return answer

    refusal = await asyncio.wait_for(refused(), 1.0)
    assert refusal.status == 403
    [new] = given(refusal)
    assert (await ask(gateway, "/login/x", new)).status == 200
    assert (await ask(gateway, "/admin/x", new)).status == 403

    async def nothing() -> bool:
        return (await ask(gateway, "/login/x", old)).status == 401

    await wait_until(nothing, seconds=1.0, what="every worker has heard that the old one is gone")


async def test_a_token_that_was_known_before_gains_nothing(
    gateway: GatewayProcess, keeper: Keeper, upstream: Upstream
) -> None:
    old = await signed_in(gateway, "cleo")
    await keeper.set_roles("cleo", ("admin", "editor", "boss"))
    [session] = await keeper.of_user("cleo")
    begun = await keeper.renew(session)
    assert begun is not None

    async def answered(token: str) -> Answer:
        answer = await ask(gateway, "/login/x", token)
        while answer.status == 200 and token == old:
            answer = await ask(gateway, "/login/x", token)
        return answer

    assert (await asyncio.wait_for(answered(old), 1.0)).status == 401
    upstream.forget()
    assert (await answered(begun.token)).status == 200
    assert upstream.last.get("X-User-Roles") == "admin,editor,boss"
    assert upstream.last.get("X-Session-Id") == session.id


async def test_a_new_token_comes_with_a_websockets_handshake_too(
    gateway: GatewayProcess, keeper: Keeper, upstream: Upstream
) -> None:
    old = await signed_in(gateway, "fay")
    await keeper.set_roles("fay", ("admin", "editor"))
    upstream.handler = answering(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key]

    async def renewed() -> list[str]:
        answer = await ask(gateway, "/login/x", old, *upgrade)
        assert answer.status == 101
        return given(answer)

    await wait_until(renewed, seconds=1.0, what="the worker has heard that it is to renew")
    upstream.forget()
    assert len(await keeper.of_user("fay")) == 1


# --- sign-in ---------------------------------------------------------------------------------


async def test_the_cookie_outlives_the_browser_only_where_the_box_was_ticked(
    gateway: GatewayProcess,
) -> None:
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.get, "/_gateway/auth/signin")
    assert 'name="remember"' in page.text
    for form, lasts in (({}, False), ({"remember": "yes"}, True)):
        page = await to_thread(visitor.sign_in, "dora", PASSWORD, **form)
        [cookie] = [
            line
            for line in page.headers.get_all("Set-Cookie", [])
            if line.startswith("gateway_session=")
        ]
        assert ("Max-Age" in cookie) is lasts


async def test_a_fourth_sign_in_ends_the_oldest_session(gateway: GatewayProcess) -> None:
    tokens = [await signed_in(gateway, "emil") for _ in range(4)]
    statuses = [(await ask(gateway, "/login/x", token)).status for token in tokens]
    assert statuses == [401, 200, 200, 200]


# --- visitors --------------------------------------------------------------------------------


async def test_a_visitor_gets_a_session_whose_id_alone_is_passed_on(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    first = await ask(gateway, "/optional/x")
    [token] = given(first)
    told = upstream.last
    assert told.get("X-Session-Id")
    assert not {name for name in told.fields.names() if name.startswith(("x-user", "x-auth"))}
    assert told.get("X-Session-Expires") is None
    assert first.get("Cache-Control") == "no-store"
    again = await ask(gateway, "/optional/x", token)
    assert given(again) == []
    assert upstream.last.get("X-Session-Id") == told.get("X-Session-Id")
    assert (await ask(gateway, "/login/x", token)).status == 401
    visitor = Visitor(gateway.port, {"gateway_session": token})
    assert (await to_thread(visitor.get, "/_gateway/auth/session")).json() == {}


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        pytest.param("/optional/x", ["Upgrade: websocket", "Connection: Upgrade"], id="an upgrade"),
        pytest.param("/public/x", [], id="nobody is asked"),
        pytest.param("/login/x", [], id="refused"),
        pytest.param("/optional/x", ["Sec-Fetch-Dest: script"], id="a part of a page"),
        pytest.param("/optional/x", ["Sec-Fetch-Mode: cors"], id="a script's call"),
    ],
)
async def test_no_other_request_begins_a_visitors_session(
    gateway: GatewayProcess, path: str, lines: list[str]
) -> None:
    assert given(await ask(gateway, path, "", *lines)) == []


async def test_what_a_visitor_had_goes_over_at_sign_in_and_their_token_dies(
    gateway: GatewayProcess, keeper: Keeper
) -> None:
    visitor = Visitor(gateway.port)
    await to_thread(visitor.get, "/optional/x")
    before = visitor.cookies["gateway_session"]
    page = await to_thread(visitor.sign_in, "bob", PASSWORD)
    assert page.status == 303
    assert visitor.cookies["gateway_session"] != before
    assert (await ask(gateway, "/login/x", before)).status == 401
    assert given(await ask(gateway, "/optional/x", before)) == []  # no page: it may come late
    assert (await ask(gateway, "/login/x", visitor.cookies["gateway_session"])).status == 200


async def test_no_store_that_is_away_keeps_a_visitor_away(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "users.yaml").write_text("users: {}\n")
    config = CONFIG.replace("sqlite:///sessions.db", "${STORE}").replace("5s", "200ms")
    config = config.replace("workers: 2", "workers: 1")  # one that is not ready yet would end it
    with RedisServer() as redis:
        environment = {"UPSTREAM": running_upstream.url, "STORE": redis.url}
        with GatewayProcess(tmp_path, config, **environment) as gateway:
            assert len(given(await ask(gateway, "/optional/x"))) == 1
            redis.stop()
            answer = await ask(gateway, "/optional/x")
            assert (answer.status, given(answer)) == (200, [])
            redis.start()

            async def back() -> bool:
                return bool(given(await ask(gateway, "/optional/x")))

            await wait_until(back, seconds=5.0, what="visitors get sessions again")


# --- secrets ---------------------------------------------------------------------------------


async def test_a_secret_is_changed_under_way_and_the_old_one_opens_what_it_sealed(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "users.yaml").write_text(users(), encoding="utf-8")
    newer = "another secret of 32 characters or so"
    with GatewayProcess(tmp_path, CONFIG, UPSTREAM=running_upstream.url) as gateway:
        before = await signed_in(gateway, "ada")
        both = f'["{newer}", "{SECRET}"]'
        await reload(gateway, CONFIG.replace(f'"{SECRET}"', both))
        after = await signed_in(gateway, "bob")
        for token in (before, after):
            assert (await ask(gateway, "/login/x", token)).status == 200
    with GatewayProcess(
        tmp_path, CONFIG.replace(SECRET, newer), UPSTREAM=running_upstream.url
    ) as gateway:
        assert (await ask(gateway, "/login/x", before)).status == 401
        assert (await ask(gateway, "/login/x", after)).status == 200


async def test_an_operators_function_makes_the_tokens_of_every_worker(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "users.yaml").write_text(users(), encoding="utf-8")
    tokens = "import secrets\ndef new():\n    return '{}-' + secrets.token_hex(16)\n"
    (tmp_path / "tokens.py").write_text(tokens.format("first"))
    config = CONFIG.replace("anonymous: true", "token: tokens.py:new")
    with GatewayProcess(tmp_path, config, UPSTREAM=running_upstream.url) as gateway:
        first = [await signed_in(gateway, "ada") for _ in range(3)]
        (tmp_path / "tokens.py").write_text(tokens.format("second"))
        await reload(gateway, config)
        second = [await signed_in(gateway, "bob") for _ in range(3)]
        for token, start in zip(first + second, ["first-"] * 3 + ["second-"] * 3, strict=True):
            assert token.startswith(start)
            assert (await ask(gateway, "/login/x", token)).status == 200


async def reload(gateway: GatewayProcess, config: str) -> None:
    """Give the gateway another file, and return when both workers go by it."""
    gateway.rewrite(config)
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: gateway.log("reloaded"), what="both have reloaded")
