"""Hear of every change to the sessions in PostgreSQL, whoever makes it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from gateway.errors import StoreUnavailable
from gateway.model import SessionKey
from gateway.stores.postgres_connections import Connections
from gateway.stores.postgres_schema import CHANNEL, WATCHED
from gateway.stores.protocol import Watcher
from gateway.stores.watchers import Watchers

log = structlog.get_logger()

_BEAT = 1.0
_RETRY_FIRST = 0.05
_RETRY_LAST = 2.0


class Changes:
    """``LISTEN`` on a connection of its own; triggers on the table tell.

    Each second the server is asked whether the table and its triggers are still those that we began
    with. A connection that does not answer in time is lost: until there is another, nothing held
    counts as true.
    """

    def __init__(self, connections: Connections, timeout: float) -> None:
        self._connections = connections
        self._timeout = timeout
        self._watchers = Watchers()
        self._task: asyncio.Task[None] | None = None
        self._heard = False
        self._retry = _RETRY_FIRST

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change from now on."""
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="postgres-changes")
        elif self._heard:
            watcher.trust(True)

    def tell(self, key: SessionKey) -> None:
        """Pass on at once what this process itself has changed."""
        self._watchers.changed(key)

    async def close(self) -> None:
        """Stop. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None
        self._watchers.clear()

    async def _follow(self) -> None:
        reported = False
        while True:
            try:
                await self._listen()
            except StoreUnavailable as exc:
                if self._heard or not reported:
                    log.warning("changes_not_heard", store="postgresql", error=str(exc))
                    reported = True
            finally:
                self._trust(False)
            await asyncio.sleep(self._retry)
            self._retry = min(self._retry * 2, _RETRY_LAST)

    async def _listen(self) -> None:
        connection = await self._connections.connect()
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        try:
            with self._connections.translated(self._timeout):
                async with asyncio.timeout(self._timeout):
                    await connection.add_listener(CHANNEL, self._understand)
                table = None
                while True:
                    table = await self._beat(connection, table)
                    if not self._heard:
                        self._trust(True)
                        self._retry = _RETRY_FIRST
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_BEAT):
                            await gone.wait()
        finally:
            connection.terminate()

    async def _beat(self, connection: Any, table: int | None) -> int:
        async with asyncio.timeout(self._timeout):
            seen: int | None = await connection.fetchval(WATCHED)
        if seen is None or table not in (None, seen):
            raise StoreUnavailable("the table gateway_sessions, or a trigger of it, was replaced")
        return seen

    def _understand(self, _connection: Any, _pid: int, _channel: str, key: str) -> None:
        if key:
            self.tell(SessionKey(key))
        else:  # TRUNCATE
            self._watchers.all_changed()

    def _trust(self, trusted: bool) -> None:
        if trusted or self._heard:
            self._heard = trusted
            self._watchers.trust(trusted)
