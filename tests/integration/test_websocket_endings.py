"""SIGTERM ends WebSockets as their protocol has it: both sides hear 1001, between two frames."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.gateway_process import GatewayProcess
from tests.integration.test_tls import CONTEXT, FILES, TlsGateway
from tests.integration.wire import PATIENCE, Client, Received, Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  drain_timeout: ${DRAIN_TIMEOUT:-20s}
  workers: ${WORKERS:-1}
session: {store: "sqlite:///sessions.db"}
upstreams: {chat: "${CHAT}", raw: "${UPSTREAM}"}
defaults: {access: deny}
routes:
  - {path: /chat, access: public, upstream: chat}
  - {path: /raw, access: public, upstream: raw}
"""
OVER_TLS = CONFIG.replace(
    "  workers:", "  tls: {cert: ${FILES}/cert.pem, key: ${FILES}/key.pem}\n  workers:"
)
UPGRADE = (
    "GET /raw HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
GOING_AWAY = b"\x88\x02\x03\xe9"
MASKED_GOING_AWAY = b"\x88\x82"  # and a mask that nobody knows beforehand

MESSAGE = bytes(range(256)) * 1024
WHOLE = Frame(Opcode.BINARY, MESSAGE).serialize(mask=False)
MASKED = Frame(Opcode.BINARY, MESSAGE).serialize(mask=True)

Started = Callable[..., AbstractContextManager[GatewayProcess]]


class Chat:
    """A WebSocket server that echoes, and remembers who was there."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []

    async def __call__(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for message in connection:
            await connection.send(message)


class Held:
    """An upstream that holds a frame back in its middle, until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.heard = b""

    async def __call__(self, request: Received) -> None:
        await request.peer.send(SWITCHING, WHOLE[:1000])
        await self.go_on.wait()
        await request.peer.send(WHOLE[1000:] + WHOLE)
        self.heard = await request.peer.until_closed()
        request.peer.close()


class Listening:
    """An upstream that says nothing."""

    def __init__(self) -> None:
        self.heard = b""
        self.expected = 0
        self.went = asyncio.Event()

    async def __call__(self, request: Received) -> None:
        await request.peer.send(SWITCHING)
        self.heard = await request.peer.reader.readexactly(self.expected)
        self.went.set()
        self.heard += await request.peer.until_closed()
        request.peer.close()


@pytest_asyncio.fixture(loop_scope="module")
async def chat() -> AsyncIterator[tuple[Chat, Server]]:
    chat = Chat()
    async with serve(chat, "127.0.0.1", 0, compression=None) as server:
        yield chat, server


@pytest.fixture
def started(upstream: Upstream, chat: tuple[Chat, Server], tmp_path: Path) -> Started:
    """Start a gateway of the test's own, which the test ends."""
    port = next(iter(chat[1].sockets)).getsockname()[1]

    @contextmanager
    def start(
        kind: type[GatewayProcess] = GatewayProcess, config: str = CONFIG, **environment: object
    ) -> Iterator[GatewayProcess]:
        environment |= {"CHAT": f"http://127.0.0.1:{port}", "UPSTREAM": upstream.url}
        with kind(tmp_path, config, FILES=FILES, **environment) as gateway:
            yield gateway

    return start


def joined(gateway: GatewayProcess, *, tls: ssl.SSLContext | None = None) -> connect:
    scheme = "ws" if tls is None else "wss"
    uri = f"{scheme}://127.0.0.1:{gateway.port}/chat"
    return connect(uri, proxy=None, ssl=tls, compression=None, close_timeout=PATIENCE)


async def ended(gateway: GatewayProcess, *, seconds: float) -> float:
    took = await wait_until(lambda: not gateway.running, seconds=seconds, what="the process ends")
    assert gateway.wait() == 0
    return took


@pytest.mark.parametrize(
    ("kind", "config", "tls", "workers"),
    [
        pytest.param(GatewayProcess, CONFIG, None, 1, id="one process"),
        pytest.param(GatewayProcess, CONFIG, None, 2, id="two workers"),
        pytest.param(TlsGateway, OVER_TLS, CONTEXT, 1, id="over TLS"),
    ],
)
async def test_both_sides_hear_that_the_gateway_goes_away(
    started: Started,
    chat: tuple[Chat, Server],
    kind: type[GatewayProcess],
    config: str,
    tls: ssl.SSLContext | None,
    workers: int,
) -> None:
    with started(kind, config, WORKERS=workers) as gateway:
        clients = [await joined(gateway, tls=tls) for _ in range(8)]
        for number, client in enumerate(clients):
            await client.send(f"{number}")
            assert await client.recv() == f"{number}"
        gateway.send_signal(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(client.recv(), PATIENCE)
            assert client.close_code == 1001
        await ended(gateway, seconds=2.0)
    assert len(chat[0].connections) == 8
    for connection in chat[0].connections:
        await asyncio.wait_for(connection.wait_closed(), PATIENCE)
        assert connection.close_code == 1001


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_closes_nothing(started: Started, workers: int) -> None:
    with started(WORKERS=workers) as gateway:
        clients = [await joined(gateway) for _ in range(4)]
        for number in range(2):
            gateway.send_signal(signal.SIGHUP)
            await wait_until(lambda: len(gateway.log("reloaded")) == number + 1)  # noqa: B023
            for client in clients:
                await client.send("still there?")
                assert await client.recv() == "still there?"
        for client in clients:
            await client.close()


async def test_a_message_on_its_way_to_the_client_arrives_whole_and_is_the_last(
    started: Started, upstream: Upstream
) -> None:
    held = upstream.handler = Held()
    with started() as gateway:
        async with Client(gateway.port) as client:
            assert (await client.ask(UPGRADE)).status == 101
            assert await client.read(1000) == WHOLE[:1000]
            gateway.send_signal(signal.SIGTERM)
            await wait_until(lambda: gateway.log("draining"))
            held.go_on.set()
            assert await client.read(len(WHOLE) - 1000) == WHOLE[1000:]
            assert await client.read(4) == GOING_AWAY
            await client.send(Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
            assert await client.ended() == b""
        await ended(gateway, seconds=4.0)
    assert (held.heard[:2], len(held.heard)) == (MASKED_GOING_AWAY, 8)


@pytest.mark.parametrize("drain_timeout", ["500ms", "20s"])
async def test_a_message_that_stops_on_its_way_breaks_off_and_nothing_is_put_into_it(
    started: Started, upstream: Upstream, drain_timeout: str
) -> None:
    upstream.handler = Held()
    with started(DRAIN_TIMEOUT=drain_timeout) as gateway:
        async with Client(gateway.port) as client:
            assert (await client.ask(UPGRADE)).status == 101
            assert await client.read(1000) == WHOLE[:1000]
            gateway.send_signal(signal.SIGTERM)
            assert await client.ended() == b""
        assert await ended(gateway, seconds=2.0) < 1.0


async def test_a_message_on_its_way_to_the_upstream_arrives_whole_and_is_the_last(
    started: Started, upstream: Upstream
) -> None:
    listening = upstream.handler = Listening()
    listening.expected = 1000
    with started() as gateway:
        async with Client(gateway.port) as client:
            assert (await client.ask(UPGRADE)).status == 101
            await client.send(MASKED[:1000])
            await listening.went.wait()
            gateway.send_signal(signal.SIGTERM)
            assert await client.read(4) == GOING_AWAY
            await client.send(MASKED[1000:] + MASKED)
            await client.send(Frame(Opcode.CLOSE, b"\x03\xe9").serialize(mask=True))
            assert await client.ended() == b""
        await ended(gateway, seconds=4.0)
    assert listening.heard.startswith(MASKED)
    rest = listening.heard.removeprefix(MASKED)
    assert (rest[:2], len(rest)) == (MASKED_GOING_AWAY, 8)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_who_says_goodbye_already_is_not_interrupted(
    started: Started, upstream: Upstream, who: str
) -> None:
    """A second Close would break the protocol, and hide the code of the first."""
    mine = Frame(Opcode.CLOSE, b"\x03\xe8done")
    closing, answer = mine.serialize(mask=who == "client"), mine.serialize(mask=who != "client")
    arrived, go_on = asyncio.Event(), asyncio.Event()
    heard = b""

    async def part(request: Received) -> None:
        nonlocal heard
        peer = request.peer
        await peer.send(SWITCHING)
        if who == "upstream":
            await peer.send(closing)
        else:
            assert await peer.reader.readexactly(len(closing)) == closing
            arrived.set()
            await go_on.wait()
            await peer.send(answer)
        heard = await peer.until_closed()
        peer.close()

    upstream.handler = part
    with started() as gateway:
        async with Client(gateway.port) as client:
            assert (await client.ask(UPGRADE)).status == 101
            if who == "client":
                await client.send(closing)
                await arrived.wait()
            else:
                assert await client.read(len(closing)) == closing
            gateway.send_signal(signal.SIGTERM)
            await wait_until(lambda: gateway.log("draining"))
            if who == "client":
                go_on.set()
                assert await client.read(len(answer)) == answer
            else:
                await client.send(answer)
            client.writer.write_eof()
            assert await client.ended() == b""
        await ended(gateway, seconds=4.0)
    assert heard == (answer if who == "upstream" else b"")


async def test_an_upgrade_that_is_answered_while_the_gateway_drains_ends_at_once(
    started: Started, upstream: Upstream
) -> None:
    listening = Listening()
    go_on = asyncio.Event()

    async def late(request: Received) -> None:
        await go_on.wait()
        await listening(request)

    upstream.handler = late
    with started() as gateway:
        async with Client(gateway.port) as client:
            await client.send(UPGRADE)
            await wait_until(lambda: upstream.requests)
            gateway.send_signal(signal.SIGTERM)
            await wait_until(lambda: gateway.log("draining"))
            go_on.set()
            assert (await client.answer()).status == 101
            assert await client.read(4) == GOING_AWAY
        await ended(gateway, seconds=4.0)


async def test_a_client_that_floods_is_closed_in_time(started: Started, upstream: Upstream) -> None:
    upstream.handler = Listening()
    with started() as gateway:
        async with Client(gateway.port) as client:
            assert (await client.ask(UPGRADE)).status == 101

            async def flood() -> None:
                while True:
                    client.writer.write(MASKED)
                    await client.writer.drain()

            flooding = asyncio.ensure_future(flood())
            gateway.send_signal(signal.SIGTERM)
            await ended(gateway, seconds=8.0)
            with pytest.raises(ConnectionError):
                await flooding
