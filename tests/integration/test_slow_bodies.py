"""A body may come slowly, and not so slowly that it never ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Client, Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

IDLE = 0.6
CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {app: {targets: ["${UPSTREAM}"], timeouts: {idle: 600ms}}}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
"""
LENGTH = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
CHUNKED = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def pause() -> None:
    """Wait for a moment that is shorter than any limit."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(IDLE / 6, over.set)
    await over.wait()


@pytest.mark.parametrize(
    ("head", "piece"), [(LENGTH, b"x"), (CHUNKED, b"1\r\nx\r\n")], ids=["length", "chunked"]
)
async def test_a_client_that_only_just_sends_is_cut_off(
    gateway: GatewayProcess, head: str, piece: bytes
) -> None:
    async with Client(gateway.port) as client:
        await client.send(head)
        answer = asyncio.ensure_future(client.answer())
        began = time.monotonic()
        while not answer.done():
            await client.send(piece)
            await pause()
        assert (await answer).status == 408
        assert IDLE - 0.1 < time.monotonic() - began < 3.0
    await wait_until(lambda: gateway.requests(status=408, reason="client_timeout"))


async def test_a_client_that_sends_slowly_is_waited_for(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    piece = b"x" * 500
    async with Client(gateway.port) as client:
        await client.send(LENGTH)
        for _ in range(20):  # ten times as fast as it has to be, and far longer than one pause
            await client.send(piece)
            await pause()
        assert (await client.answer()).status == 200
    assert upstream.last.body == piece * 20
