"""``session.accept``: apps sign people in, and the gateway protects everything with that."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.accepting import (
    NEXT_COOKIE,
    NEXT_SECRET,
    SHOP_COOKIE,
    SHOP_SECRET,
    Shop,
    next_cookie,
)
from tests.integration.browser import AUTH, Visitor
from tests.integration.wire import Answer, Client, Received, Upstream, answering
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse"
CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session:
  store: "sqlite:///sessions.db"
  secret: 0123456789abcdef0123456789abcdef
  accept:
    - name: next
      type: nextauth
      secret: ${NEXT_SECRET}
      id_prefix: ""
      allowed_roles: [reader, editor]
    - name: shop
      type: express-session
      secret: ${SHOP_SECRET}
      store: ${REDIS}
      id_prefix: "shop:"
      forward_to: [shop]
login: {providers: [{id: local, type: users, file: users.yaml, id_prefix: "local:"}]}
roles:
  reader: {permissions: ["reports:read"]}
  editor: {inherits: [reader]}
upstreams: {app: "${UPSTREAM}", shop: "${SHOP}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /admin/**, access: login, role: admin}
  - {path: /reader/**, access: login, permission: "reports:read"}
  - {path: /next/**, access: login, accept: [next]}
  - {path: /own/**, access: login, accept: []}
  - {path: /often/**, access: login, rate_limit: {requests: 2, per: 1h}}
  - {path: /shop/public/**, access: public, upstream: shop}
  - {path: /shop/**, access: login, upstream: shop}
  - {path: /nobody/**, access: deny}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_shop() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture
def other(running_shop: Upstream) -> Upstream:
    """The shop's own upstream, as if nothing had been asked yet."""
    running_shop.forget()
    return running_shop


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream,
    running_shop: Upstream,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    hashed = cheap_hash(PASSWORD)
    users = {"ada": {"password": hashed, "name": "Own Ada", "roles": ["admin"]}}
    (folder / "users.yaml").write_text(json.dumps({"users": users}))
    environment = {
        "UPSTREAM": running_upstream.url,
        "SHOP": running_shop.url,
        "REDIS": redis.url,
        "NEXT_SECRET": NEXT_SECRET,
        "SHOP_SECRET": SHOP_SECRET,
    }
    with GatewayProcess(folder, CONFIG, **environment) as gateway:
        yield gateway
        output = gateway.output()
        assert NEXT_SECRET not in output
        assert SHOP_SECRET not in output


@pytest.fixture
def shop(redis: RedisServer) -> Iterator[Shop]:
    shop = Shop(redis.port)
    yield shop
    shop.redis.close()


async def ask(gateway: GatewayProcess, path: str, cookie: str = "", **fields: str) -> Answer:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    async with Client(gateway.port) as client:
        return await client.ask("\r\n".join(lines) + "\r\n\r\n")


def identity(request: Received) -> dict[str, str]:
    names = ("X-User-Id", "X-User-Name", "X-User-Roles", "X-Auth-Provider")
    return {name: value for name in names if (value := request.get(name)) is not None}


# --- who it is -------------------------------------------------------------------------------


async def test_somebody_who_is_signed_in_to_an_app_is_known_to_every_upstream(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    cookie = next_cookie(
        sub="42", name="Ada", email="ada@example.com", picture="https://a/b.png", roles=["editor"]
    )
    assert (await ask(gateway, "/login/x", cookie)).status == 200
    assert identity(upstream.last) == {
        "X-User-Id": "42",
        "X-User-Name": "Ada",
        "X-User-Roles": "editor,reader",
        "X-Auth-Provider": "next",
    }
    assert upstream.last.get("X-User-Email") == "ada@example.com"
    assert upstream.last.get("X-User-Image") == "https://a/b.png"
    assert upstream.last.get("X-User-Permissions") == "reports:read"
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", upstream.last.get("X-Session-Id") or "")
    assert (upstream.last.get("X-Session-Expires") or "").endswith("Z")
    await wait_until(lambda: gateway.requests(path="/login/x", user="42"), what="it is logged")
    [line] = gateway.requests(path="/login/x", user="42")
    assert len(line["session"]) == 12


async def test_a_session_in_a_store_with_a_user_of_its_own(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    cookie = shop.sign_in(user={"id": 7, "name": "Zoë", "roles": ["reader"]})
    assert (await ask(gateway, "/reader/x", cookie)).status == 200
    assert identity(upstream.last) == {
        "X-User-Id": "shop:7",
        "X-User-Name": "Zo%C3%AB",
        "X-User-Roles": "reader",
        "X-Auth-Provider": "shop",
    }


@pytest.mark.parametrize(
    ("session", "user_id"),
    [
        pytest.param({"passport": {"user": 0}}, "shop:0", id="passport, zero"),
        pytest.param({"passport": {"user": "x"}}, "shop:x", id="passport, text"),
        pytest.param({"user": {"email": "a@b.c"}}, "shop:a@b.c", id="by address"),
        pytest.param({"user": {}, "passport": {"user": 1}}, "shop:1", id="an object of nobody"),
    ],
)
async def test_where_apps_keep_their_users(
    gateway: GatewayProcess,
    upstream: Upstream,
    shop: Shop,
    session: dict[str, Any],
    user_id: str,
) -> None:
    assert (await ask(gateway, "/login/x", shop.sign_in(**session))).status == 200
    assert upstream.last.get("X-User-Id") == user_id


async def test_a_session_of_nobody_is_a_visitors(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    cookie = shop.sign_in(cart=[1, 2])
    assert (await ask(gateway, "/optional/x", cookie)).status == 200
    assert identity(upstream.last) == {}
    assert upstream.last.get("X-Session-Id")
    assert upstream.last.get("X-Session-Expires") is None
    assert (await ask(gateway, "/login/x", cookie)).status == 401


async def test_a_user_is_refused_by_role(gateway: GatewayProcess, upstream: Upstream) -> None:
    cookie = next_cookie(sub="1", roles=["reader"])
    assert (await ask(gateway, "/reader/x", cookie)).status == 200
    upstream.forget()
    assert (await ask(gateway, "/admin/x", cookie)).status == 403
    assert upstream.requests == []


async def test_an_app_makes_nobody_more_than_it_may(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    cookie = next_cookie(sub="mallory", roles=["admin", "reader", "a,b", 7])
    assert (await ask(gateway, "/admin/x", cookie)).status == 403
    assert (await ask(gateway, "/login/x", cookie)).status == 200
    assert upstream.last.get("X-User-Roles") == "reader"
    said = [line for line in gateway.log("names dropped") if line["user"] == "mallory"]
    assert len(said) == 1  # not at every request
    assert said[0]["source"] == "next"
    assert "'admin'" in said[0]["names"]
    assert "'a,b'" in said[0]["names"]


async def test_nobody_takes_an_id_that_is_anothers(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    assert (await ask(gateway, "/login/x", shop.sign_in(user={"id": "7"}))).status == 200
    assert upstream.last.get("X-User-Id") == "shop:7"
    for taken in ("shop:7", "local:ada"):
        assert (await ask(gateway, "/login/x", next_cookie(sub=taken))).status == 401
    assert (await ask(gateway, "/login/x", next_cookie(sub="shopper:7"))).status == 200


async def test_the_same_id_of_two_sources_counts_twice(gateway: GatewayProcess, shop: Shop) -> None:
    for cookie in (next_cookie(sub="often"), shop.sign_in(user={"id": "often"})):
        answers = [(await ask(gateway, "/often/x", cookie)).status for _ in range(3)]
        assert answers == [200, 200, 429]


# --- several at once -------------------------------------------------------------------------


async def test_our_own_session_wins_and_then_the_order_of_the_file(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    own = await asyncio.to_thread(gateway.sign_in, "own")
    jar = [shop.sign_in(user={"id": "s"}), next_cookie(sub="n"), own.cookie]
    for cookie, provider in zip(("; ".join(jar), "; ".join(jar[:2]), jar[0]),
                                ("local", "next", "shop"), strict=True):  # fmt: skip
        assert (await ask(gateway, "/login/x", cookie)).status == 200
        assert upstream.last.get("X-Auth-Provider") == provider


async def test_a_session_of_nobody_gives_way_to_one_of_somebody(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    cookie = f"{next_cookie(theme='dark')}; {shop.sign_in(user={'id': 's'})}"
    assert (await ask(gateway, "/login/x", cookie)).status == 200
    assert upstream.last.get("X-Auth-Provider") == "shop"


async def test_a_route_says_whose_sessions_count(gateway: GatewayProcess, shop: Shop) -> None:
    next_one, shop_one = next_cookie(sub="n"), shop.sign_in(user={"id": "s"})
    own = (await asyncio.to_thread(gateway.sign_in, "own")).cookie
    statuses = {
        path: [(await ask(gateway, path, cookie)).status for cookie in (next_one, shop_one, own)]
        for path in ("/login/x", "/next/x", "/own/x")
    }
    assert statuses == {
        "/login/x": [200, 200, 200],
        "/next/x": [200, 401, 200],
        "/own/x": [401, 401, 200],
    }


# --- cookies ---------------------------------------------------------------------------------


async def test_an_apps_cookie_reaches_its_own_upstream_and_no_other(
    gateway: GatewayProcess, upstream: Upstream, other: Upstream, shop: Shop
) -> None:
    roles = [f"role-{number:04}" for number in range(600)]
    next_one, shop_one = next_cookie(sub="n", roles=roles), shop.sign_in(user={"id": "s"})
    assert f"{NEXT_COOKIE}.1=" in next_one
    cookie = f"a=1; {next_one}; {shop_one}; b=2"
    for path, to in (("public", upstream), ("optional", upstream), ("login", upstream)):
        assert (await ask(gateway, f"/{path}/x", cookie)).status == 200
        assert to.last.get("Cookie") == f"a=1; {next_one}; b=2"
    for path in ("shop/public", "shop"):
        assert (await ask(gateway, f"/{path}/x", cookie)).status == 200
        assert other.last.get("Cookie") == f"a=1; {shop_one}; b=2"
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    await ask(gateway, "/shop/x", cookie, **upgrade)
    assert other.last.get("Cookie") == f"a=1; {shop_one}; b=2"


async def test_one_connection_to_two_upstreams(
    gateway: GatewayProcess, upstream: Upstream, other: Upstream, shop: Shop
) -> None:
    next_one, shop_one = next_cookie(sub="n"), shop.sign_in(user={"id": "s"})
    async with Client(gateway.port) as client:
        for path in ("/login/x", "/shop/x", "/login/x", "/shop/x"):
            fields = f"Host: localhost\r\nCookie: {next_one}; {shop_one}"
            answer = await client.ask(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n")
            assert answer.status == 200
    assert {request.get("Cookie") for request in upstream.requests} == {next_one}
    assert {request.get("Cookie") for request in other.requests} == {shop_one}


async def test_a_cookie_that_is_there_twice_is_no_session_and_goes_nowhere(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    good = next_cookie(sub="1")
    for cookie in (f"{good}; {good}", f"{good}; {NEXT_COOKIE}=", f"{NEXT_COOKIE}=x; a=1; {good}"):
        assert (await ask(gateway, "/login/x", cookie)).status == 401
        assert (await ask(gateway, "/optional/x", cookie)).status == 200
        assert NEXT_COOKIE not in (upstream.last.get("Cookie") or "")
        assert upstream.last.get("X-Session-Id") is None
    async with Client(gateway.port) as client:
        fields = f"Host: localhost\r\nCookie: {good}\r\nCookie: {good}"
        answer = await client.ask(f"GET /login/x HTTP/1.1\r\n{fields}\r\n\r\n")
        assert answer.status in {302, 401}


@pytest.mark.parametrize(
    "planted",
    [
        f"{NEXT_COOKIE}-old=x",
        f"{NEXT_COOKIE}.1234=x",
        f"{NEXT_COOKIE.upper()}=x",
        f'"{NEXT_COOKIE}"=x',
        "next%2Dauth.session-token=x",
        f"CONNECT.SID={SHOP_COOKIE}",
    ],
)
async def test_what_somebody_could_take_for_an_apps_cookie_goes_nowhere(
    gateway: GatewayProcess, upstream: Upstream, other: Upstream, planted: str
) -> None:
    good = next_cookie(sub="1")
    assert (await ask(gateway, "/login/x", f"{planted}; {good}; a=1")).status == 200
    assert upstream.last.get("Cookie") == f"{good}; a=1"
    assert (await ask(gateway, "/shop/public/x", f"{planted}; {good}; a=1")).status == 200
    assert other.last.get("Cookie") == "a=1"


async def test_an_app_sets_its_own_cookie_and_no_others(
    gateway: GatewayProcess, upstream: Upstream, other: Upstream
) -> None:
    lines = "".join(
        f"Set-Cookie: {name}=v; Path=/\r\n"
        for name in (NEXT_COOKIE, f"{NEXT_COOKIE}.0", f"__Secure-{NEXT_COOKIE}", SHOP_COOKIE, "a")
    )
    answer = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n".encode()
    upstream.handler = other.handler = answering(answer)
    theirs = (await ask(gateway, "/public/x")).fields.all("Set-Cookie")
    assert [line.partition("=")[0] for line in theirs] == [
        NEXT_COOKIE, f"{NEXT_COOKIE}.0", f"__Secure-{NEXT_COOKIE}", "a",
    ]  # fmt: skip
    shops = (await ask(gateway, "/shop/public/x")).fields.all("Set-Cookie")
    assert [line.partition("=")[0] for line in shops] == [SHOP_COOKIE, "a"]


# --- how it ends -----------------------------------------------------------------------------


async def test_who_signs_out_in_the_app_is_nobody_at_the_next_request(
    gateway: GatewayProcess, shop: Shop
) -> None:
    cookie = shop.sign_in(user={"id": "s"})
    for _ in range(3):
        assert (await ask(gateway, "/login/x", cookie)).status == 200
    shop.sign_out()
    await wait_until(lambda: _is(gateway, "/login/x", cookie, 401), seconds=1.0)


async def _is(gateway: GatewayProcess, path: str, cookie: str, status: int) -> bool:
    return (await ask(gateway, path, cookie)).status == status


async def test_new_rights_in_the_app_count_at_once(gateway: GatewayProcess, shop: Shop) -> None:
    cookie = shop.sign_in(user={"id": "s", "roles": ["reader"]})
    assert (await ask(gateway, "/reader/x", cookie)).status == 200
    entry = json.loads(shop.entry())
    entry["user"]["roles"] = []
    shop.redis.set(shop.key, json.dumps(entry), keepttl=True)
    await wait_until(lambda: _is(gateway, "/reader/x", cookie, 403), seconds=1.0)


async def test_a_stream_ends_with_the_session_it_was_begun_in(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    async def going_on(request: Received) -> None:
        await request.peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await request.peer.until_closed()

    upstream.handler = going_on
    bystander = Shop(int(shop.redis.connection_pool.connection_kwargs["port"]))
    cookies = [bystander.sign_in(user={"id": "b"}), shop.sign_in(user={"id": "s"})]
    async with Client(gateway.port) as stays, Client(gateway.port) as goes:
        for client, cookie in zip((stays, goes), cookies, strict=True):
            await client.send(
                f"GET /login/x HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
            )
            assert (await client.head()).start.startswith("HTTP/1.1 200")
            assert await client.read(6) == b"1\r\na\r\n"
        shop.sign_out()
        async with asyncio.timeout(2.0):
            assert await goes.ended() == b""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):  # longer than the other one took
                await stays.read(1)
    bystander.redis.close()


async def test_an_expired_or_forged_session_is_none(gateway: GatewayProcess, shop: Shop) -> None:
    good = shop.sign_in(user={"id": "s"})
    cookies = [
        next_cookie(sub="1", age=100.0, max_age=50.0),
        next_cookie(sub="1", secret="another secret of 32 characters!!"),
        next_cookie(sub="1")[:-1],
        Shop.cookie("never was"),
        Shop.cookie(shop.session_id, "another secret of 32 characters!!"),
        good.replace("s%3A", ""),
    ]
    assert [(await ask(gateway, "/login/x", cookie)).status for cookie in cookies] == [401] * 6
    assert (await ask(gateway, "/login/x", good)).status == 200


# --- the gateway's own pages -----------------------------------------------------------------


def browser(gateway: GatewayProcess, cookie: str) -> Visitor:
    pairs = (pair.partition("=") for pair in cookie.split("; "))
    return Visitor(gateway.port, {name: value for name, _, value in pairs})


async def test_the_session_endpoint_tells_of_an_accepted_session(gateway: GatewayProcess) -> None:
    visitor = browser(gateway, next_cookie(sub="42", name="Ada", roles=["editor"]))
    shown = (await asyncio.to_thread(visitor.get, f"{AUTH}/session")).json()
    assert shown["user"] == {
        "id": "42",
        "name": "Ada",
        "email": None,
        "image": None,
        "roles": ["editor", "reader"],
        "permissions": ["reports:read"],
        "provider": "next",
    }
    assert shown["expires"].endswith("Z")


async def test_what_is_no_session_on_a_route_is_none_on_our_own_pages(
    gateway: GatewayProcess,
) -> None:
    good = next_cookie(sub="42")
    twice = f"{good}; __Secure-{NEXT_COOKIE}=x; __Secure-{NEXT_COOKIE}=y"
    for cookie, shown in ((good, True), (twice, False)):
        status = (await ask(gateway, "/login/x", cookie)).status
        said = json.loads((await ask(gateway, f"{AUTH}/session", cookie)).body)
        assert (status == 200, bool(said)) == (shown, shown)


async def test_signing_out_at_the_gateway_takes_the_apps_cookies_as_well(
    gateway: GatewayProcess, shop: Shop
) -> None:
    roles = [f"role-{number:04}" for number in range(600)]
    cookie = f"{next_cookie(sub='n', roles=roles)}; {shop.sign_in(user={'id': 's'})}; theme=dark"
    visitor = browser(gateway, cookie)
    assert (await asyncio.to_thread(visitor.get, "/login/x")).status == 200
    page = await asyncio.to_thread(visitor.sign_out)
    assert page.status == 303
    assert set(visitor.cookies) == {"theme", "gateway_csrf"}
    assert (await asyncio.to_thread(visitor.get, f"{AUTH}/session")).json() == {}


async def test_a_form_signs_in_beside_an_app(gateway: GatewayProcess, upstream: Upstream) -> None:
    visitor = browser(gateway, next_cookie(sub="42"))
    assert (await asyncio.to_thread(visitor.sign_in, "ada", PASSWORD)).status == 303
    assert (await asyncio.to_thread(visitor.get, "/login/x")).status == 200
    assert identity(upstream.last) == {
        "X-User-Id": "local:ada",
        "X-User-Name": "Own Ada",
        "X-User-Roles": "admin",
        "X-Auth-Provider": "local",
    }


async def test_metrics_say_what_came_of_cookies(gateway: GatewayProcess) -> None:
    await ask(gateway, "/login/x", next_cookie(sub="1", secret="another secret of 32 characters!!"))
    _, metrics = await asyncio.to_thread(gateway.admin, "/metrics")
    for outcome in ("opened", "bad_key"):
        assert f'gateway_accepted_cookies_total{{outcome="{outcome}",source="next"}}' in metrics


async def test_no_cookie_is_ever_logged(gateway: GatewayProcess, shop: Shop) -> None:
    next_one, shop_one = next_cookie(sub="quiet"), shop.sign_in(user={"id": "quiet"})
    for cookie in (next_one, shop_one):
        assert (await ask(gateway, "/login/quiet", cookie)).status == 200
    await wait_until(lambda: len(gateway.requests(path="/login/quiet")) == 2)
    for secret in (next_one.partition("=")[2], shop.session_id):
        assert secret not in gateway.output()


# --- reload ----------------------------------------------------------------------------------


async def reload(gateway: GatewayProcess, config: str, *, event: str = "reloaded") -> list[str]:
    before = len(gateway.log(event))
    gateway.rewrite(config)
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: len(gateway.log(event)) > before, what=f"it says {event!r}")
    problems: list[str] = gateway.log(event)[-1].get("problems", [])
    return problems


async def test_sources_come_and_go_with_the_configuration(
    gateway: GatewayProcess, upstream: Upstream, shop: Shop
) -> None:
    async def going_on(request: Received) -> None:
        await request.peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await request.peer.until_closed()

    next_one, shop_one = next_cookie(sub="n"), shop.sign_in(user={"id": "s"})
    own = (await asyncio.to_thread(gateway.sign_in, "own")).cookie
    without = re.sub(r"    - name: shop\n(      .*\n)*", "", CONFIG)
    assert without != CONFIG
    upstream.handler = going_on
    async with Client(gateway.port) as goes, Client(gateway.port) as stays:
        for client, cookie in ((goes, shop_one), (stays, own)):
            await client.send(
                f"GET /login/x HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
            )
            assert (await client.head()).start.startswith("HTTP/1.1 200")
            assert await client.read(6) == b"1\r\na\r\n"
        assert await reload(gateway, without) == []
        async with asyncio.timeout(2.0):
            assert await goes.ended() == b""
        upstream.handler = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await ask(gateway, "/login/x", shop_one)).status == 401
        assert (await ask(gateway, "/login/x", next_one)).status == 200
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                await stays.read(1)
        assert await reload(gateway, CONFIG) == []
        assert (await ask(gateway, "/login/x", shop_one)).status == 200


async def test_a_source_that_cannot_be_opened_refuses_the_reload(
    gateway: GatewayProcess, shop: Shop
) -> None:
    broken = CONFIG.replace("${REDIS}", "redis://127.0.0.1:1/0")
    [problem] = await reload(gateway, broken, event="reload refused")
    assert "session.accept" in problem
    assert (await ask(gateway, "/login/x", shop.sign_in(user={"id": "s"}))).status == 200
    assert await reload(gateway, CONFIG) == []


async def test_a_new_secret_counts_from_then_on(gateway: GatewayProcess) -> None:
    new = "a new secret of the Next app, 32 characters"
    old_one, new_one = next_cookie(sub="n"), next_cookie(sub="n", secret=new)
    rotated = CONFIG.replace("${NEXT_SECRET}", f'["{new}", "${{NEXT_SECRET}}"]')
    assert (await ask(gateway, "/login/x", new_one)).status == 401
    assert await reload(gateway, rotated) == []
    for cookie in (old_one, new_one):
        assert (await ask(gateway, "/login/x", cookie)).status == 200
    assert await reload(gateway, CONFIG) == []
    assert (await ask(gateway, "/login/x", new_one)).status == 401


async def test_every_worker_takes_a_new_source(
    running_upstream: Upstream, tmp_path: Path, redis: RedisServer, shop: Shop
) -> None:
    head = """\
version: 1
server: {listen: "127.0.0.1:${PORT}", admin: "127.0.0.1:${ADMIN_PORT}", workers: 2}
upstreams: {app: "${UPSTREAM}"}
routes: [{path: /login/**, access: login}]
"""
    store = 'session: {store: "sqlite:///sessions.db", secret: 0123456789abcdef0123456789abcdef'
    source = '{type: express-session, secret: "${SHOP_SECRET}", store: "${REDIS}"}'
    environment = {
        "UPSTREAM": running_upstream.url, "REDIS": redis.url, "SHOP_SECRET": SHOP_SECRET
    }  # fmt: skip
    cookie = shop.sign_in(user={"id": "s"})
    with GatewayProcess(tmp_path, f"{head}{store}}}\n", **environment) as gateway:
        assert {(await ask(gateway, "/login/x", cookie)).status for _ in range(20)} == {401}
        assert await reload(gateway, f"{head}{store}, accept: [{source}]}}\n") == []
        assert {(await ask(gateway, "/login/x", cookie)).status for _ in range(20)} == {200}
        broken = source.replace("${REDIS}", "redis://127.0.0.1:1/0")
        config = f"{head}{store}, accept: [{broken}]}}\n"
        assert await reload(gateway, config, event="reload refused") != []
        assert {(await ask(gateway, "/login/x", cookie)).status for _ in range(20)} == {200}
