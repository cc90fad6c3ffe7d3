"""Sessions in PostgreSQL 12 or newer: shared by many processes and machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.sessions import is_over
from gateway.stores.codec import PLAIN, hint
from gateway.stores.postgres_changes import Changes
from gateway.stores.postgres_connections import Connections
from gateway.stores.postgres_schema import migrate
from gateway.stores.protocol import Codec, Watcher
from gateway.stores.sweeping import Sweeper

log = structlog.get_logger()

_PAGE = 500
# Each may be a page of its own in the log, and whoever commits meanwhile waits for that.
_SWEPT_AT_ONCE = 50
_MIGRATION = 60.0

_SELECT = "SELECT key, record, touched_at, expires_at FROM gateway_sessions WHERE "
_LOAD = _SELECT + "key = ANY($1::text[]) AND expires_at > $2"
_FIND = _SELECT + "id = $1 AND expires_at > $2"
_OF_USER = _SELECT + "user_id = $1 AND expires_at > $2"
_ALL = _SELECT + "key > $1 AND expires_at > $2 AND id IS NOT NULL ORDER BY key LIMIT $3"
_COLUMNS = "key, id, user_id, record, touched_at, expires_at, ends_at"
_CREATE = f"INSERT INTO gateway_sessions ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608
# Of two touches the later one counts, in whatever order they arrive.
_TOUCH = (
    "UPDATE gateway_sessions SET touched_at = $2, expires_at = least($3, ends_at)"
    " WHERE key = $1 AND touched_at <= $2 AND expires_at > $4 RETURNING true"
)
_UPDATE = (
    "UPDATE gateway_sessions SET record = $3 WHERE key = $1 AND id = $2 AND expires_at > $4"
    " RETURNING true"
)
# One statement, so that no crash leaves the one without the other. The last seven are columns.
_REPLACE = (
    "WITH gone AS (DELETE FROM gateway_sessions"  # noqa: S608
    " WHERE key = $1 AND id = $2 AND expires_at > $3 RETURNING true),"
    f" came AS (INSERT INTO gateway_sessions ({_COLUMNS}) SELECT row.* FROM gone,"
    " unnest($4::text[], $5::text[], $6::text[], $7::bytea[], $8::float8[], $9::float8[],"
    " $10::float8[]) AS row RETURNING true) SELECT count(*) FROM came"
)
# Locked in one order, so that two who delete the same ones do not wait for each other for ever.
_DELETE = (
    "WITH held AS (SELECT key FROM gateway_sessions WHERE key = ANY($1::text[]) ORDER BY key"
    " FOR UPDATE), gone AS (DELETE FROM gateway_sessions AS one USING held"
    " WHERE one.key = held.key RETURNING one.expires_at)"
    " SELECT count(*) FROM gone WHERE expires_at > $2"
)
# A row that somebody holds is left for the next time: nobody waits for anybody.
_SWEEP = (
    "WITH swept AS (DELETE FROM gateway_sessions WHERE ctid = ANY(ARRAY("
    "SELECT ctid FROM gateway_sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"
    " FOR UPDATE SKIP LOCKED)) RETURNING 1) SELECT count(*) FROM swept"
)


class PostgresStore:
    """A ``SessionStore`` in a PostgreSQL database, in the table ``gateway_sessions``.

    Args:
        sweep_every: Seconds between two looks for expired sessions.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        codec: Codec = PLAIN,
        sweep_every: float = 60.0,
    ) -> None:
        self._wall = wall
        self._codec = codec
        self._connections = Connections(url, timeout)
        self._changes = Changes(self._connections, timeout)
        self._sweeper = Sweeper("postgresql", self._sweep, batch=_SWEPT_AT_ONCE, every=sweep_every)

    async def open(self) -> None:
        """Create the tables where they are missing."""
        connection = await self._connections.connect(limit=_MIGRATION)
        try:
            with self._connections.translated(_MIGRATION):
                async with asyncio.timeout(_MIGRATION):
                    await migrate(connection)
        finally:
            connection.terminate()
        self._sweeper.start()

    async def close(self) -> None:
        """Close every connection."""
        await self._sweeper.close()
        await self._changes.close()
        await self._connections.close()

    async def ping(self) -> None:
        """Return if PostgreSQL answers."""
        await self._rows("SELECT 1 FROM gateway_sessions LIMIT 1")

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        rows = await self._rows(_LOAD, keys, self._wall()) if keys else []
        found = {row[0]: self._session(row) for row in rows}
        return [found.get(key) for key in keys]

    async def create(self, session: Session) -> None:
        """Keep a new session."""
        row = self._row(session)
        await self._connections.run(lambda connection: connection.execute(_CREATE, *row))
        self._changes.tell(session.key)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there."""
        values = (session.key, session.touched_at, session.expires_at, self._wall())
        touched = await self._connections.run(
            lambda connection: connection.fetchval(_TOUCH, *values), again=True
        )
        return bool(touched)

    async def update(self, session: Session) -> bool:
        """Write a session anew, but for its key, ids and times."""
        values = (session.key, session.id, self._codec.encode(session), self._wall())
        updated = await self._connections.run(
            lambda connection: connection.fetchval(_UPDATE, *values), again=True
        )
        self._changes.tell(session.key)
        return bool(updated)

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place."""
        rows = [self._row(new)] if left is None else [self._row(new), self._row(left)]
        values = (old.key, old.id, self._wall(), *map(list, zip(*rows, strict=True)))
        came = await self._connections.run(
            lambda connection: connection.fetchval(_REPLACE, *values)
        )
        self._changes.tell(old.key)
        return bool(came)

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        return await self.delete_many([key]) > 0

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions."""
        now = self._wall()
        deleted: int = await self._connections.run(
            lambda connection: connection.fetchval(_DELETE, keys, now), again=True
        )
        for key in keys:
            self._changes.tell(key)
        return deleted

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        rows = await self._rows(_FIND, session_id, self._wall())
        return self._session(rows[0]) if rows else None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        rows = await self._rows(_OF_USER, user_id, self._wall())
        live = filter(None, map(self._session, rows))
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions."""
        last = ""
        while rows := await self._rows(_ALL, last, self._wall(), _PAGE):
            for session in filter(None, map(self._session, rows)):
                yield session
            last = rows[-1][0]

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _rows(self, sql: str, *values: object) -> list[Any]:
        return await self._connections.run(
            lambda connection: connection.fetch(sql, *values), again=True
        )

    async def _sweep(self) -> int:
        now = self._wall()
        return await self._connections.run(
            lambda connection: connection.fetchval(_SWEEP, now, _SWEPT_AT_ONCE)
        )

    def _row(self, session: Session) -> tuple[object, ...]:
        # What is left of a replaced session keeps the id in its record alone: the new one has it.
        left = session.replaced_by is not None
        return (
            session.key,
            None if left else session.id,
            None if left or session.anonymous else session.user.id,
            self._codec.encode(session),
            session.touched_at,
            session.expires_at,
            session.ends_at,
        )

    def _session(self, row: Any) -> Session | None:
        key, record, touched_at, expires_at = row
        try:
            session = self._codec.decode(SessionKey(key), record, touched_at, expires_at)
        except CorruptRecord as exc:
            log.warning("corrupt_record", store="postgresql", session=hint(key), error=str(exc))
            return None
        return None if is_over(session, self._wall()) else session
