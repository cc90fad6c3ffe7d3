from __future__ import annotations

import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from gateway.formats.js_dates import iso, with_offset
from gateway.model import SessionKey
from gateway.rules.adapter_tables import SCHEMAS, Tables
from gateway.stores.foreign import adapter_sqlite
from gateway.stores.foreign.adapter_sqlite import AdapterSqlite
from gateway.stores.foreign.sqlite_app_file import to_read
from gateway.stores.protocol import LookupStore
from tests.formats.foreign_vectors import Vector
from tests.servers import wait_until
from tests.stores.contract import Clock, hearing
from tests.stores.foreign.contract import (
    HOUR,
    AppWithTables,
    TablesContract,
    means_the_same,
    moved,
    new_token,
    of_adapters,
    session_of,
    token_of,
)

SQL = Path(__file__).parent / "sql"

# As `prisma db push` makes them for SQLite.
PRISMA = """
CREATE TABLE "User" ("id" TEXT NOT NULL PRIMARY KEY, "name" TEXT, "email" TEXT,
    "emailVerified" DATETIME, "image" TEXT);
CREATE TABLE "Session" ("sessionToken" TEXT NOT NULL, "userId" TEXT NOT NULL,
    "expires" DATETIME NOT NULL);
CREATE UNIQUE INDEX "Session_sessionToken_key" ON "Session"("sessionToken");
"""


class SqliteApp(AppWithTables):
    """Writes rows as an adapter does, and keeps its file open, as an app does."""

    def __init__(self, file: Path, kind: str) -> None:
        self.file = file
        self.kind = kind
        self.tables = SCHEMAS["drizzle" if kind == "drizzle" else "prisma"]
        self.db = sqlite3.connect(file, isolation_level=None)
        if kind != "drizzle":  # whose adapter leaves the file with a rollback journal
            self.db.execute("PRAGMA journal_mode = WAL")
        self.db.executescript(
            (SQL / "drizzle-sqlite.sql").read_text() if kind == "drizzle" else PRISMA
        )

    def sign_in(self, *, expires: float, name: str = "Ada", token: str | None = None) -> str:
        token = token or new_token()
        moment = int(expires * 1000)
        end = with_offset(moment) if self.kind == "prisma, as text" else moment
        user = (f"of {token}", name, f"{token}@example.com")
        users, sessions = self.tables.users, self.tables.sessions
        self.db.execute(f'INSERT INTO "{users}" (id, name, email) VALUES (?, ?, ?)', user)
        values = (token, f"of {token}", end)
        self.db.execute(
            f'INSERT INTO "{sessions}" ("sessionToken", "userId", expires) VALUES (?, ?, ?)', values
        )
        return token

    def sign_out(self, token: str) -> None:
        self.db.execute(f'DELETE FROM "{self.tables.sessions}" WHERE "sessionToken" = ?', (token,))

    def rename(self, token: str, name: str) -> None:
        sql = f'UPDATE "{self.tables.users}" SET name = ? WHERE id = ?'
        self.db.execute(sql, (name, f"of {token}"))

    def damage(self, token: str) -> None:
        self.set_expires(token, "tomorrow")

    def contents(self) -> object:
        return list(self.db.iterdump())

    def away(self) -> None:
        self.db.close()
        self.file.unlink()

    def expires(self, token: str) -> object:
        sql = f'SELECT expires FROM "{self.tables.sessions}" WHERE "sessionToken" = ?'
        return self.db.execute(sql, (token,)).fetchone()[0]

    def set_expires(self, token: str, value: object) -> None:
        sql = f'UPDATE "{self.tables.sessions}" SET expires = ? WHERE "sessionToken" = ?'
        self.db.execute(sql, (value, token))


@pytest.fixture(params=["drizzle", "prisma", "prisma, as text"])
def app(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SqliteApp]:
    app = SqliteApp(tmp_path / "the app's #1?.db", request.param)
    yield app
    app.db.close()


def sessions(
    app: SqliteApp, clock: Clock, *, tables: Tables | None = None, **more: Any
) -> AdapterSqlite:
    return AdapterSqlite(str(app.file), tables or app.tables, session_of, wall=clock, **more)


@pytest.fixture
def make(app: SqliteApp, clock: Clock) -> Callable[..., LookupStore]:
    return partial(sessions, app, clock)


class TestAdapterSqlite(TablesContract):
    unknown = r"no such (table|column): .*nowhere"


@pytest.mark.parametrize("written", [iso, with_offset, lambda ms: iso(ms).replace("T", " ")[:-1]])
async def test_a_moment_may_be_text(
    app: SqliteApp, store: AdapterSqlite, clock: Clock, written: Any
) -> None:
    key = SessionKey(app.sign_in(expires=clock.now))
    app.set_expires(key, written(4_102_444_800_000))
    [session] = await store.load([key])
    assert session is not None
    assert session.expires_at == 4_102_444_800.001


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("admin", "admin"),
        ('["admin", "editor"]', ["admin", "editor"]),
        ("[broken", "[broken"),
        (None, None),
        (7, 7),
    ],
)
async def test_a_list_is_json_in_a_column(
    app: SqliteApp, clock: Clock, value: object, expected: object
) -> None:
    app.db.execute(f'ALTER TABLE "{app.tables.users}" ADD COLUMN "the ""roles"')
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    app.db.execute(f'UPDATE "{app.tables.users}" SET "the ""roles" = ?', (value,))
    store = sessions(app, clock, tables=replace(app.tables, more=('the "roles',)))
    [session] = await store.load([key])
    assert session is not None
    assert session.data["user"]['the "roles'] == expected
    await store.close()


@pytest.mark.parametrize("there", [True, False])
async def test_the_column_where_roles_usually_are_is_read_if_it_is_there(
    app: SqliteApp, clock: Clock, there: bool
) -> None:
    if there:
        app.db.execute(f'ALTER TABLE "{app.tables.users}" ADD COLUMN roles DEFAULT \'["a"]\'')
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    store = sessions(app, clock, tables=replace(app.tables, maybe=("roles",)))
    await store.open()
    [session] = await store.load([key])
    assert session is not None
    assert session.data["user"].get("roles") == (["a"] if there else None)
    await store.close()


async def test_a_name_in_another_encoding_keeps_nobody_out(
    app: SqliteApp, store: AdapterSqlite, clock: Clock
) -> None:
    odd, usual = (SessionKey(app.sign_in(expires=clock.now + HOUR)) for _ in range(2))
    app.db.execute(
        f"UPDATE \"{app.tables.users}\" SET name = CAST(x'41ff' AS TEXT) WHERE id = ?",
        (f"of {odd}",),
    )
    found = await store.load([odd, usual])
    assert [session and session.user.name for session in found] == ["A\ufffd", "Ada"]


async def test_a_touch_keeps_the_form_of_a_moment_and_never_moves_it_back(
    app: SqliteApp, clock: Clock
) -> None:
    store = sessions(app, clock, touch=True, max_age=HOUR)
    clock.now = 1_795_200_000.0625
    key = SessionKey(app.sign_in(expires=clock.now + HOUR / 2))
    bystander = app.sign_in(expires=clock.now + HOUR / 2)
    [session] = await store.load([key])
    assert session is not None
    later = moved(session, clock)
    await store.touch(later)
    after = app.expires(key)
    text = app.kind == "prisma, as text"
    assert after == ("2026-11-20T19:40:00.062+00:00" if text else 1_795_203_600_062)
    await store.touch(replace(later, touched_at=clock.now - 60))
    assert app.expires(key) == after
    clock.now += 2 * HOUR  # over: the app alone may say what becomes of it
    await store.touch(moved(session, clock))
    assert app.expires(key) == after
    assert app.expires(bystander) != after
    await store.close()


async def test_what_somebody_is_writing_for_long_keeps_nobody_from_hearing_of_it(
    app: SqliteApp, clock: Clock
) -> None:
    store = sessions(app, clock)
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    ears = await hearing(store)
    app.db.execute("BEGIN EXCLUSIVE")  # with a rollback journal nobody can even look at the file
    app.sign_out(key)
    began, told = time.monotonic(), ears.all
    await wait_until(lambda: time.monotonic() - began > 0.1)  # several looks
    assert ears.all == told
    app.db.execute("COMMIT")
    await wait_until(lambda: ears.all > told, what="the change is heard")
    assert ears.trust_was_lost == 0
    assert await store.load([key]) == [None]
    await store.close()


# --- the file ------------------------------------------------------------------------------------


async def test_a_missing_file_is_not_made(app: SqliteApp, clock: Clock) -> None:
    app.away()
    for touch in (False, True):
        store = sessions(app, clock, touch=touch)
        with pytest.raises(StoreUnavailable, match="unable to open database file"):
            await store.open()
        await store.close()
    assert list(app.file.parent.glob("*.db")) == []


async def test_a_file_that_is_put_in_its_place_is_the_one_that_counts(
    app: SqliteApp, store: AdapterSqlite, clock: Clock
) -> None:
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    ears = await hearing(store)
    assert await store.load([key]) != [None]
    app.away()
    other = SqliteApp(app.file, app.kind)
    await wait_until(lambda: ears.trust_was_lost and ears.trusted, what="the new one is followed")
    assert await store.load([key]) == [None]
    other.db.close()


async def test_a_file_that_cannot_be_written_is_told_at_the_start_if_it_is_to_be(
    app: SqliteApp, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as root, whom no mode keeps from writing: SQLite's own switch does.
    monkeypatch.setattr(adapter_sqlite, "to_write", to_read)
    store = sessions(app, clock, touch=True)
    with pytest.raises(StoreUnavailable, match="attempt to write a readonly database"):
        await store.open()
    await store.close()


async def test_the_file_s_mode_is_left_as_it_is(
    app: SqliteApp, store: AdapterSqlite, clock: Clock
) -> None:
    app.file.chmod(0o640)
    app.sign_in(expires=clock.now + HOUR)
    await hearing(store)
    assert stat.S_IMODE(app.file.stat().st_mode) == 0o640


# --- what the real adapter made ------------------------------------------------------------------


@pytest.mark.parametrize("vector", of_adapters("drizzle-sqlite"))
async def test_what_the_real_adapter_made_means_the_same_here(
    tmp_path: Path, vector: Vector
) -> None:
    app = SqliteApp(tmp_path / "app.db", "drizzle")
    for entry in sorted(vector["store_entries"], key=lambda entry: "userId" in entry["row"]):
        row = entry["row"]
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        sql = f'INSERT INTO "{entry["table"]}" ({names}) VALUES ({marks})'
        app.db.execute(sql, tuple(row.values()))
    clock = Clock()
    clock.now = vector["now"]
    store = sessions(app, clock, touch=True)
    await means_the_same(store, vector, token_of(vector), clock)
    await store.close()
    app.db.close()
