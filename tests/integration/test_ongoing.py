"""WebSockets and streams end when nobody would let them begin any more, on every replica."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Client, Received, Upstream
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session:
  store: "${STORE}"
  secret: 0123456789abcdef0123456789abcdef
LIFETIMES
roles:
  reader: {permissions: ["reports:read"]}
  admin: {inherits: [reader]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /admin/**, access: login, role: admin}
"""
USUAL = CONFIG.replace("LIFETIMES\n", "")

SECOND = 1.0
CLOSE_1008 = b"\x88\x02\x03\xf0"
HELLO = b"\x81\x05hello"
KINDS = ["websocket", "stream"]


async def going_on(request: Received) -> None:
    """Begin an answer that has no end; a WebSocket says again what it hears."""
    peer = request.peer
    if request.get("Upgrade"):
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        while data := await peer.reader.read(1 << 16):
            await peer.send(data)
    else:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        await peer.until_closed()


@asynccontextmanager
async def begun(
    gateway: GatewayProcess, kind: str, path: str, session: SignedIn | None = None
) -> AsyncIterator[Client]:
    """Return a client to whom something goes on."""
    async with Client(gateway.port) as client:
        await client.send(request_for(kind, path, session))
        head = await client.head()
        if kind == "websocket":
            assert head.start.startswith("HTTP/1.1 101"), head.start
            assert await echo(client)
        else:
            assert head.start.startswith("HTTP/1.1 200"), head.start
            assert await client.read(10) == b"5\r\nhello\r\n"
        yield client


@asynccontextmanager
async def everything(
    gateways: Sequence[GatewayProcess], paths: Sequence[str], session: SignedIn | None
) -> AsyncIterator[list[tuple[Client, str]]]:
    """Return clients, with the kind of what goes on for each: of every kind everywhere."""
    async with AsyncExitStack() as stack:
        yield [
            (await stack.enter_async_context(begun(gateway, kind, path, session)), kind)
            for gateway in gateways
            for kind in KINDS
            for path in paths
        ]


def request_for(kind: str, path: str, session: SignedIn | None) -> str:
    lines = [f"GET {path}/{kind} HTTP/1.1", "Host: localhost"]
    if kind == "websocket":
        lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    if session is not None:
        lines += [f"Cookie: {session.cookie}"]
    return "\r\n".join(lines) + "\r\n\r\n"


async def echo(client: Client) -> bool:
    await client.send(HELLO)
    return await client.read(len(HELLO)) == HELLO


async def broken_off(client: Client, kind: str, *, within: float = SECOND) -> None:
    """Wait for a goodbye, or an end that nobody could take for the whole."""
    began = time.monotonic()
    if kind == "websocket":
        assert await client.read(len(CLOSE_1008)) == CLOSE_1008
    else:
        assert not (await client.ended()).endswith(b"0\r\n\r\n")
    assert time.monotonic() - began < within


async def goes_on(client: Client, *, seconds: float = SECOND) -> bool:
    """Whether the client is not told that it is over, for longer than that could take."""
    try:
        async with asyncio.timeout(seconds):
            return bool(await client.reader.read(1))
    except TimeoutError:
        return True


async def cli(gateway: GatewayProcess, *words: str) -> object:
    return await asyncio.to_thread(gateway.sessions, *words)


async def why(gateway: GatewayProcess) -> set[object]:
    """Return what the log says of everything that was broken off."""
    await wait_until(lambda: gateway.log("broken off"), what="it is logged")
    return {line["why"] for line in gateway.log("broken off")}


# --- two gateways on one store -------------------------------------------------------------------


@pytest.fixture(scope="module", params=["redis", "sqlite"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/sessions.db"
        return
    with RedisServer() as server:
        yield server.url


@pytest.fixture(scope="module")
def pair(
    store: str,
    running_upstream: Upstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    # The one keeps no copies of sessions: it hears of changes for the sake of what goes on alone.
    one, two = (
        GatewayProcess(
            tmp_path_factory.mktemp("gateway"),
            CONFIG.replace("LIFETIMES", f"  cache: {cache}"),
            STORE=store,
            UPSTREAM=running_upstream.url,
        )
        for cache in ("false", "true")
    )
    with one, two:
        yield one, two


@pytest.fixture
def streaming(running_upstream: Upstream) -> Upstream:
    running_upstream.forget()
    running_upstream.handler = going_on
    return running_upstream


async def test_a_revoked_session_ends_everything_that_goes_on_in_it_on_every_replica(
    pair: tuple[GatewayProcess, GatewayProcess], streaming: Upstream
) -> None:
    ada, grace = pair[0].sign_in("ada"), pair[0].sign_in("grace")
    async with AsyncExitStack() as stack:
        hers = await stack.enter_async_context(everything(pair, ("/login", "/optional"), ada))
        others = [
            await stack.enter_async_context(begun(gateway, "websocket", "/login", session))
            for gateway in pair
            for session in (grace, pair[0].sign_in("ada"))
        ]
        nobodys = await stack.enter_async_context(begun(pair[1], "websocket", "/optional"))
        peers = [request.peer for request in streaming.requests[: len(hers)]]
        await cli(pair[0], "revoke", ada.id)
        await asyncio.gather(*(broken_off(client, kind) for client, kind in hers))
        for peer in peers:  # the upstream hears of it as well
            await wait_until(peer.gone.is_set, seconds=SECOND)
        for client in (*others, nobodys):
            assert await echo(client)
    for gateway in pair:
        lines = await reasons(gateway, "session_ended", 4)
        assert {line["status"] for line in lines} == {101, 200}
        assert await why(gateway) == {"not_signed_in"}


async def reasons(gateway: GatewayProcess, reason: str, count: int) -> list[dict[str, object]]:
    await wait_until(lambda: len(gateway.requests(reason=reason)) >= count, what=reason)
    return gateway.requests(reason=reason)


async def test_a_lost_role_ends_what_the_upstream_was_told_of_it(
    pair: tuple[GatewayProcess, GatewayProcess], streaming: Upstream
) -> None:
    session = pair[0].sign_in("lost", roles=["admin"])
    async with everything(pair, ("/admin", "/login"), session) as hers:
        await cli(pair[0], "set-roles", "lost", "--role", "reader")
        await asyncio.gather(*(broken_off(client, kind) for client, kind in hers))


async def test_a_role_that_was_gained_ends_nothing(
    pair: tuple[GatewayProcess, GatewayProcess], streaming: Upstream
) -> None:
    session = pair[0].sign_in("gained", roles=["reader"])
    async with begun(pair[1], "websocket", "/login", session) as client:
        await cli(pair[0], "set-roles", "gained", "--role", "reader", "--role", "admin")
        assert await goes_on(client)
        assert await echo(client)


async def test_a_renewed_token_ends_nothing_and_its_revocation_does(
    pair: tuple[GatewayProcess, GatewayProcess], streaming: Upstream
) -> None:
    session = pair[0].sign_in("renewed", roles=["reader"])
    async with begun(pair[1], "websocket", "/login", session) as client:
        changed = await cli(pair[0], "set-roles", "renewed", "--role", "reader")
        assert changed
        async with Client(pair[0].port) as asking:
            await asking.send(request_for("stream", "/login", session))
            assert (await asking.head()).get("Set-Cookie")  # the new token
        assert await goes_on(client)
        assert await echo(client)
        await cli(pair[0], "revoke-user", "renewed")
        await broken_off(client, "websocket")


async def test_a_session_that_was_revoked_before_the_answer_began_is_noticed(
    pair: tuple[GatewayProcess, GatewayProcess], streaming: Upstream
) -> None:
    session = pair[0].sign_in("early")
    revoked = asyncio.Event()

    async def late(request: Received) -> None:
        await revoked.wait()
        await going_on(request)

    streaming.handler = late
    async with Client(pair[1].port) as one, Client(pair[1].port) as two:
        clients = [(one, "websocket"), (two, "stream")]
        for client, kind in clients:
            await client.send(request_for(kind, "/login", session))
        await wait_until(lambda: len(streaming.requests) == 2)
        await cli(pair[0], "revoke", session.id)
        revoked.set()
        for client, _ in clients:
            await client.head()
        await asyncio.gather(*(broken_off(client, kind) for client, kind in clients))


# --- the rules -----------------------------------------------------------------------------------


@pytest.fixture
def alone(
    tmp_path: Path, running_upstream: Upstream, streaming: Upstream
) -> Iterator[GatewayProcess]:
    """A gateway whose file a test may change."""
    gateway = GatewayProcess(
        tmp_path, USUAL, STORE="sqlite:///sessions.db", UPSTREAM=running_upstream.url
    )
    with gateway:
        yield gateway


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        pytest.param("/login", "/login/**, access: login", "/login/**, access: deny", "denied",
                     id="nobody may any more"),
        pytest.param("/public", "/public/**, access: public", "/public/**, access: login",
                     "not_signed_in", id="a session would be needed"),
        pytest.param("/login", "/login/**, access: login", "/login/**, access: login, role: root",
                     "missing_role", id="a role would be needed"),
        pytest.param("/login", "  - {path: /login/**, access: login}\n", "", "no_route",
                     id="there is no such route"),
        pytest.param("/login", "/login/**, access: login",
                     "/login/**, access: login, network: 10.0.0.0/8", "wrong_network",
                     id="it comes from elsewhere"),
        pytest.param("/login", '{permissions: ["reports:read"]}', "{permissions: []}",
                     "missing_permission", id="the role permits less"),
        pytest.param("/login", "admin: {inherits: [reader]}", "admin: {}",
                     "missing_role", id="the role inherits less"),
    ],
)  # fmt: skip
async def test_a_reload_that_would_refuse_a_request_ends_it(
    alone: GatewayProcess, path: str, old: str, new: str, reason: str
) -> None:
    session = alone.sign_in("ada", roles=["admin"])
    asking = None if path == "/public" else session
    other = "/optional" if path == "/public" else "/public"
    async with (
        everything([alone], [path], asking) as refused,
        begun(alone, "websocket", other) as untouched,
    ):
        assert USUAL.count(old) == 1
        alone.rewrite(USUAL.replace(old, new))
        alone.send_signal(1)
        await wait_until(lambda: alone.log("reloaded"), what="it is reloaded")
        await asyncio.gather(*(broken_off(client, kind) for client, kind in refused))
        assert await echo(untouched)
    assert await why(alone) == {reason}


async def test_a_reload_that_takes_websockets_away_ends_them(alone: GatewayProcess) -> None:
    session = alone.sign_in("ada")
    async with (
        begun(alone, "websocket", "/login", session) as client,
        begun(alone, "stream", "/login", session) as stream,
    ):
        old = "/login/**, access: login"
        alone.rewrite(USUAL.replace(old, f"{old}, websocket: false"))
        alone.send_signal(1)
        await broken_off(client, "websocket", within=5.0)
        assert await goes_on(stream)


async def test_a_reload_that_changes_nothing_ends_nothing(alone: GatewayProcess) -> None:
    session = alone.sign_in("ada", roles=["admin"])
    async with begun(alone, "websocket", "/admin", session) as client:
        alone.send_signal(1)
        await wait_until(lambda: alone.log("reloaded"), what="it is reloaded")
        assert await goes_on(client)
        assert await echo(client)


# --- the end of a session ------------------------------------------------------------------------


@pytest.fixture
def short_lived(
    request: pytest.FixtureRequest, tmp_path: Path, streaming: Upstream
) -> Iterator[GatewayProcess]:
    config = CONFIG.replace("LIFETIMES", f"  {request.param}".replace(", ", "\n  "))
    gateway = GatewayProcess(
        tmp_path, config, STORE="sqlite:///sessions.db", UPSTREAM=streaming.url
    )
    with gateway:
        yield gateway


@pytest.mark.parametrize(
    "short_lived", ["max_age: 2s", "idle_timeout: 2s, update_age: 500ms"], indirect=True
)
async def test_it_ends_with_its_session(short_lived: GatewayProcess) -> None:
    began = time.monotonic()
    session = await asyncio.to_thread(short_lived.sign_in, "ada")
    async with everything([short_lived], ("/login", "/optional"), session) as hers:
        await asyncio.gather(*(broken_off(client, kind, within=4.0) for client, kind in hers))
    assert time.monotonic() - began > 1.9


@pytest.mark.parametrize("short_lived", ["idle_timeout: 3s, update_age: 500ms"], indirect=True)
async def test_what_a_client_sends_over_a_websocket_is_use_of_the_session(
    short_lived: GatewayProcess,
) -> None:
    session = short_lived.sign_in("ada")
    async with (
        begun(short_lived, "websocket", "/login", session) as busy,
        begun(short_lived, "stream", "/login", session) as stream,
    ):
        enough = asyncio.Event()
        chatting = asyncio.create_task(chat(busy, enough))
        assert await goes_on(stream, seconds=5.0)  # it lives on what the other one hears
        shown = await asyncio.to_thread(short_lived.sessions, "show", session.id)
        assert shown["expires"] > session.expires
        assert not chatting.done()
        enough.set()
        await chatting
        await asyncio.gather(
            broken_off(busy, "websocket", within=5.0), broken_off(stream, "stream", within=5.0)
        )


async def chat(client: Client, enough: asyncio.Event) -> None:
    while not enough.is_set():
        assert await echo(client)
        await asyncio.sleep(0.1)


# --- the store is out of sight -------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def on_redis(redis: RedisServer, tmp_path: Path, streaming: Upstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, USUAL, STORE=redis.url, UPSTREAM=streaming.url) as gateway:
        yield gateway


async def test_it_outlives_an_outage_of_the_store_and_what_happened_meanwhile_is_noticed(
    on_redis: GatewayProcess, redis: RedisServer
) -> None:
    ada, grace = on_redis.sign_in("ada"), on_redis.sign_in("grace")
    async with (
        begun(on_redis, "websocket", "/login", ada) as hers,
        begun(on_redis, "websocket", "/login", grace) as other,
    ):
        redis.stop()
        await wait_until(lambda: on_redis.log("changes_not_heard"), what="it is noticed")
        assert await goes_on(hers)
        redis.start()
        await cli(on_redis, "revoke", ada.id)
        await broken_off(hers, "websocket", within=3.0)  # the gateway connects anew first
        assert await echo(other)


async def test_it_ends_with_its_session_though_the_store_is_out(
    redis: RedisServer, tmp_path: Path, streaming: Upstream
) -> None:
    config = CONFIG.replace("LIFETIMES", "  max_age: 3s")
    with GatewayProcess(tmp_path, config, STORE=redis.url, UPSTREAM=streaming.url) as gateway:
        session = gateway.sign_in("ada")
        async with begun(gateway, "websocket", "/login", session) as client:
            redis.stop()
            await broken_off(client, "websocket", within=5.0)


async def test_a_key_that_somebody_deletes_while_no_change_is_heard_is_noticed(
    on_redis: GatewayProcess, redis: RedisServer
) -> None:
    session = on_redis.sign_in("ada")
    async with begun(on_redis, "websocket", "/login", session) as client:
        redis.command("CLIENT", "KILL", "SKIPME", "yes")
        redis.command("FLUSHALL")
        await broken_off(client, "websocket", within=2.0)
