from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.model import SessionKey, User
from gateway.rules.adapter_tables import SCHEMAS
from gateway.rules.sessions import touched
from gateway.stores.cached import CachedSessions
from gateway.stores.foreign.app_rows import AppRows
from gateway.stores.mirrored import MirroredSessions
from gateway.stores.postgres import PostgresStore
from gateway.stores.protocol import SessionStore, Watcher
from tests.servers import PostgresServer
from tests.stores.contract import ADA, LIFETIME, Clock, StoreContract, a_session, after

# As next-auth 4 described it: sessions with an id of their own, users without an address.
OLD_PRISMA = """
CREATE TABLE "User" ("id" TEXT PRIMARY KEY, "name" TEXT, "email" TEXT UNIQUE,
    "emailVerified" TIMESTAMP(3), "image" TEXT);
CREATE TABLE "Session" ("id" TEXT PRIMARY KEY, "sessionToken" TEXT NOT NULL UNIQUE,
    "userId" TEXT NOT NULL REFERENCES "User"("id") ON DELETE CASCADE,
    "expires" TIMESTAMP(3) NOT NULL)
"""
SQL = Path(__file__).parent / "foreign" / "sql"
DDL = {
    "pg": (SQL / "pg-adapter.sql").read_text(),
    "drizzle": (SQL / "drizzle-pg.sql").read_text(),
    "prisma": OLD_PRISMA,
}


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    with PostgresServer("timezone=Asia/Kathmandu") as server:
        for name, ddl in DDL.items():
            server.command(f"CREATE DATABASE {name}")
            server.command(ddl, database=name)
        yield server


@pytest.fixture(params=sorted(DDL))
def schema(running: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    name = str(request.param)
    yield name
    tables = SCHEMAS[name]
    running.command(
        f'TRUNCATE "{tables.sessions}", "{tables.users}" CASCADE;'
        "DROP TABLE IF EXISTS gateway_sessions, gateway_schema, gateway_app_users;"
        "DROP FUNCTION IF EXISTS gateway_session_changed",
        database=name,
    )


class Heard(MirroredSessions):
    """As if the app never ended a session: then copies would be true. For the contract, whose
    watchers wait until they are."""

    def __init__(self, ours: SessionStore, rows: AppRows) -> None:
        super().__init__(ours, rows)
        self.watch_ours = ours.watch

    def watch(self, watcher: Watcher) -> None:
        super().watch(watcher)
        self.watch_ours(TrustAlone(watcher))


class TrustAlone(Watcher):
    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def changed(self, key: SessionKey) -> None: ...

    def all_changed(self) -> None: ...

    def trust(self, trusted: bool) -> None:
        self.watcher.trust(trusted)


def sessions(
    server: PostgresServer, schema: str, clock: Clock, kind: type[MirroredSessions]
) -> MirroredSessions:
    url = server.url_of("gateway", schema)
    rows = AppRows(url, SCHEMAS[schema], wall=clock)
    return kind(PostgresStore(url, wall=clock), rows)


@pytest.fixture
def make(running: PostgresServer, schema: str, clock: Clock) -> Callable[[], SessionStore]:
    return partial(sessions, running, schema, clock, MirroredSessions)


class TestMirroredSessions(StoreContract):
    @pytest.fixture
    def make(
        self, running: PostgresServer, schema: str, clock: Clock
    ) -> Callable[[], SessionStore]:
        return partial(sessions, running, schema, clock, Heard)


# --- what the app sees ---------------------------------------------------------------------------


class App:
    """Looks into its tables, as the adapter does."""

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self.server = server
        self.schema = schema
        self.sessions, self.users = SCHEMAS[schema].sessions, SCHEMAS[schema].users

    def command(self, sql: str) -> str:
        return self.server.command(sql, database=self.schema)

    def user_of(self, token: str) -> str:
        """Return name, address and picture of the user whose session it is; empty: of nobody."""
        return self.command(
            f'SELECT u.name, u.email, u.image FROM "{self.sessions}" AS s'
            f' JOIN "{self.users}" AS u ON u.id = s."userId"'
            f" WHERE s.\"sessionToken\" = '{token}'"
        )

    def expires(self, token: str) -> float:
        """Return the moment at which it ends, where one without a zone is UTC."""
        return float(
            self.command(
                f'SELECT extract(epoch FROM expires) FROM "{self.sessions}"'
                f" WHERE \"sessionToken\" = '{token}'"
            )
        )

    def sign_out(self, token: str) -> None:
        self.command(f'DELETE FROM "{self.sessions}" WHERE "sessionToken" = \'{token}\'')

    def add_user(self, user_id: str, email: str) -> None:
        self.command(
            f'INSERT INTO "{self.users}" (id, name, email)'
            f" VALUES ('{user_id}', 'Known', '{email}')"
        )

    def users_count(self) -> int:
        return int(self.command(f'SELECT count(*) FROM "{self.users}"'))


@pytest.fixture
def app(running: PostgresServer, schema: str) -> App:
    return App(running, schema)


async def test_the_app_finds_the_session_under_what_the_cookie_holds(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    assert app.user_of(session.key) == f"{ADA.name}|{ADA.email}|{ADA.image}"
    assert app.expires(session.key) == pytest.approx(session.expires_at, abs=0.001)


async def test_what_the_app_ends_is_over(store: MirroredSessions, app: App, clock: Clock) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    app.sign_out(session.key)
    assert await store.load([session.key]) == [None]
    assert await store.find(session.id) is None
    assert await store.of_user(session.user.id) == []
    assert [one async for one in store.all()] == []
    assert not await store.update(session)
    new = replace(session, key=SessionKey("another"))
    assert not await store.replace(session, new)
    assert app.user_of("another") == ""


async def test_what_we_end_is_over_for_the_app(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    assert await store.delete(session.key)
    assert app.user_of(session.key) == ""


async def test_the_app_s_expiry_moves_with_ours(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    clock.now += 100
    later = touched(session, LIFETIME, now=clock.now)
    await store.touch(later)
    assert app.expires(session.key) == pytest.approx(later.expires_at, abs=0.001)


async def test_a_renewed_session_has_a_row_for_each_token_while_both_answer(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    new, left = after(session, now=clock.now)
    assert await store.replace(session, new, left=left)
    assert app.user_of(new.key) == app.user_of(session.key) != ""
    assert app.expires(session.key) == pytest.approx(left.expires_at, abs=0.001)
    assert app.users_count() == 1


# --- which user ----------------------------------------------------------------------------------


async def test_somebody_becomes_the_user_whom_the_app_knows_by_their_address(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    app.add_user("7", str(ADA.email))
    session = a_session(now=clock.now)
    await store.create(session)
    assert app.user_of(session.key).startswith("Known|")
    assert app.users_count() == 1


async def test_a_changed_address_leaves_somebody_the_same_user(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    await store.create(a_session(now=clock.now))
    renamed = a_session(replace(ADA, email="countess@example.com"), now=clock.now)
    await store.create(renamed)
    assert app.users_count() == 1
    assert str(ADA.email) in app.user_of(renamed.key)


async def test_the_same_id_at_two_providers_is_two_users(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    for provider in ("corp", "other"):
        user = User(id="1", provider=provider, email=f"1@{provider}.example")
        await store.create(a_session(user, now=clock.now))
    assert app.users_count() == 2


async def test_sign_ins_at_the_same_moment_make_one_user(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now) for _ in range(8)]
    await asyncio.gather(*map(store.create, sessions))
    assert app.users_count() == 1


async def test_a_user_whom_the_app_has_deleted_is_made_anew(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    await store.create(a_session(now=clock.now))
    app.command(f'TRUNCATE "{app.sessions}", "{app.users}" CASCADE')
    session = a_session(now=clock.now)
    await store.create(session)
    assert app.user_of(session.key) != ""


async def test_an_address_that_two_users_have_is_nobody_s(
    running: PostgresServer, clock: Clock
) -> None:
    app = App(running, "pg")  # the only one without an index that forbids it
    store = sessions(running, "pg", clock, MirroredSessions)
    await store.open()
    for user_id in ("7", "8"):
        app.add_user(user_id, str(ADA.email))
    with pytest.raises(StoreUnavailable, match="same email address"):
        await store.create(a_session(now=clock.now))
    app.command("TRUNCATE users, sessions")
    await store.close()


# --- tables --------------------------------------------------------------------------------------


@pytest.fixture
def empty(running: PostgresServer) -> Iterator[App]:
    running.command("CREATE DATABASE empty")
    app = App(running, "prisma")
    app.schema = "empty"
    yield app
    running.command("DROP DATABASE empty WITH (FORCE)")


async def test_columns_of_times_are_filled(
    running: PostgresServer, empty: App, clock: Clock
) -> None:
    empty.command((SQL / "prisma-pg.sql").read_text())
    rows = AppRows(running.url_of("gateway", "empty"), SCHEMAS["prisma"], wall=clock)
    await rows.open()
    await rows.add(SessionKey("token"), ADA, clock.now + 60)
    assert await rows.alive([SessionKey("token")]) == {"token"}
    with pytest.raises(StoreUnavailable, match=r'"email".*not-null'):
        await rows.add(SessionKey("other"), User(id="nameless"), clock.now + 60)
    assert empty.users_count() == 1
    await rows.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('ADD COLUMN "tenant" integer NOT NULL', "the column tenant of User needs a default"),
        ("RENAME TO elsewhere", "there is no table User"),
    ],
)
async def test_a_table_that_we_cannot_write_is_told_at_the_start(
    running: PostgresServer, empty: App, clock: Clock, change: str, message: str
) -> None:
    empty.command((SQL / "prisma-pg.sql").read_text())
    empty.command(f'ALTER TABLE "User" {change}')
    rows = AppRows(running.url_of("gateway", "empty"), SCHEMAS["prisma"], wall=clock)
    with pytest.raises(StoreUnavailable, match=message):
        await rows.open()
    await rows.close()


async def test_no_copies_are_kept_since_nobody_tells_when_the_app_ends_a_session(
    store: MirroredSessions, app: App, clock: Clock
) -> None:
    cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock)
    session = a_session(now=clock.now)
    await store.create(session)
    assert await cached.get(session.key) is not None
    assert cached.peek(session.key, clock.now) is None
    app.sign_out(session.key)
    assert await cached.get(session.key) is None
    await cached.close()
