"""Sessions in Redis 6 or newer: shared by many processes and machines."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import structlog
from redis import asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.errors import CorruptRecord, StoreUnavailable
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.sessions import is_over
from gateway.stores.codec import PLAIN
from gateway.stores.protocol import Codec, Watcher
from gateway.stores.redis_changes import Changes
from gateway.stores.redis_layout import (
    CREATE,
    PREFIX,
    TOUCH,
    digits,
    id_key,
    milliseconds,
    read,
    user_key,
    write,
)

log = structlog.get_logger()


_PAGE = 500
_CONNECTIONS = 32


class RedisStore:
    """A ``SessionStore`` in Redis.

    ``gateway:session:{key}`` holds a session; ``gateway:id:{id}`` its key; ``gateway:user:{id}``
    the keys of a user's sessions, sorted by when they end at the latest. The latter two may name
    sessions that are gone, never the other way round.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        codec: Codec = PLAIN,
    ) -> None:
        self._timeout = timeout
        self._wall = wall
        self._codec = codec
        try:
            self._pool = aioredis.ConnectionPool.from_url(
                url,
                protocol=3,
                # Our own time limit covers a whole call; redis-py's makes a task for each write.
                socket_timeout=None,
                socket_connect_timeout=timeout,
                # Once, and at once: after a restart of Redis the first use finds a dead connection.
                retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
            self._connection()  # refuses options that are none
        except (ValueError, TypeError, RedisError):
            # Neither the message nor the cause: both may quote the password.
            raise StoreUnavailable("session.store is not a Redis URL") from None
        self._redis = aioredis.Redis.from_pool(self._pool)
        self._create = self._redis.register_script(CREATE)
        self._touch = self._redis.register_script(TOUCH)
        self._idle: list[AbstractConnection] = []
        self._places = asyncio.Semaphore(_CONNECTIONS)
        self._changes = Changes(self._connection, timeout)

    async def open(self) -> None:
        """Return if Redis answers."""
        await self.ping()

    async def close(self) -> None:
        """Close every connection."""
        await self._changes.close()
        while self._idle:
            with contextlib.suppress(RedisError, OSError):
                await self._idle.pop().disconnect()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()
            await self._pool.aclose()

    async def ping(self) -> None:
        """Return if Redis answers."""
        await self._command("PING")

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        values = await self._call(lambda: self._values(keys)) if keys else []
        return [self._session(key, value) for key, value in zip(keys, values, strict=True)]

    async def create(self, session: Session) -> None:
        """Keep a new session until it expires."""
        await self._call(
            lambda: self._create(
                keys=[PREFIX + session.key, id_key(session.id), user_key(session.user.id)],
                args=[
                    write(session, self._codec),
                    session.key,
                    milliseconds(session.ends_at),
                    milliseconds(session.expires_at),
                    milliseconds(self._wall()),
                ],
            )
        )

    async def touch(self, session: Session) -> None:
        """Move the expiry of a session that is still there."""
        await self._call(
            lambda: self._touch(
                keys=[PREFIX + session.key],
                args=[
                    digits(session.touched_at),
                    digits(session.expires_at),
                    milliseconds(session.expires_at),
                    digits(self._wall()),
                ],
            )
        )

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.get(PREFIX + key)
            pipe.delete(PREFIX + key)
            value, _ = await self._call(pipe.execute)
        self._changes.tell(key)
        session = self._session(key, value)
        if session is None:
            return False
        # The session is over. What still names it is tidied whenever it is used, or expires.
        with contextlib.suppress(StoreUnavailable):
            await self._command("DEL", id_key(session.id))
            await self._command("ZREM", user_key(session.user.id), key)
        return True

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        key = await self._command("GET", id_key(session_id))
        if key is None:
            return None
        [session] = await self.load([SessionKey(key.decode())])
        return session

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        name = user_key(user_id)
        members = await self._command("ZRANGE", name, 0, -1)
        keys = [SessionKey(member.decode()) for member in members]
        live: list[Session] = []
        for start in range(0, len(keys), _PAGE):
            live += await self._page(name, keys[start : start + _PAGE])
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions; one may come twice while Redis resizes its table."""
        cursor = 0
        while True:
            cursor, names = await self._command(
                "SCAN", cursor, "MATCH", PREFIX + "*", "COUNT", _PAGE
            )
            keys = [SessionKey(name.decode().removeprefix(PREFIX)) for name in set(names)]
            for session in filter(None, await self.load(keys)):
                yield session
            if not cursor:
                return

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _page(self, name: str, keys: Sequence[SessionKey]) -> list[Session]:
        values = await self._call(lambda: self._values(keys))
        gone = [key for key, value in zip(keys, values, strict=True) if value is None]
        if gone:
            await self._command("ZREM", name, *gone)
        return list(filter(None, map(self._session, keys, values)))

    async def _values(self, keys: Sequence[SessionKey]) -> list[bytes | None]:
        try:
            return await self._mget(keys)
        except RedisConnectionError:
            # After a restart of Redis all idle connections are as dead as this one.
            while self._idle:
                await self._idle.pop().disconnect(nowait=True)
            return await self._mget(keys)

    async def _mget(self, keys: Sequence[SessionKey]) -> list[bytes | None]:
        # Not through the client, whose bookkeeping around a command costs as much again: 75 µs
        # against 44 for one key, in one run on a busy machine.
        connection = self._idle.pop() if self._idle else self._connection()
        try:
            if not connection.is_connected:
                await connection.connect()  # type: ignore[no-untyped-call]
            names = [PREFIX + key for key in keys]
            await connection.send_command("MGET", *names, check_health=False)
            values: list[bytes | None] = await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return values

    def _connection(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return connection

    async def _command(self, *words: str | int) -> Any:
        return await self._call(
            lambda: self._redis.execute_command(*words)  # type: ignore[no-untyped-call]
        )

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(self._timeout), self._places:
                return await call()
        except TimeoutError as exc:
            raise StoreUnavailable(f"Redis did not answer within {self._timeout:g} s") from exc
        except (RedisError, OSError) as exc:
            raise StoreUnavailable(f"Redis: {exc}") from exc

    def _session(self, key: SessionKey, value: bytes | None) -> Session | None:
        if value is None:
            return None
        try:
            session = read(key, value, self._codec)
        except CorruptRecord as exc:
            log.warning("corrupt_record", store="redis", session=key[:12], error=str(exc))
            return None
        return None if is_over(session, self._wall()) else session
