"""Hear of every change to the sessions in Redis, whoever makes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from gateway.model import SessionKey
from gateway.stores.protocol import Watcher
from gateway.stores.redis_layout import PREFIX

log = structlog.get_logger()

_PING_AFTER = 1.0
_RETRY_FIRST = 0.05
_RETRY_LAST = 2.0


class Changes:
    """Redis's own server-assisted invalidation, in broadcasting mode, on a connection of its own.

    Redis names each key below our prefix that anybody changes, deletes, or lets expire; our own
    touches as well, so each costs every process that holds the session one more read of it. A
    connection that is silent for two seconds, though asked, is lost: until it is back nothing held
    counts as true.

    Source: https://redis.io/docs/latest/develop/reference/client-side-caching/
    """

    def __init__(self, connect: Callable[[], AbstractConnection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._watchers: list[Watcher] = []
        self._task: asyncio.Task[None] | None = None
        self._heard = False
        self._retry = _RETRY_FIRST

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change from now on."""
        self._watchers.append(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="redis-changes")
        elif self._heard:
            watcher.trust(True)

    def tell(self, key: SessionKey) -> None:
        """Pass on at once what this process itself has changed."""
        for watcher in self._watchers:
            watcher.changed(key)

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
            connection = self._connect()
            try:
                await self._listen(connection)
            except (RedisError, OSError, ValueError) as exc:
                if self._heard or not reported:
                    log.warning("changes_not_heard", store="redis", error=str(exc))
                    reported = True
            finally:
                self._trust(False)
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(self._retry)
            self._retry = min(self._retry * 2, _RETRY_LAST)

    async def _listen(self, connection: AbstractConnection) -> None:
        async with asyncio.timeout(self._timeout):
            await connection.connect()  # type: ignore[no-untyped-call]
            # redis-py has no public way to read these messages as they come.
            parser: Any = connection._get_parser()
            parser.set_invalidation_push_handler(_as_it_is)
            await connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", PREFIX)
            await connection.read_response()
        self._trust(True)
        self._retry = _RETRY_FIRST
        asked = False
        while True:
            message = await connection.read_response(
                push_request=True, timeout=_PING_AFTER, disconnect_on_error=False
            )
            if message is not None:
                asked = False
                self._understand(message)
            elif asked:
                raise TimeoutError("no sign of life")
            else:
                async with asyncio.timeout(self._timeout):
                    await connection.send_command("PING", check_health=False)
                asked = True

    def _understand(self, message: object) -> None:
        if not isinstance(message, list) or message[0] != b"invalidate":
            return  # the answer to a ping
        if message[1] is None:  # FLUSHALL, FLUSHDB
            self._trust(False)
            self._trust(True)
            return
        for name in message[1]:
            self.tell(SessionKey(name.decode(errors="replace").removeprefix(PREFIX)))

    def _trust(self, trusted: bool) -> None:
        if trusted or self._heard:
            self._heard = trusted
            for watcher in self._watchers:
                watcher.trust(trusted)


async def _as_it_is(message: Any) -> Any:
    return message
