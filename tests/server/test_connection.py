"""Clients that leave while their requests wait for something."""

from __future__ import annotations

import asyncio
from typing import cast

from aiohttp.streams import StreamReader

from gateway.server.census import Census
from gateway.server.connection import Connection, Server
from gateway.server.fields import Fields, KnownFields
from gateway.server.turned_away import TurnedAway
from gateway.upstream.deadlines import Deadlines
from tests.servers import wait_until


class Waits:
    """Answers requests once a future is done."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connection: Connection | None = None
        self.ended = False

    async def serve(
        self, connection: Connection, method: str, target: str, fields: Fields, body: StreamReader
    ) -> bool:
        self.connection = connection
        try:
            await self.answer
        finally:
            self.ended = True
        return True

    def malformed(self, connection: Connection, error: Exception) -> None:
        raise AssertionError


async def test_nobody_waits_any_more_for_what_a_client_that_left_had_asked() -> None:
    """An error that came of it later would be one that nobody has taken."""
    handler, deadlines = Waits(), Deadlines()
    server = Server(
        handler,
        deadlines,
        keepalive=60,
        head_limit=60,
        secure=False,
        census=Census(cast(TurnedAway, None)),
        known=KnownFields(),
    )
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_until(lambda: handler.connection)
        writer.transport.abort()
        await wait_until(lambda: handler.ended)
        assert handler.answer.cancelled()
        assert server.open == set()
    finally:
        listening.close()
        await listening.wait_closed()
        deadlines.close()
