"""Hear of every change to the SQLite store, whoever makes it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import structlog

from gateway.model import SessionKey
from gateway.stores.protocol import Watcher
from gateway.stores.sqlite_file import connect, identity
from gateway.stores.watchers import Watchers

log = structlog.get_logger()

_INTERVAL = 0.025
_AT_ONCE = 1000


class Changes:
    """Asks 40 times a second whether the file was written to, and tells watchers what changed.

    On the event loop: ``PRAGMA data_version`` reads one number from shared memory (some 5 µs), a
    hand-over to a thread costs ten times that; and the few rows read after a change were just
    written, so they are in memory too.
    """

    def __init__(
        self, path: Path, dial: Callable[[Path, float], sqlite3.Connection] = connect
    ) -> None:
        self._path = path
        self._dial = dial
        self._watchers = Watchers()
        self._task: asyncio.Task[None] | None = None
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._version = -1
        self._seen = 0

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change from now on."""
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._follow(), name="sqlite-changes")
        elif self._db is not None:
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
        self._lose()
        self._watchers.clear()

    async def _follow(self) -> None:
        while True:
            self._look_up()
            await asyncio.sleep(_INTERVAL)

    def _look_up(self) -> None:
        try:
            self._look()
        except (sqlite3.Error, OSError) as exc:
            if self._db is not None:
                log.warning("changes_not_heard", store="sqlite", error=str(exc))
            self._lose()

    def _look(self) -> None:
        if self._db is not None and identity(self._path) != self._identity:
            self._watchers.all_changed()  # who deletes the file to sign everybody out has done so
            self._lose()
        if self._db is None:
            self._begin()
            return
        version = self._number("PRAGMA data_version")
        if version != self._version:
            self._read(self._db)
            self._version = version

    def _read(self, db: sqlite3.Connection) -> None:
        """Tell what has changed, after something has."""
        newest = self._newest()
        sql = "SELECT number, key FROM changes WHERE number > ? ORDER BY number LIMIT ?"
        rows = db.execute(sql, (self._seen, _AT_ONCE)).fetchall()
        # Numbers never skip, so a missing one was trimmed before it was read (after a long sleep),
        # and a smaller one means that an old copy of the file was put back.
        last = rows[-1][0] if rows else self._seen
        if last < newest or last - self._seen != len(rows) or newest < self._seen:
            self._watchers.all_changed()
            last = max(newest, last) if newest >= self._seen else newest
        else:
            for _, key in rows:
                self.tell(SessionKey(key))
        self._seen = last

    def _begin(self) -> None:
        if identity(self._path) == (0, 0):
            raise FileNotFoundError(self._path)
        db = self._dial(self._path, 0.0)
        try:
            self._db = db
            self._identity = identity(self._path)
            self._version = -1
            self._seen = self._newest()
        except BaseException:
            self._db = None
            db.close()
            raise
        self._watchers.trust(True)

    def _newest(self) -> int:
        return self._number(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)"
        )

    def _number(self, sql: str) -> int:
        if self._db is None:
            raise sqlite3.ProgrammingError("not connected")
        number: int = self._db.execute(sql).fetchone()[0]
        return number

    def _lose(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
            self._watchers.trust(False)
