from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.rules.sessions import touched
from gateway.stores.codec import hint
from gateway.stores.protocol import SessionStore
from gateway.stores.sqlite import SqliteStore
from tests.servers import wait_until
from tests.stores.contract import (
    LIFETIME,
    Clock,
    StoreContract,
    a_session,
    hearing,
    keys_of_tokens,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def make(file: Path, clock: Clock) -> Callable[[], SessionStore]:
    return partial(SqliteStore, str(file), timeout=1.0, wall=clock)


class TestSqliteStore(StoreContract): ...


def by_hand(file: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Do what somebody does with the sqlite3 shell."""
    db = sqlite3.connect(file, isolation_level=None)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


async def test_only_the_owner_can_read_the_files(
    store: SqliteStore, file: Path, clock: Clock
) -> None:
    await store.create(a_session(now=clock.now))
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()}
    assert modes == {
        "sessions.db": 0o600,
        "sessions.db-wal": 0o600,
        "sessions.db-shm": 0o600,
    }


async def test_a_file_made_under_a_generous_umask_is_still_private(file: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(str(file))
        await store.open()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await store.close()
    finally:
        os.umask(before)


async def test_the_file_holds_the_hash_of_the_token_and_never_the_token(
    store: SqliteStore, file: Path, clock: Clock
) -> None:
    token, key = keys_of_tokens()
    session = a_session(now=clock.now)
    session = replace(session, key=key)
    await store.create(session)
    await store.touch(touched(session, LIFETIME, now=clock.now + 100))
    held = b"".join(one.read_bytes() for one in file.parent.iterdir())
    assert key.encode() in held
    assert token.encode() not in held


async def test_sessions_survive_a_restart(file: Path, clock: Clock) -> None:
    session = a_session(now=clock.now)
    first = SqliteStore(str(file), wall=clock)
    await first.open()
    await first.create(session)
    await first.close()
    second = SqliteStore(str(file), wall=clock)
    await second.open()
    assert await second.load([session.key]) == [session]
    await second.close()


async def test_stores_that_start_at_once_agree_on_one_file(file: Path, clock: Clock) -> None:
    stores = [SqliteStore(str(file), timeout=5.0, wall=clock) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    sessions = [a_session(now=clock.now) for _ in stores]
    await asyncio.gather(
        *(one.create(session) for one, session in zip(stores, sessions, strict=True))
    )
    assert await stores[0].load([s.key for s in sessions]) == sessions
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DELETE FROM sessions WHERE key = ?", id="delete"),
        pytest.param("UPDATE sessions SET record = '{}' WHERE key = ?", id="another record"),
        pytest.param("UPDATE sessions SET expires_at = 0 WHERE key = ?", id="an end of its life"),
    ],
)
async def test_a_change_by_hand_is_heard_within_100_ms(
    store: SqliteStore, file: Path, clock: Clock, sql: str
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    by_hand(file, sql, session.key)
    await wait_until(lambda: ears.keys == [session.key], seconds=0.1)
    assert await store.load([session.key]) == [None]


async def test_a_touch_by_another_takes_no_copy_away(
    store: SqliteStore, other: SqliteStore, clock: Clock
) -> None:
    touched_one, deleted = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(touched_one)
    await store.create(deleted)
    ears = await hearing(store)
    await other.touch(touched(touched_one, LIFETIME, now=clock.now + 100))
    await other.delete(deleted.key)
    await wait_until(lambda: ears.keys)
    assert ears.keys == [deleted.key]


async def test_more_changes_than_can_be_told_singly_take_every_copy_away(
    store: SqliteStore, file: Path, clock: Clock
) -> None:
    ears = await hearing(store)
    by_hand(
        file,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " INSERT INTO changes (key, at) SELECT 'k' || i, 0 FROM n",
    )
    await wait_until(lambda: ears.all)
    assert ears.trusted
    session = a_session(now=clock.now)
    await store.create(session)
    by_hand(file, "DELETE FROM sessions")
    await wait_until(lambda: ears.keys == [session.key])


async def test_changes_that_were_trimmed_unread_take_every_copy_away(
    store: SqliteStore, file: Path
) -> None:
    ears = await hearing(store)
    by_hand(file, "INSERT INTO changes (key, at) VALUES ('a', 0), ('b', 0), ('c', 0)")
    await wait_until(lambda: len(ears.keys) == 3)
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("BEGIN")
    db.execute("INSERT INTO changes (key, at) VALUES ('d', 0), ('e', 0)")
    db.execute("DELETE FROM changes WHERE key <> 'e'")
    db.execute("COMMIT")
    db.close()
    await wait_until(lambda: ears.all)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("sessions.db",), id="the file alone"),
        pytest.param(
            ("sessions.db", "sessions.db-wal", "sessions.db-shm"), id="its side files too"
        ),
    ],
)
async def test_deleting_the_file_signs_everybody_out_and_a_new_one_is_made(
    store: SqliteStore, other: SqliteStore, file: Path, clock: Clock, names: tuple[str, ...]
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    for name in names:
        (file.parent / name).unlink()
    assert await store.load([session.key]) == [None]
    await wait_until(lambda: ears.all and ears.trust_was_lost and ears.trusted)
    again = a_session(now=clock.now)
    await store.create(again)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert await other.load([again.key, session.key]) == [again, None]
    await other.close()
    assert await store.load([again.key]) == [again]
    await store.close()
    assert by_hand(file, "SELECT key FROM sessions") == [(again.key,)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("record", b"\xff\x00 rubbish", id="rubbish"),
        pytest.param("record", b"", id="empty"),
        pytest.param("record", b'{"v": 2, "id": "x"}', id="a version from the future"),
        pytest.param("record", 7, id="a number"),
        pytest.param("touched_at", "soon", id="a time that is none"),
        pytest.param("expires_at", "zzz", id="an expiry that is none"),
    ],
)
async def test_a_broken_record_signs_nobody_in_and_is_logged(
    store: SqliteStore, file: Path, clock: Clock, column: str, value: object
) -> None:
    broken, whole = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(broken)
    await store.create(whole)
    by_hand(file, f"UPDATE sessions SET {column} = ? WHERE key = ?", value, broken.key)
    with capture_logs() as logs:
        assert await store.load([broken.key, whole.key]) == [None, whole]
    assert [(line["event"], line["session"]) for line in logs] == [
        ("corrupt_record", hint(broken.key))
    ]
    assert [s async for s in store.all()] == [whole]
    assert await store.delete(broken.key) is True


async def test_expired_sessions_and_old_changes_are_cleared_away_a_little_at_a_time(
    file: Path, clock: Clock
) -> None:
    store = SqliteStore(str(file), wall=clock, sweep_every=0.01)
    await store.open()
    for _ in range(20):
        await store.create(a_session(now=clock.now))
    # More than one batch of each.
    many = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 250)"
    by_hand(file, f"{many} INSERT INTO sessions SELECT 'old ' || n, n, 'ada', '', 1, 2, 3 FROM n")
    by_hand(file, f"{many} INSERT INTO changes (key, at) SELECT 'long ago', 1000 FROM n")
    clock.now += 700
    stays = a_session(now=clock.now)
    await store.create(stays)

    def cleared() -> bool:
        sessions = by_hand(file, "SELECT key FROM sessions")
        changes = by_hand(file, "SELECT count(*) FROM changes WHERE key = 'long ago'")
        return (sessions, changes) == ([(stays.key,)], [(0,)])

    await wait_until(cleared, what="what is over is gone")
    await store.close()


def newer(file: Path) -> None:
    by_hand(file, "PRAGMA user_version = 99")


def foreign(file: Path) -> None:
    by_hand(file, "CREATE TABLE recipes (title TEXT)")


def no_database(file: Path) -> None:
    file.write_bytes(b"this is a text file, and a long one " * 100)


def folder(file: Path) -> None:
    file.mkdir()


def locked_away(file: Path) -> None:
    file.symlink_to(file.parent / "nowhere" / "sessions.db")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(newer, "made by a newer gateway: its schema is 99", id="newer"),
        pytest.param(foreign, "a database of another program", id="another program's"),
        pytest.param(no_database, "file is not a database", id="no database"),
        pytest.param(folder, "Is a directory", id="a folder"),
        pytest.param(locked_away, "No such file or directory", id="no folder"),
    ],
)
async def test_a_file_that_cannot_be_used_is_refused_at_the_start(
    file: Path, prepare: Callable[[Path], None], message: str
) -> None:
    prepare(file)
    store = SqliteStore(str(file))
    with pytest.raises(StoreUnavailable, match=message):
        await store.open()
    await store.close()


async def test_a_locked_file_is_unavailable_within_the_time_limit_and_then_recovers(
    file: Path, clock: Clock
) -> None:
    store = SqliteStore(str(file), timeout=0.2, wall=clock)
    await store.open()
    session = a_session(now=clock.now)
    locker = sqlite3.connect(file, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(StoreUnavailable):
        await store.create(session)
    assert loop.time() - start < 1.0
    assert await store.load([session.key]) == [None]  # readers do not wait for writers
    locker.execute("COMMIT")
    locker.close()
    await store.touch(session)
    again = a_session(now=clock.now)
    await store.create(again)
    assert await store.load([again.key]) == [again]
    await store.close()


async def test_a_file_that_breaks_later_is_unavailable(
    store: SqliteStore, file: Path, clock: Clock
) -> None:
    await store.create(a_session(now=clock.now))
    for one in list(file.parent.iterdir()):
        one.unlink()
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailable, match="file is not a database"):
        await store.load([a_session(now=clock.now).key])


async def test_a_closed_store_leaves_one_file(store: SqliteStore, file: Path) -> None:
    await hearing(store)
    await store.close()
    assert list(file.parent.iterdir()) == [file]


async def test_a_closed_store_is_unavailable(store: SqliteStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ping()
