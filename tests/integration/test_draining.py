"""SIGTERM: what is under way finishes, nothing new begins, and the process ends with status 0."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import OK, PATIENCE, Client, Received, Upstream
from tests.servers import listens, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  drain_timeout: ${DRAIN_TIMEOUT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
"""

GET = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GOING_AWAY = b"\x88\x02\x03\xe9"  # Close, 1001
PIECE = b"x" * 1000


class Slow:
    """An upstream whose work ends when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, request: Received) -> None:
        peer = request.peer
        match request.target:
            case "/download":
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + PIECE)
                await self.go_on.wait()
                await peer.send(PIECE)
            case "/wait":
                await self.go_on.wait()
                await peer.send(OK)
            case "/ws":
                await peer.send(
                    b"HTTP/1.1 101 Switching Protocols\r\n"
                    b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                await peer.until_closed()
                peer.close()
            case _:
                await request.read()
                await peer.send(OK)


@pytest.fixture
def drain_timeout() -> str:
    return "10s"


@pytest.fixture
def running_gateway(
    running_upstream: Upstream, tmp_path: Path, drain_timeout: str
) -> Iterator[GatewayProcess]:
    """A gateway of the test's own, since the test ends it."""
    with GatewayProcess(
        tmp_path, CONFIG, UPSTREAM=running_upstream.url, DRAIN_TIMEOUT=drain_timeout
    ) as gateway:
        yield gateway


@pytest.fixture
def slow(upstream: Upstream) -> Slow:
    slow = upstream.handler = Slow()
    return slow


async def told_to_stop(gateway: GatewayProcess, number: int = signal.SIGTERM) -> None:
    gateway.send_signal(number)
    await wait_until(lambda: gateway.log("draining"), what="it drains")
    await wait_until(lambda: not listens(gateway.port), what="it accepts no more")


async def ended(gateway: GatewayProcess, *, seconds: float = 5.0) -> int:
    await wait_until(lambda: not gateway.running, seconds=seconds, what="the process ends")
    return gateway.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_with_nothing_to_do_it_ends_at_once(gateway: GatewayProcess, number: int) -> None:
    began = time.monotonic()
    gateway.send_signal(number)
    assert await ended(gateway) == 0
    assert time.monotonic() - began < 2.0
    events = [line["event"] for line in gateway.log()]
    assert events.index("draining") < events.index("stopped") == len(events) - 1


async def test_a_download_is_finished(gateway: GatewayProcess, slow: Slow) -> None:
    async with Client(gateway.port) as client:
        await client.send(GET.replace("/x", "/download"))
        await client.head()
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.readexactly(1000) == PIECE
        await told_to_stop(gateway)
        assert gateway.running
        slow.go_on.set()
        async with asyncio.timeout(PATIENCE):
            assert await client.reader.read() == PIECE  # and then the connection ends
    assert await ended(gateway) == 0
    assert [line["reason"] for line in gateway.requests(path="/download")] == ["ok"]


async def test_an_upload_is_finished(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        await client.send("POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n")
        await client.send(PIECE)
        await wait_until(lambda: upstream.requests)
        await told_to_stop(gateway)
        await client.send(PIECE)
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"ok")
        assert answer.get("Connection") == "close"
    assert upstream.last.body == PIECE * 2
    assert await ended(gateway) == 0


async def test_who_waits_for_an_answer_gets_it(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    async with Client(gateway.port) as first, Client(gateway.port) as second:
        for client in (first, second):
            await client.send(GET.replace("/x", "/wait"))
        await wait_until(lambda: len(upstream.requests) == 2)
        await told_to_stop(gateway)
        slow.go_on.set()
        for client in (first, second):
            answer = await client.answer()
            assert (answer.body, answer.get("Connection")) == (b"ok", "close")
            assert await client.reader.read() == b""
    assert await ended(gateway) == 0


async def test_idle_connections_are_closed_and_new_ones_refused(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    async with (
        Client(gateway.port) as idle,
        Client(gateway.port) as mute,
        Client(gateway.port) as busy,
    ):
        assert (await idle.ask(GET)).status == 200
        await busy.send(GET.replace("/x", "/wait"))
        await wait_until(lambda: len(upstream.requests) == 2)
        gateway.send_signal(signal.SIGTERM)
        for client in (idle, mute):
            async with asyncio.timeout(PATIENCE):
                assert await client.reader.read() == b""
        assert gateway.running
        with pytest.raises(ConnectionRefusedError):
            await Client(gateway.port).__aenter__()
        slow.go_on.set()
        assert (await busy.answer()).status == 200
    assert await ended(gateway) == 0


async def test_a_request_behind_the_one_under_way_is_not_begun(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    """Its client knows by the close that it was not served, and asks somebody else."""
    async with Client(gateway.port) as client:
        await client.send(GET.replace("/x", "/wait") + GET.replace("/x", "/behind"))
        await wait_until(lambda: upstream.requests)
        await told_to_stop(gateway)
        slow.go_on.set()
        answer = await client.answer()
        assert (answer.body, answer.get("Connection")) == (b"ok", "close")
        assert await client.reader.read() == b""
    assert [request.target for request in upstream.requests] == ["/wait"]
    assert await ended(gateway) == 0


async def test_a_websocket_that_answers_no_goodbye_is_closed_all_the_same(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    async with Client(gateway.port) as client:
        assert (await client.ask(UPGRADE)).status == 101
        gateway.send_signal(signal.SIGTERM)
        assert await client.ended() == GOING_AWAY
        await wait_until(upstream.last.peer.gone.is_set, what="the upstream hears of it")
    assert await ended(gateway) == 0


async def test_while_it_drains_it_is_alive_and_not_ready(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream
) -> None:
    """A balancer learns in time to go elsewhere."""
    async with Client(gateway.port) as client:
        await client.send(GET.replace("/x", "/wait"))
        await wait_until(lambda: upstream.requests)
        await told_to_stop(gateway)
        assert (await asyncio.to_thread(gateway.admin, "/healthz"))[0] == 200
        status, body = await asyncio.to_thread(gateway.admin, "/readyz")
        assert status == 503
        assert "draining" in body
        slow.go_on.set()
        assert (await client.answer()).status == 200
    assert await ended(gateway) == 0


@pytest.mark.parametrize("drain_timeout", ["500ms"])
@pytest.mark.parametrize("path", ["/download", "/wait"])
async def test_what_does_not_end_is_ended_when_the_time_is_over(
    gateway: GatewayProcess, slow: Slow, upstream: Upstream, path: str
) -> None:
    async with Client(gateway.port) as client:
        await client.send(GET.replace("/x", path))
        await wait_until(lambda: upstream.requests)
        if path == "/download":
            await client.head()
        began = time.monotonic()
        gateway.send_signal(signal.SIGTERM)
        rest = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                rest = await client.reader.read()
        assert rest == (PIECE if path == "/download" else b"")  # of 2000 bytes that were announced
        assert await ended(gateway) == 0
    assert 0.4 < time.monotonic() - began < 3.0
