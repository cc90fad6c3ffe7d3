"""Sessions that adapters of NextAuth and Auth.js keep in a SQLite file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.formats import adapter, js_dates, plain_json
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.adapter_tables import USER, Tables, quoted, with_found
from gateway.stores.foreign.adapter_reading import Reading
from gateway.stores.foreign.protocol import SessionOf, askable
from gateway.stores.foreign.sqlite_app_file import AnyChange, to_read, to_write
from gateway.stores.protocol import Watcher
from gateway.stores.sqlite_file import DatabaseThread, in_one_step

Row = tuple[object, ...]

_STORE = "nextauth-database"
_COLUMNS_OF_SESSION = 3


class AdapterSqlite:
    """A ``LookupStore`` on an app's own file, of Drizzle (milliseconds) or Prisma (those, or text).

    Whatever is written to the file, copies of sessions are dropped within 25 ms; and whoever calls
    ``hear`` before using one finds nobody who has signed out in the app. Rows are never deleted:
    the app does that itself when it meets one that is over.

    Args:
        touch: Whether the gateway moves expiries; otherwise the file is opened for reading alone.
    """

    def __init__(
        self,
        path: str,
        tables: Tables,
        session_of: SessionOf,
        *,
        touch: bool = False,
        max_age: float = adapter.MAX_AGE,
        timeout: float = 1.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        file = Path(path).absolute()
        self._tables = tables
        self._reading = Reading(session_of, max_age=max_age, wall=wall, store=_STORE)
        self._max_age = max_age
        self._wall = wall
        self._reader = DatabaseThread(file, timeout, "app-sqlite-reads", dial=to_read)
        self._writer = (
            DatabaseThread(file, timeout, "app-sqlite-writes", dial=to_write) if touch else None
        )
        self._changes = AnyChange(file)
        self._load = _load(tables)

    async def open(self) -> None:
        """Return if the tables are there, with these columns."""
        if self._tables.maybe:
            sql, table = "SELECT name FROM pragma_table_info(?)", self._tables.users
            rows = await self._reader.run(lambda db: db.execute(sql, (table,)).fetchall())
            self._tables = with_found(self._tables, (row[0] for row in rows))
            self._load = _load(self._tables)
        await self.ping()
        if self._writer is not None:
            await self._writer.run(lambda db: db.execute(_claim(self._tables)))

    async def close(self) -> None:
        """Close the file."""
        await self._changes.close()
        await self._reader.close()
        if self._writer is not None:
            await self._writer.close()

    async def ping(self) -> None:
        """Return if the file can be read."""
        await self._rows([])

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        wanted = askable(keys)
        rows = await self._rows(wanted) if wanted else []
        return self._reading.each_once(keys, rows, self._session)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there, as the framework does: never back."""
        if self._writer is None:
            return True
        to = int((session.touched_at + self._max_age) * 1000)
        now = js_dates.now_ms(self._wall())
        return await self._writer.run(lambda db: _move(db, self._tables, session.key, to, now))

    async def find(self, session_id: SessionId) -> Session | None:
        """Return nothing: no table knows our public ids."""
        return None

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change, whoever makes it."""
        self._changes.watch(watcher)

    def hear(self) -> None:
        """Tell watchers of what was written up to now."""
        self._changes.hear()

    async def _rows(self, keys: Sequence[SessionKey]) -> list[Row]:
        values = (json.dumps(keys),)
        return await self._reader.run(lambda db: db.execute(self._load, values).fetchall())

    def _session(self, row: Row) -> Session | None:
        session, user = row[:_COLUMNS_OF_SESSION], row[_COLUMNS_OF_SESSION:]
        more = map(_listed, user[len(USER) :])
        key = SessionKey(str(row[0]))
        return self._reading.of_row(key, self._tables, session, (*user[: len(USER)], *more))


def _load(tables: Tables) -> str:
    columns = ", ".join(f"u.{quoted(column)}" for _, column in tables.of_user)
    return (
        f"SELECT s.{quoted(tables.token)}, s.{quoted(tables.user_id)},"  # noqa: S608
        f" s.{quoted(tables.expires)}, {columns}"
        f" FROM {quoted(tables.sessions)} AS s"
        f" JOIN {quoted(tables.users)} AS u ON u.{quoted(tables.id)} = s.{quoted(tables.user_id)}"
        f" WHERE s.{quoted(tables.token)} IN (SELECT value FROM json_each(?))"
    )


def _claim(tables: Tables) -> str:
    """Return what changes nothing, and fails for a file that can only be read."""
    sessions, expires = quoted(tables.sessions), quoted(tables.expires)
    return f"UPDATE {sessions} SET {expires} = {expires} WHERE false"  # noqa: S608


def _move(db: sqlite3.Connection, tables: Tables, token: str, to: int, now: int) -> bool:
    sessions, expires = quoted(tables.sessions), quoted(tables.expires)
    where = f"WHERE {quoted(tables.token)} = ?"
    read = f"SELECT {expires} FROM {sessions} {where}"  # noqa: S608
    write = f"UPDATE {sessions} SET {expires} = ? {where}"  # noqa: S608
    with in_one_step(db):
        row = db.execute(read, (token,)).fetchone()
        there = None if row is None else row[0]
        moment = js_dates.of_text(there) if isinstance(there, str) else there
        if not (isinstance(moment, int) and now <= moment < to):
            return False
        # In the form that it had: that is what the app reads.
        db.execute(write, (js_dates.with_offset(to) if isinstance(there, str) else to, token))
    return True


def _listed(value: object) -> object:
    """SQLite has no lists: what Drizzle and Prisma keep of one is JSON."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return plain_json.parse(value.encode())
        except plain_json.NotPlain:
            return value
    return value
