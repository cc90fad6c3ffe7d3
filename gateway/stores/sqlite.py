"""Sessions in a SQLite file: shared by several processes of one machine, and survives restarts."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import structlog

from gateway.errors import CorruptRecord
from gateway.model import Session, SessionId, SessionKey
from gateway.stores.codec import PLAIN, hint
from gateway.stores.protocol import Codec, Watcher
from gateway.stores.sqlite_changes import Changes
from gateway.stores.sqlite_file import DatabaseThread, in_one_step
from gateway.stores.sweeping import Sweeper

Row = tuple[object, ...]

log = structlog.get_logger()

_COLUMNS = "key, record, touched_at, expires_at"
_INSERT = (
    "INSERT INTO sessions (key, id, user_id, record, touched_at, expires_at, ends_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PAGE = 500
# Who wants to write meanwhile waits for all of them.
_SWEPT_AT_ONCE = 50
_CHANGES_KEPT = 60.0


class SqliteStore:
    """A ``SessionStore`` in one file.

    Reads and writes each have a thread and a connection, so that nobody waits for a write who only
    wants to know who is asking; in WAL mode SQLite does not let them wait for each other either.
    """

    def __init__(
        self,
        path: str,
        *,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
        codec: Codec = PLAIN,
        sweep_every: float = 60.0,
    ) -> None:
        self._path = Path(path).absolute()
        self._wall = wall
        self._codec = codec
        self._reader = DatabaseThread(self._path, timeout, "sqlite-reads")
        self._writer = DatabaseThread(self._path, timeout, "sqlite-writes")
        self._changes = Changes(self._path)
        self._sweeper = Sweeper("sqlite", self._sweep, batch=_SWEPT_AT_ONCE, every=sweep_every)

    async def open(self) -> None:
        """Create the file, readable by its owner alone, and its tables, where they are missing."""
        await self._writer.run(_claim)
        self._sweeper.start()

    async def close(self) -> None:
        """Close the file."""
        await self._sweeper.close()
        await self._changes.close()
        await self._reader.close()
        await self._writer.close()

    async def ping(self) -> None:
        """Return if the file can be read."""
        await self._reader.run(lambda db: db.execute("SELECT 1 FROM sessions WHERE key = ''"))

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        marks = ", ".join("?" * len(keys))
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE expires_at > ? AND key IN ({marks})"  # noqa: S608
        rows = await self._rows(sql, self._wall(), *keys)
        found = {row[0]: self._session(row) for row in rows}
        return [found.get(key) for key in keys]

    async def create(self, session: Session) -> None:
        """Keep a new session."""
        row = self._row(session)
        await self._writer.run(lambda db: db.execute(_INSERT, row))
        self._changes.tell(session.key)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there."""
        # Of two touches the later one counts, in whatever order they arrive.
        sql = (
            "UPDATE sessions SET touched_at = ?1, expires_at = min(?2, ends_at)"
            " WHERE key = ?3 AND touched_at <= ?1 AND expires_at > ?4"
        )
        values = (session.touched_at, session.expires_at, session.key, self._wall())
        return await self._writer.run(lambda db: db.execute(sql, values).rowcount) > 0

    async def update(self, session: Session) -> bool:
        """Write a session anew, but for its key, ids and times."""
        # What is left of a replaced session has no id here, so it is never meant.
        sql = "UPDATE sessions SET record = ? WHERE key = ? AND id = ? AND expires_at > ?"
        values = (self._codec.encode(session), session.key, session.id, self._wall())
        updated = await self._writer.run(lambda db: db.execute(sql, values).rowcount)
        self._changes.tell(session.key)
        return updated > 0

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place."""
        rows = [self._row(new)] if left is None else [self._row(new), self._row(left)]
        gone = (old.key, old.id, self._wall())

        def work(db: sqlite3.Connection) -> bool:
            with in_one_step(db):
                sql = "DELETE FROM sessions WHERE key = ? AND id = ? AND expires_at > ?"
                if not db.execute(sql, gone).rowcount:
                    return False
                db.executemany(_INSERT, rows)
                return True

        replaced = await self._writer.run(work)
        self._changes.tell(old.key)
        return replaced

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        return await self.delete_many([key]) > 0

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions."""
        now = self._wall()

        def work(db: sqlite3.Connection) -> int:
            live = "DELETE FROM sessions WHERE key = ? AND expires_at > ?"
            with in_one_step(db):
                deleted = sum(db.execute(live, (key, now)).rowcount for key in keys)
                db.executemany("DELETE FROM sessions WHERE key = ?", [(key,) for key in keys])
            return deleted

        deleted = await self._writer.run(work)
        for key in keys:
            self._changes.tell(key)
        return deleted

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE id = ? AND expires_at > ?"  # noqa: S608
        rows = await self._rows(sql, session_id, self._wall())
        return self._session(rows[0]) if rows else None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        if not user_id:
            return []
        sql = f"SELECT {_COLUMNS} FROM sessions WHERE user_id = ? AND expires_at > ?"  # noqa: S608
        rows = await self._rows(sql, user_id, self._wall())
        live = filter(None, map(self._session, rows))
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions."""
        sql = (
            f"SELECT {_COLUMNS} FROM sessions WHERE key > ? AND expires_at > ?"  # noqa: S608
            " ORDER BY key LIMIT ?"
        )
        last: object = ""
        while rows := await self._rows(sql, last, self._wall(), _PAGE):
            for session in filter(None, map(self._session, rows)):
                if session.replaced_by is None:
                    yield session
            last = rows[-1][0]

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    async def _sweep(self) -> int:
        now = self._wall()
        return await self._writer.run(lambda db: _remove(db, now))

    async def _rows(self, sql: str, *values: object) -> list[Row]:
        return await self._reader.run(lambda db: db.execute(sql, values).fetchall())

    def _row(self, session: Session) -> Row:
        # What is left of a replaced session keeps the id in its record alone: the new one has it.
        left = session.replaced_by is not None
        return (
            session.key,
            session.key if left else session.id,
            "" if left else session.user.id,
            self._codec.encode(session),
            session.touched_at,
            session.expires_at,
            session.ends_at,
        )

    def _session(self, row: Row) -> Session | None:
        key, record, touched_at, expires_at = row
        try:
            # What was edited by hand may have become text.
            payload = record.encode() if isinstance(record, str) else record
            if not (isinstance(key, str) and isinstance(payload, bytes)):
                raise CorruptRecord("not the columns of a session")
            if not (isinstance(touched_at, float) and isinstance(expires_at, float)):
                raise CorruptRecord("times that are no numbers")
            return self._codec.decode(SessionKey(key), payload, touched_at, expires_at)
        except CorruptRecord as exc:
            log.warning("corrupt_record", store="sqlite", session=hint(str(key)), error=str(exc))
            return None


def _claim(db: sqlite3.Connection) -> None:
    """Refuse a file that can only be read, at the start and not at the first sign-in."""
    # Changes nothing. BEGIN IMMEDIATE would not do: of such a file it makes a mere BEGIN.
    db.execute("DELETE FROM changes WHERE number < 0")


def _remove(db: sqlite3.Connection, now: float) -> int:
    """Remove some of what is over; return how much it was, of whichever it was more."""
    sessions = db.execute(
        "DELETE FROM sessions WHERE key IN"
        " (SELECT key FROM sessions WHERE expires_at <= ? LIMIT ?)",
        (now, _SWEPT_AT_ONCE),
    ).rowcount
    changes = db.execute(
        "DELETE FROM changes WHERE at < ? AND number IN"
        " (SELECT number FROM changes ORDER BY number LIMIT ?)",
        (time.time() - _CHANGES_KEPT, _SWEPT_AT_ONCE),
    ).rowcount
    return max(sessions, changes)
