"""What an attacker tries at the wire: each attack costs the gateway nothing that it cannot give."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import (
    OK,
    PATIENCE,
    BrokenAnswer,
    Client,
    Received,
    Upstream,
    answering,
)
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  drain_timeout: 1s
  trusted_proxies: [127.0.0.1]
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes: [{path: /**, access: public}]
"""

MIB = 1 << 20
ENOUGH = 20 * MIB
"""What the memory may grow by for one client, whatever it does."""


def get(path: str = "/x", *lines: str) -> bytes:
    return "".join(
        f"{line}\r\n" for line in (f"GET {path} HTTP/1.1", "Host: localhost", *lines, "")
    ).encode()


def whole(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


@pytest.fixture
def fresh(upstream: Upstream, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway of the test's own: memory that an attack before left free would hide the next."""
    with GatewayProcess(tmp_path, CONFIG, UPSTREAM=upstream.url) as gateway:
        yield gateway


async def send_until_nobody_listens(client: Client, data: bytes, at_most: int) -> None:
    """Send the same over and over, reading nothing, until the gateway takes no more."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    with suppress(TimeoutError, ConnectionError):
        for _ in range(at_most // len(data)):
            client.writer.write(data)
            async with asyncio.timeout(1.0):
                await client.writer.drain()


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(get("/x"), id="of the upstream"),
        pytest.param(get("/_gateway/auth/signin", "Accept: text/html"), id="of our own"),
    ],
)
async def test_answers_that_nobody_reads_do_not_pile_up(
    fresh: GatewayProcess, upstream: Upstream, request_: bytes
) -> None:
    upstream.handler = answering(whole(60_000))
    async with Client(fresh.port) as client:
        before = fresh.memory()
        fresh.forget_peak()
        await send_until_nobody_listens(client, request_ * 100, 30 * MIB)
        assert fresh.peak_memory() - before < ENOUGH
        client.writer.transport.abort()


async def test_an_answer_behind_others_that_nobody_reads_is_held_back(
    fresh: GatewayProcess, upstream: Upstream
) -> None:
    ended = asyncio.Event()

    async def handle(request: Received) -> None:
        if request.target != "/endless":
            await request.peer.send(whole(150_000))
            return
        await request.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
        with suppress(TimeoutError, ConnectionError):
            for _ in range(200):
                async with asyncio.timeout(1.0):
                    await request.peer.send(b"y" * MIB)
        ended.set()
        request.peer.close()

    upstream.handler = handle
    async with Client(fresh.port) as client:
        before = fresh.memory()
        fresh.forget_peak()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(get("/small") * 40 + get("/endless"))
        # Either it is never asked for, or it is asked for and held back.
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await ended.wait()
        assert fresh.peak_memory() - before < ENOUGH
        client.writer.transport.abort()


async def test_trailers_without_end_are_no_answer(
    fresh: GatewayProcess, upstream: Upstream
) -> None:
    trailers = b"".join(b"X-%d: %s\r\n" % (n, b"z" * 1000) for n in range(100))

    async def handle(request: Received) -> None:
        with suppress(ConnectionError):
            await request.peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
                *[trailers] * 1000,
            )
        request.peer.close()

    upstream.handler = handle
    before = fresh.memory()
    fresh.forget_peak()
    async with Client(fresh.port) as client:
        with pytest.raises(BrokenAnswer):
            await client.ask(get())
    assert fresh.peak_memory() - before < ENOUGH


async def test_idle_connections_do_not_hold_the_large_heads_they_brought(
    fresh: GatewayProcess,
) -> None:
    cookie = "Cookie: a=" + "b" * 60_000
    clients = [Client(fresh.port) for _ in range(200)]
    before = fresh.memory()
    try:
        for client in clients:
            await client.__aenter__()
            assert (await client.ask(get("/x", cookie))).status == 200
        # As many heads at once would be 12 MiB, and what is made of each as much again.
        assert fresh.memory() - before < 12 * MIB
    finally:
        for client in clients:
            await client.close()


# --- whose request was that? ---------------------------------------------------------------------


async def test_a_refused_request_is_logged_with_its_own_client(gateway: GatewayProcess) -> None:
    bad = "POST /refused HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.9\r\n"
    async with Client(gateway.port) as client:
        await client.ask(get("/first", "X-Forwarded-For: 203.0.113.7"))
        answer = await client.ask(bad + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
        request_id = answer.get("X-Request-Id")
    await wait_until(lambda: bool(gateway.requests(request_id=request_id)), what="the log line")

    [line] = gateway.requests(request_id=request_id)
    assert line["client"] in ("127.0.0.1", "198.51.100.9")


# --- answers that mean something else than they seem to ------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="a coding besides chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="a coding after chunked",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", id="a coding without chunked"
        ),
        pytest.param(b"HTTP/1.1 099 X\r\n\r\n" + OK, id="a status below 100"),
    ],
)
async def test_an_answer_that_cannot_be_passed_on_as_it_is_meant_is_502(
    gateway: GatewayProcess, upstream: Upstream, sent: bytes
) -> None:
    upstream.handler = answering(sent, close=True)
    async with Client(gateway.port) as client:
        assert (await client.ask(get())).status == 502
