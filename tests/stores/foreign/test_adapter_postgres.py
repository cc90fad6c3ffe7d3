from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.formats.js_dates import iso
from gateway.model import SessionKey
from gateway.rules.adapter_tables import SCHEMAS, Tables, quoted
from gateway.stores.cached import CachedSessions
from gateway.stores.foreign.adapter_postgres import AdapterPostgres
from gateway.stores.protocol import LookupStore
from tests.formats.foreign_vectors import Vector
from tests.servers import Pooler, PostgresServer
from tests.stores.contract import Clock
from tests.stores.foreign.contract import (
    HOUR,
    LIFETIME,
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


@dataclass(frozen=True)
class Adapter:
    """One of the adapters: what made its tables, and what it writes into their other columns."""

    ddl: str
    tables: Tables
    more: dict[str, str]
    user_ids: str = "'u' || {n}"


ADAPTERS = {
    "pg": Adapter("pg-adapter.sql", SCHEMAS["pg"], {}, user_ids="{n}"),
    "drizzle": Adapter("drizzle-pg.sql", SCHEMAS["drizzle"], {}),
    "prisma": Adapter("prisma-pg.sql", SCHEMAS["prisma"], {"updatedAt": "now()"}),
}


class PostgresApp(AppWithTables):
    """Writes rows as the adapter does."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self._adapter = ADAPTERS[name]
        self.tables = self._adapter.tables
        self._count = 0

    def command(self, sql: str) -> str:
        return self.server.command(sql, database=self.name)

    def sign_in(self, *, expires: float, name: str = "Ada", token: str | None = None) -> str:
        token = token or new_token()
        self._count += 1
        user = self._adapter.user_ids.format(n=self._count)
        self._insert(self.tables.users, id=user, name=f"$${name}$$", email=f"'{token}@example.com'")
        end = f"'{iso(int(expires * 1000))}'"
        self._insert(self.tables.sessions, sessionToken=f"$${token}$$", userId=user, expires=end)
        return token

    def sign_out(self, token: str) -> None:
        self.command(f'DELETE FROM "{self.tables.sessions}" WHERE "sessionToken" = $${token}$$')

    def rename(self, token: str, name: str) -> None:
        self.command(
            f"UPDATE \"{self.tables.users}\" SET name = '{name}'"
            f" WHERE email = '{token}@example.com'"
        )

    def damage(self, token: str) -> None:
        self.command(
            f"UPDATE \"{self.tables.sessions}\" SET expires = 'infinity'"
            f" WHERE \"sessionToken\" = '{token}'"
        )

    def contents(self) -> object:
        return [
            self.command(f'SELECT * FROM "{table}" ORDER BY 1')
            for table in (self.tables.sessions, self.tables.users)
        ]

    def away(self) -> None:
        self.server.pause()

    def expires(self, token: str) -> str:
        return self.command(
            f'SELECT expires FROM "{self.tables.sessions}" WHERE "sessionToken" = \'{token}\''
        )

    def restore(self, vector: Vector) -> None:
        """Put there what was there when the vector was made, and nothing else."""
        statements = [f'TRUNCATE "{self.tables.sessions}", "{self.tables.users}" CASCADE']
        for entry in sorted(vector["store_entries"], key=lambda entry: "userId" in entry["row"]):
            # The column was added for some of them, and says nothing in any.
            row = {name: value for name, value in entry["row"].items() if name != "role"}
            names = ", ".join(map(quoted, row))
            statements.append(
                f'INSERT INTO "{entry["table"]}" ({names}) SELECT {names}'
                f' FROM json_populate_record(NULL::"{entry["table"]}", $v${json.dumps(row)}$v$)'
            )
        self.command(";".join(statements))

    def _insert(self, table: str, **values: str) -> None:
        values |= self._adapter.more
        names = ", ".join(f'"{name}"' for name in values)
        self.command(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(values.values())})')


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    # A zone of its own: moments without a zone must not be taken for local time anywhere.
    with PostgresServer("timezone=Asia/Kathmandu") as server:
        for name, one in ADAPTERS.items():
            server.command(f"CREATE DATABASE {name}")
            server.command((SQL / one.ddl).read_text(), database=name)
        yield server


@pytest.fixture(params=sorted(ADAPTERS))
def app(running: PostgresServer, request: pytest.FixtureRequest) -> Iterator[PostgresApp]:
    app = PostgresApp(running, request.param)
    yield app
    running.resume()
    app.command(f'TRUNCATE "{app.tables.sessions}", "{app.tables.users}" CASCADE')


def sessions(
    app: PostgresApp, clock: Clock, *, url: str = "", tables: Tables | None = None, **more: Any
) -> AdapterPostgres:
    url = url or app.server.url_of("gateway", app.name)
    return AdapterPostgres(url, tables or app.tables, session_of, wall=clock, **more)


@pytest.fixture
def make(app: PostgresApp, clock: Clock) -> Callable[..., LookupStore]:
    return partial(sessions, app, clock)


class TestAdapterPostgres(TablesContract):
    caches = False
    unknown = r"nowhere.* does not exist"


_OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session-gateway'"

# --- what is asked -------------------------------------------------------------------------------


async def test_those_who_ask_together_are_answered_by_one_statement(
    app: PostgresApp, store: AdapterPostgres, clock: Clock
) -> None:
    keys = [SessionKey(app.sign_in(expires=clock.now + HOUR)) for _ in range(20)]
    cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock)
    found = await asyncio.gather(*map(cached.get, keys))
    assert None not in found
    # A connection for each question at once: one has to do.
    assert app.server.command(_OURS) == "1"
    await cached.close()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "'admin'", "admin"),
        ("text[]", "'{admin,editor}'", ["admin", "editor"]),
        ("jsonb", """'["admin", {"a": 1}]'""", ["admin", {"a": 1}]),
        ("json", "'null'", None),
        ("text", "NULL", None),
        ("integer", "7", 7),
        ("mood", "'happy'", "happy"),
        ("mood[]", "'{happy}'", ["happy"]),
    ],
)
async def test_roles_are_read_from_whatever_type_their_column_has(
    app: PostgresApp, clock: Clock, kind: str, value: str, expected: object
) -> None:
    users = app.tables.users
    app.command("DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('happy')")
    app.command(f'ALTER TABLE "{users}" ADD COLUMN "Its ""roles""" {kind} DEFAULT {value}')
    tables = replace(app.tables, more=('Its "roles"',))
    store = sessions(app, clock, tables=tables)
    await store.open()
    [session] = await store.load([SessionKey(app.sign_in(expires=clock.now + HOUR))])
    app.command(f'ALTER TABLE "{users}" DROP COLUMN "Its ""roles"""')
    assert session is not None
    assert session.data["user"]['Its "roles"'] == expected
    await store.close()


@pytest.mark.parametrize(
    ("column", "granted", "expected"),
    [
        pytest.param("roles", True, ["a", "b"], id="there"),
        pytest.param("roles", False, None, id="not for this account"),
        pytest.param("rules", True, None, id="not there"),
    ],
)
async def test_the_column_where_roles_usually_are_is_read_if_it_can_be(
    app: PostgresApp, clock: Clock, column: str, granted: bool, expected: object
) -> None:
    tables = ADAPTERS[app.name].tables
    users, columns = quoted(tables.users), "id, name, email, image"
    app.command(
        f"ALTER TABLE {users} ADD COLUMN {column} text[] DEFAULT '{{a,b}}';"
        f"CREATE ROLE reader LOGIN; GRANT SELECT ON {quoted(tables.sessions)} TO reader;"
        f"GRANT SELECT ({columns}{f', {column}' * granted}) ON {users} TO reader"
    )
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    url = app.server.url_of("reader", app.name)
    store = sessions(app, clock, url=url, tables=replace(tables, maybe=("roles",)))
    await store.open()
    [session] = await store.load([key])
    await store.close()
    app.command(f"DROP OWNED BY reader; DROP ROLE reader; ALTER TABLE {users} DROP COLUMN {column}")
    assert session is not None
    assert session.data["user"].get("roles") == expected


async def test_tables_and_columns_may_have_any_names(app: PostgresApp, clock: Clock) -> None:
    app.command(
        """
        CREATE SCHEMA x;
        CREATE TABLE x."my ""users" (uid bigint, n text, e text, i text);
        CREATE TABLE x."select" ("the token" text, owner bigint, "Until" timestamptz);
        INSERT INTO x."my ""users" VALUES (7, 'Ada', 'a@example.com', NULL);
        INSERT INTO x."select" VALUES ('t', 7, '2100-01-01Z')
        """
    )
    tables = Tables(
        sessions="select",
        users='my "users',
        token="the token",
        user_id="owner",
        expires="Until",
        id="uid",
        name="n",
        email="e",
        image="i",
    )
    url = app.server.url_of("gateway", app.name) + "?search_path=x"
    store = sessions(app, clock, tables=tables, url=url)
    await store.open()
    [session] = await store.load([SessionKey("t")])
    app.command("DROP SCHEMA x CASCADE")
    assert session is not None
    assert session.data == {
        "user": {"id": 7, "name": "Ada", "email": "a@example.com", "image": None}
    }
    await store.close()


async def test_a_token_that_two_rows_have_signs_nobody_in(clock: Clock, running: Any) -> None:
    app = PostgresApp(running, "pg")  # the only one without an index that forbids it
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    app.sign_in(expires=clock.now + HOUR, token=key)
    store = sessions(app, clock)
    with capture_logs() as logs:
        assert await store.load([key]) == [None]
    assert {line["event"] for line in logs} == {"corrupt_record"}
    app.command("TRUNCATE sessions, users")
    await store.close()


async def test_a_session_without_its_user_is_none(clock: Clock, running: Any) -> None:
    app = PostgresApp(running, "pg")  # the only one without a foreign key
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    app.command("TRUNCATE users")
    store = sessions(app, clock)
    assert await store.load([key]) == [None]
    app.command("TRUNCATE sessions")
    await store.close()


async def test_a_database_in_another_encoding_is_not_asked_for_what_it_cannot_hold(
    app: PostgresApp, clock: Clock
) -> None:
    app.server.command("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    one = ADAPTERS[app.name]
    app.server.command((SQL / one.ddl).read_text(), database="latin")
    latin = PostgresApp(app.server, app.name)
    latin.name = "latin"
    key = SessionKey(latin.sign_in(expires=clock.now + HOUR))
    store = sessions(app, clock, url=app.server.url_of("gateway", "latin"))
    [unknown, session] = await store.load([SessionKey("Łódź"), key])
    assert unknown is None
    assert session is not None
    await store.close()
    app.server.command("DROP DATABASE latin WITH (FORCE)")


# --- what may be done ----------------------------------------------------------------------------


async def test_an_account_that_may_only_read_is_enough_to_read(
    app: PostgresApp, clock: Clock
) -> None:
    tables = app.tables
    columns = '"id", "name", "email", "image"'
    app.command(
        "CREATE ROLE reader LOGIN;"
        f'GRANT SELECT ("sessionToken", "userId", expires) ON "{tables.sessions}" TO reader;'
        f'GRANT SELECT ({columns}) ON "{tables.users}" TO reader'
    )
    url = app.server.url_of("reader", app.name)
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    store = sessions(app, clock, url=url)
    await store.open()
    assert await store.load([key]) != [None]
    await store.close()
    moving = sessions(app, clock, url=url, touch=True)
    with pytest.raises(StoreUnavailable, match="permission denied"):
        await moving.open()
    await moving.close()
    app.command("DROP OWNED BY reader; DROP ROLE reader")


async def test_a_touch_is_a_whole_millisecond_and_never_moves_an_expiry_back(
    app: PostgresApp, clock: Clock
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
    assert after.startswith(("2026-11-20 19:40:00.062", "2026-11-21 01:25:00.062"))
    await store.touch(replace(later, touched_at=clock.now - 60))
    assert app.expires(key) == after
    clock.now += 2 * HOUR  # over: the app alone may say what becomes of it
    await store.touch(moved(session, clock))
    assert app.expires(key) == after
    assert app.expires(bystander) != after
    await store.close()


async def test_a_pooler_is_refused_as_what_the_setting_leads_to(
    running: PostgresServer, clock: Clock
) -> None:
    with Pooler(running, "transaction") as pooler:
        store = AdapterPostgres(
            pooler.url, SCHEMAS["pg"], session_of, wall=clock, setting="session.accept[0].store"
        )
        with pytest.raises(StoreUnavailable, match=r"^session.accept\[0\].store leads to a pooler"):
            await store.open()
        await store.close()


# --- what the real adapters made -----------------------------------------------------------------


_SCHEMA_OF = {"pg-adapter": "pg", "drizzle-pg": "drizzle", "prisma-pg": "prisma"}


@pytest.mark.parametrize("vector", of_adapters(*_SCHEMA_OF))
async def test_what_the_real_adapters_made_means_the_same_here(
    running: PostgresServer, vector: Vector
) -> None:
    app = PostgresApp(running, _SCHEMA_OF[vector["config"]["adapter"]])
    app.restore(vector)
    clock = Clock()
    clock.now = vector["now"]
    store = sessions(app, clock, touch=True)
    await means_the_same(store, vector, token_of(vector), clock)
    await store.close()
