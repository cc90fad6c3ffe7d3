"""Connections to PostgreSQL: opened when needed, lent to one user at a time, never waited for long.

asyncpg's own pool is not used: it sends a second statement after each, to forget settings that we
never change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import asyncpg

from gateway.errors import StoreUnavailable

T = TypeVar("T")

_CONNECTIONS = 8
"""For one process. A server allows a hundred for all, unless told otherwise."""

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InterfaceError,
    # What asyncpg makes of a farewell that it did not expect.
    asyncpg.InternalClientError,
    ConnectionError,
)

# Statistics may be from the day on which the table was empty: that the indexes serve better than
# reading it all is known without them.
_PREPARE = """
SELECT pg_backend_pid(), set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false), set_config('statement_timeout', $1, false)
"""
_SET = (
    "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS o (name, value)"
)


class Connections:
    """A few connections to one database.

    Args:
        timeout: Seconds that anything may take.
        setting: Where the URL is written, for messages.
        options: PostgreSQL's settings for these connections.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        *,
        setting: str = "session.store",
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._setting = setting
        self._options = dict(options or {})
        self._idle: list[Any] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._closed = False

    async def run(self, work: Callable[[Any], Awaitable[T]], *, again: bool = False) -> T:
        """Return what ``work`` returns, which gets a connection for itself.

        Args:
            again: Whether it may be done once more when the connection turns out to be lost, as
                all are after a restart of the server, and nobody knows whether it was done.

        Raises:
            StoreUnavailable: PostgreSQL does not answer, refuses, or is too slow.
        """
        with self.translated(self._timeout):
            async with asyncio.timeout(self._timeout), self._places:
                if self._closed:
                    raise StoreUnavailable("the session store is closed")
                connection = await self._take()
                try:
                    return await self._lent(connection, work)
                except _LOST:
                    if not again:
                        raise
                self._forget()
                return await self._lent(await self._take(), work)

    async def connect(self, *, limit: float | None = None) -> Any:
        """Return a connection that is the caller's own, with so many seconds for each statement.

        Raises:
            StoreUnavailable: There is none to be had, or it leads to a pooler.
        """
        with self.translated(self._timeout):
            async with asyncio.timeout(self._timeout):
                return await self._connect(limit or self._timeout)

    async def close(self) -> None:
        """Close those that are idle, and lend no more. Safe to call twice."""
        self._closed = True
        with contextlib.suppress(TimeoutError, *FAULTS):
            async with asyncio.timeout(self._timeout):
                while self._idle:
                    await self._idle.pop().close()
        self._forget()

    @staticmethod
    @contextlib.contextmanager
    def translated(timeout: float) -> Any:
        """Turn what asyncpg raises into ``StoreUnavailable``."""
        try:
            yield
        except TimeoutError as exc:
            raise StoreUnavailable(f"PostgreSQL did not answer within {timeout:g} s") from exc
        except FAULTS as exc:
            # Of the server's words the first line alone: the details may quote a row.
            raise StoreUnavailable(f"PostgreSQL: {str(exc).partition(chr(10))[0]}") from exc

    async def _lent(self, connection: Any, work: Callable[[Any], Awaitable[T]]) -> T:
        try:
            result = await work(connection)
        except BaseException:
            # Whatever state it is in. A server that was demoted is found anew by this as well.
            connection.terminate()
            raise
        if self._closed:
            connection.terminate()
        else:
            self._idle.append(connection)
        return result

    async def _take(self) -> Any:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect(self._timeout)

    def _forget(self) -> None:
        while self._idle:
            self._idle.pop().terminate()

    async def _connect(self, limit: float) -> Any:
        settings = {"application_name": "session-gateway"}
        try:
            connection = await asyncpg.connect(
                self._url, timeout=self._timeout, server_settings=settings
            )
        except OSError:  # an SSL error is a ValueError as well
            raise
        except ValueError:
            # Neither the message nor the cause: both may quote the password.
            raise StoreUnavailable(f"{self._setting} is not a PostgreSQL URL") from None
        try:
            row = await connection.fetchrow(_PREPARE, str(round(limit * 1000)))
            if row[0] != connection.get_server_pid():
                raise StoreUnavailable(
                    f"{self._setting} leads to a pooler such as PgBouncer, where what is set on a "
                    "connection, or listened to, is lost: give PostgreSQL's own address"
                )
            if self._options:
                values = (list(self._options), list(self._options.values()))
                await connection.fetch(_SET, *values)
        except BaseException:
            connection.terminate()
            raise
        return connection
