"""Sessions in a SQLite file: shared by several processes of one machine, and survives restarts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import structlog

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.sessions import decode, encode
from gateway.stores.protocol import Watcher
from gateway.stores.sqlite_changes import Changes
from gateway.stores.sqlite_file import DatabaseThread

Row = tuple[object, ...]

log = structlog.get_logger()

_COLUMNS = "key, record, touched_at, expires_at"
_PAGE = 500
_PURGE_EVERY = 60.0
_PURGED_AT_ONCE = 1000
_CHANGES_KEPT = 60.0


class SqliteStore:
    """A ``SessionStore`` in one file.

    Reads and writes each have a thread and a connection, so that nobody waits for a write who only
    wants to know who is asking; in WAL mode SQLite does not let them wait for each other either.
    """

    def __init__(
        self, path: str, *, timeout: float = 1.0, wall: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(path).absolute()
        self._wall = wall
        self._reader = DatabaseThread(self._path, timeout, "sqlite-reads")
        self._writer = DatabaseThread(self._path, timeout, "sqlite-writes")
        self._changes = Changes(self._path)
        self._purged_at = 0.0

    async def open(self) -> None:
        """Create the file, readable by its owner alone, and its tables, where they are missing."""
        await self._writer.run(lambda db: None)

    async def close(self) -> None:
        """Close the file."""
        await self._changes.close()
        await self._reader.close()
        await self._writer.close()

    async def ping(self) -> None:
        """Return if the file can be read."""
        await self._reader.run(lambda db: db.execute("SELECT 1 FROM sessions LIMIT 1"))

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        marks = ", ".join("?" * len(keys))
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE expires_at > ? AND key IN ({marks})"  # noqa: S608
        rows = await self._rows(sql, self._wall(), *keys)
        found = {row[0]: _session(row) for row in rows}
        return [found.get(key) for key in keys]

    async def create(self, session: Session) -> None:
        """Keep a new session, and now and then remove those that expired."""
        now = self._wall()
        sql = (
            "INSERT INTO sessions (key, id, user_id, record, touched_at, expires_at, ends_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        values = (
            session.key,
            session.id,
            session.user.id,
            encode(session),
            session.touched_at,
            session.expires_at,
            session.ends_at,
        )

        def work(db: sqlite3.Connection) -> None:
            db.execute(sql, values)
            if now - self._purged_at >= _PURGE_EVERY:
                self._purged_at = now
                _purge(db, now)

        await self._writer.run(work)

    async def touch(self, session: Session) -> None:
        """Move the expiry of a session that is still there."""
        # Of two touches the later one counts, in whatever order they arrive.
        sql = (
            "UPDATE sessions SET touched_at = ?1, expires_at = min(?2, ends_at)"
            " WHERE key = ?3 AND touched_at <= ?1 AND expires_at > ?4"
        )
        values = (session.touched_at, session.expires_at, session.key, self._wall())
        await self._writer.run(lambda db: db.execute(sql, values))

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        now = self._wall()

        def work(db: sqlite3.Connection) -> int:
            live = "DELETE FROM sessions WHERE key = ? AND expires_at > ?"
            deleted = db.execute(live, (key, now)).rowcount
            db.execute("DELETE FROM sessions WHERE key = ?", (key,))
            return deleted

        deleted = await self._writer.run(work)
        self._changes.tell(key)
        return deleted > 0

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE id = ? AND expires_at > ?"  # noqa: S608
        rows = await self._rows(sql, session_id, self._wall())
        return _session(rows[0]) if rows else None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE user_id = ? AND expires_at > ?"  # noqa: S608
        rows = await self._rows(sql, user_id, self._wall())
        live = filter(None, map(_session, rows))
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions."""
        sql = (
            f"SELECT {_COLUMNS} FROM sessions WHERE key > ? AND expires_at > ?"  # noqa: S608
            " ORDER BY key LIMIT ?"
        )
        last: object = ""
        while rows := await self._rows(sql, last, self._wall(), _PAGE):
            for session in filter(None, map(_session, rows)):
                yield session
            last = rows[-1][0]

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _rows(self, sql: str, *values: object) -> list[Row]:
        return await self._reader.run(lambda db: db.execute(sql, values).fetchall())


def _session(row: Row) -> Session | None:
    key, record, touched_at, expires_at = row
    try:
        # What was edited by hand may have become text.
        payload = record.encode() if isinstance(record, str) else record
        if not (isinstance(key, str) and isinstance(payload, bytes)):
            raise CorruptRecord("not the columns of a session")
        if not (isinstance(touched_at, float) and isinstance(expires_at, float)):
            raise CorruptRecord("times that are no numbers")
        return decode(SessionKey(key), payload, touched_at, expires_at)
    except CorruptRecord as exc:
        log.warning("corrupt_record", store="sqlite", session=str(key)[:12], error=str(exc))
        return None


def _purge(db: sqlite3.Connection, now: float) -> None:
    db.execute(
        "DELETE FROM sessions WHERE key IN"
        " (SELECT key FROM sessions WHERE expires_at <= ? LIMIT ?)",
        (now, _PURGED_AT_ONCE),
    )
    db.execute("DELETE FROM changes WHERE at < ?", (time.time() - _CHANGES_KEPT,))
