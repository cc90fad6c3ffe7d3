"""The file of the SQLite store: its schema, a thread to use it in, what is said when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from errno import EISDIR
from pathlib import Path
from typing import TypeVar

from gateway.errors import StoreUnavailable

T = TypeVar("T")

SCHEMA_VERSION = 1

# The changes table is filled by triggers, so that what somebody does by hand with the sqlite3 shell
# is heard as well. A touch only lengthens a session: copies of it stay true, and nobody is told.
_SCHEMA = (
    """
    CREATE TABLE sessions (
        key        TEXT PRIMARY KEY NOT NULL,
        id         TEXT UNIQUE NOT NULL,
        user_id    TEXT NOT NULL,
        record     BLOB NOT NULL,
        touched_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        ends_at    REAL NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX sessions_by_user ON sessions (user_id)",
    "CREATE INDEX sessions_by_expiry ON sessions (expires_at)",
    """
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key    TEXT NOT NULL,
        at     INTEGER NOT NULL
    )
    """,
    """
    CREATE TRIGGER sessions_deleted AFTER DELETE ON sessions BEGIN
        INSERT INTO changes (key, at) VALUES (OLD.key, CAST(strftime('%s', 'now') AS INTEGER));
    END
    """,
    """
    CREATE TRIGGER sessions_updated AFTER UPDATE ON sessions
    WHEN NEW.key IS NOT OLD.key OR NEW.record IS NOT OLD.record OR NEW.expires_at < OLD.expires_at
    BEGIN
        INSERT INTO changes (key, at) VALUES (OLD.key, CAST(strftime('%s', 'now') AS INTEGER));
    END
    """,
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class DatabaseThread:
    """One connection to the file, in a thread of its own.

    A file that was removed or replaced meanwhile is opened anew: who deletes the file to sign
    everybody out has done so.

    Args:
        dial: Opens the file, in so many seconds; None: as a database of ours, made if missing.
    """

    def __init__(
        self,
        path: Path,
        timeout: float,
        name: str,
        *,
        dial: Callable[[Path, float], sqlite3.Connection] | None = None,
    ) -> None:
        self._path = path
        self._timeout = timeout
        self._dial = dial or _open
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` returns, which runs in the thread.

        Raises:
            StoreUnavailable: The file is not ours, cannot be used, or not in time.
        """
        try:
            future = self._thread.submit(lambda: work(self._connection()))
        except RuntimeError as exc:
            raise StoreUnavailable("the session database is closed") from exc
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            raise StoreUnavailable(
                f"the session database {self._path} took longer than {self._timeout:g} s"
            ) from exc
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(f"the session database {self._path}: {exc}") from exc

    async def close(self) -> None:
        """Close the connection and end the thread. Safe to call twice."""
        try:
            future = self._thread.submit(self._disconnect)
        except RuntimeError:
            return
        self._thread.shutdown(wait=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                await asyncio.wrap_future(future)

    def _disconnect(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is not None and identity(self._path) != self._identity:
            self._disconnect()
        if self._db is None:
            self._db = self._dial(self._path, self._timeout)
            self._identity = identity(self._path)
        return self._db


def identity(path: Path) -> tuple[int, int]:
    """Return what tells this file from another one at the same path; zeros when there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def connect(path: Path, timeout: float) -> sqlite3.Connection:
    """Return a connection to the file, which is made if it is missing, for its owner alone."""
    # SQLite would make it with the usual mode. Its -wal and -shm files take over this one's. A file
    # that is there is never opened here: closing it again would drop the locks that this process
    # holds on it (POSIX), and the next one to come would take the database for its own.
    if not path.exists():
        # Where a link leads to a missing file, that one is made: O_EXCL would refuse the link.
        with suppress(FileExistsError):
            exclusive = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(path.resolve(), exclusive, 0o600))
    elif path.is_dir():
        raise IsADirectoryError(EISDIR, os.strerror(EISDIR), str(path))
    return sqlite3.connect(path, timeout=timeout, isolation_level=None)


def _open(path: Path, timeout: float) -> sqlite3.Connection:
    db = connect(path, timeout)
    try:
        _prepare(db, time.monotonic() + timeout)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, deadline: float) -> None:
    version = _version(db)
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the session database was made by a newer gateway: its schema is {version}, "
            f"this gateway knows up to {SCHEMA_VERSION}"
        )
    if version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        # Another process may just be making it; it has, once our turn to write comes.
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
        if _version(db) == 0:
            raise StoreUnavailable("the session database is a database of another program")
    _use_wal(db, deadline)
    # FULL: a sign-out must not be undone by a power cut, which NORMAL would allow.
    db.execute("PRAGMA synchronous = FULL")
    # A fifth of the usual: what carries the log's pages into the file lets the others who write
    # wait, 30 ms for a thousand pages of a million sessions, 10 for these.
    db.execute("PRAGMA wal_autocheckpoint = 200")
    if version == 0:
        _create_tables(db)


@contextlib.contextmanager
def in_one_step(db: sqlite3.Connection) -> Iterator[None]:
    """Write all of it or nothing, and let nobody else write meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has done so itself where the disk is full.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _create_tables(db: sqlite3.Connection) -> None:
    with in_one_step(db):
        if _version(db) == 0:  # it may have taken another process's turn to get here
            for statement in _SCHEMA:
                db.execute(statement)


def _use_wal(db: sqlite3.Connection, deadline: float) -> None:
    # SQLite's own patience does not cover this statement when several processes start at once.
    while True:
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise StoreUnavailable("the session database needs a local disk: SQLite's WAL is refused")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version
