from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.rules.sessions import touched
from gateway.stores.codec import hint
from gateway.stores.postgres import PostgresStore
from gateway.stores.protocol import SessionStore
from tests.servers import Pooler, PostgresServer, free_port, program, wait_until
from tests.stores.away import (
    does_not_notice_a_restart,
    is_unavailable_while_it_hangs,
    survives_a_restart,
)
from tests.stores.contract import (
    LIFETIME,
    Clock,
    StoreContract,
    a_session,
    hearing,
    keys_of_tokens,
)


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def server(running: PostgresServer) -> Iterator[PostgresServer]:
    """The module's server, with an empty database."""
    yield running
    running.command(
        "DROP TABLE IF EXISTS gateway_sessions, gateway_schema;"
        "DROP FUNCTION IF EXISTS gateway_session_changed"
    )


@pytest.fixture
def make(server: PostgresServer, clock: Clock) -> Callable[[], SessionStore]:
    return partial(PostgresStore, server.url, timeout=1.0, wall=clock)


class TestPostgresStore(StoreContract): ...


# --- at rest -------------------------------------------------------------------------------------


async def test_the_database_holds_the_hash_of_the_token_and_never_the_token(
    store: PostgresStore, server: PostgresServer, clock: Clock
) -> None:
    token, key = keys_of_tokens()
    await store.create(replace(a_session(now=clock.now), key=key))
    held = server.on_disk()
    assert key.encode() in held
    assert token.encode() not in held


async def test_what_expired_is_removed_a_little_at_a_time(
    server: PostgresServer, clock: Clock
) -> None:
    store = PostgresStore(server.url, wall=clock, sweep_every=0.01)
    await store.open()
    stays = a_session(now=clock.now)
    server.command(
        # Three batches, and one that somebody holds.
        "INSERT INTO gateway_sessions SELECT 'over ' || n, n, 'ada', '', 1, 2, 3"
        " FROM generate_series(1, 1200) AS n"
    )
    await store.create(stays)

    async def only_one() -> bool:
        return server.command("SELECT count(*) FROM gateway_sessions") == "1"

    await wait_until(only_one, what="what expired is gone")
    assert await store.load([stays.key]) == [stays]
    await store.close()


async def test_a_row_that_somebody_holds_keeps_no_sweep_waiting(
    server: PostgresServer, clock: Clock
) -> None:
    store = PostgresStore(server.url, wall=clock, sweep_every=0.01)
    await store.open()
    sessions = sorted((a_session(now=clock.now) for _ in range(3)), key=lambda one: one.key)
    for session in sessions:
        await store.create(session)
    left = "SELECT string_agg(key, ',') FROM gateway_sessions"
    held = sessions[1].key
    row = f"SELECT 'held' FROM gateway_sessions WHERE key = '{held}' FOR UPDATE"
    async with holding(server, row):
        clock.now += 601
        await wait_until(lambda: server.command(left) == held, what="the others are gone")
    await wait_until(lambda: server.command(left) == "", what="it is gone too")
    await store.close()


@asynccontextmanager
async def holding(server: PostgresServer, sql: str) -> AsyncIterator[None]:
    """Let somebody else have a transaction open in which this was done."""
    psql = await asyncio.create_subprocess_exec(
        *(program("psql", "postgresql"), "-Atq", server.url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert psql.stdin is not None
    assert psql.stdout is not None
    psql.stdin.write(f"BEGIN; {sql};\n".encode())
    async with asyncio.timeout(5.0):
        assert await psql.stdout.readline() == b"held\n"
    try:
        yield
    finally:
        psql.stdin.close()
        async with asyncio.timeout(5.0):
            await psql.wait()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("record", "'rubbish'", id="rubbish"),
        pytest.param("record", "''", id="empty"),
        pytest.param("expires_at", "'NaN'", id="an expiry that is no number"),
    ],
)
async def test_a_broken_row_signs_nobody_in(
    store: PostgresStore, server: PostgresServer, clock: Clock, column: str, value: str
) -> None:
    broken, whole = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(broken)
    await store.create(whole)
    server.command(f"UPDATE gateway_sessions SET {column} = {value} WHERE key = '{broken.key}'")
    with capture_logs() as logs:
        assert await store.load([broken.key, whole.key]) == [None, whole]
    assert [(line["event"], line["session"]) for line in logs if column == "record"] == [
        ("corrupt_record", hint(broken.key))
    ] * (column == "record")
    assert await store.of_user("ada") == [whole]
    await store.delete(broken.key)
    assert server.command("SELECT count(*) FROM gateway_sessions") == "1"


# --- changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DELETE FROM gateway_sessions WHERE key = '{key}'", id="deleted"),
        pytest.param("UPDATE gateway_sessions SET expires_at = 0", id="shortened"),
        pytest.param("UPDATE gateway_sessions SET record = ''", id="another record"),
        pytest.param("UPDATE gateway_sessions SET key = 'x'", id="another key"),
        pytest.param(
            "SET session_replication_role = replica; DELETE FROM gateway_sessions",
            id="by a replica's apply process",
        ),
    ],
)
async def test_what_somebody_does_by_hand_is_heard_within_100_ms(
    store: PostgresStore, server: PostgresServer, clock: Clock, sql: str
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    server.command(sql.format(key=session.key))
    await wait_until(lambda: session.key in ears.keys, seconds=0.1)
    assert await store.load([session.key]) == [None]


async def test_a_touch_is_told_to_nobody(
    store: PostgresStore, other: PostgresStore, clock: Clock
) -> None:
    session, last = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(session)
    await store.create(last)
    ears = await hearing(other)
    await store.touch(touched(session, LIFETIME, now=clock.now + 100))
    await store.delete(last.key)
    await wait_until(lambda: last.key in ears.keys)
    assert session.key not in ears.keys


async def test_emptying_the_table_takes_every_copy_away(
    store: PostgresStore, server: PostgresServer
) -> None:
    ears = await hearing(store)
    server.command("TRUNCATE gateway_sessions")
    await wait_until(lambda: ears.all, seconds=0.2)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DROP TABLE gateway_sessions", id="no table"),
        pytest.param("ALTER TABLE gateway_sessions DISABLE TRIGGER ALL", id="no triggers"),
        pytest.param(
            "BEGIN; CREATE TABLE copy (LIKE gateway_sessions); DROP TABLE gateway_sessions;"
            "ALTER TABLE copy RENAME TO gateway_sessions; COMMIT",
            id="another table of this name",
        ),
    ],
)
async def test_where_changes_would_go_unheard_nothing_held_counts(
    store: PostgresStore, server: PostgresServer, sql: str
) -> None:
    ears = await hearing(store)
    server.command(sql)
    await wait_until(lambda: not ears.trusted, seconds=3.0, what="it is noticed")


async def test_a_killed_connection_is_noticed_at_once_and_made_anew(
    store: PostgresStore, other: PostgresStore, server: PostgresServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(other)
    server.command(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'session-gateway'"
    )
    await wait_until(lambda: ears.trust_was_lost, seconds=0.2, what="the loss is noticed")
    await wait_until(lambda: ears.trusted, seconds=1.0, what="changes are heard again")
    assert await store.delete(session.key) is True
    await wait_until(lambda: session.key in ears.keys, seconds=0.1)


async def test_what_was_asked_for_in_the_moment_of_a_cut_is_done_all_the_same(
    store: PostgresStore, server: PostgresServer, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now) for _ in range(8)]
    for session in sessions:
        await store.create(session)
    for session in sessions:
        cut = asyncio.to_thread(
            server.command,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'session-gateway'",
        )
        cutting = asyncio.ensure_future(cut)
        while not cutting.done():
            assert await store.load([session.key]) == [session]
            await store.touch(session)
        await store.delete(session.key)
    assert await store.of_user("ada") == []


# --- away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_sessions_survive_a_restart_and_the_store_recovers_by_itself(
    clock: Clock, how: str
) -> None:
    with PostgresServer() as server:
        store = PostgresStore(server.url, timeout=1.0, wall=clock)
        await survives_a_restart(server, getattr(server, how), store, clock)


async def test_a_restart_between_two_uses_goes_unnoticed(clock: Clock) -> None:
    with PostgresServer() as server:
        store = PostgresStore(server.url, timeout=1.0, wall=clock)
        await does_not_notice_a_restart(server, store, clock)


async def test_a_hanging_server_is_unavailable_within_the_time_limit_and_then_recovers(
    clock: Clock,
) -> None:
    with PostgresServer() as server:
        store = PostgresStore(server.url, timeout=0.2, wall=clock)
        await is_unavailable_while_it_hangs(server, store, clock)


async def test_a_locked_table_is_unavailable_within_the_time_limit(
    server: PostgresServer, clock: Clock
) -> None:
    store = PostgresStore(server.url, timeout=0.2, wall=clock)
    await store.open()
    async with holding(server, "LOCK TABLE gateway_sessions; SELECT 'held'"):
        with pytest.raises(StoreUnavailable):
            await store.load([a_session(now=clock.now).key])
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await wait_until(lambda: server.command(waiting) == "0", what="no statement goes on")
    await wait_until(lambda: loads(store), what="it recovers by itself")
    await store.close()


async def loads(store: PostgresStore) -> bool:
    try:
        await store.ping()
    except StoreUnavailable:
        return False
    return True


async def test_no_server_at_all_is_unavailable_at_the_start() -> None:
    store = PostgresStore(f"postgresql://127.0.0.1:{free_port()}/sessions", timeout=0.5)
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_closed_store_is_unavailable(store: PostgresStore, server: PostgresServer) -> None:
    await hearing(store)
    await store.ping()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()
    connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session-gateway'"
    await wait_until(lambda: server.command(connected) == "0", what="no connection stays")


# --- who may, and how ----------------------------------------------------------------------------


async def test_a_password_is_used_and_never_shown(clock: Clock) -> None:
    with PostgresServer(password="correct-horse") as server:
        store = PostgresStore(server.url, wall=clock)
        await store.open()
        session = a_session(now=clock.now)
        await store.create(session)
        assert await store.load([session.key]) == [session]
        await hearing(store)
        await store.close()
        for wrong in ("gateway:battery-staple@", "ada:battery-staple@", "gateway@"):
            store = PostgresStore(f"postgresql://{wrong}127.0.0.1:{server.port}/postgres")
            with pytest.raises(StoreUnavailable) as caught:
                await store.open()
            assert "battery-staple" not in f"{caught.value} {caught.value.__cause__} {store!r}"
            await store.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    call = [program("openssl", "openssl"), *request.split()]
    call += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(cert), "-keyout", str(key)]
    subprocess.run(call, check=True, capture_output=True)
    return cert, key


async def test_tls_is_spoken_and_the_certificate_is_checked(
    clock: Clock, tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    settings = ("ssl=on", "ssl_cert_file=cert.pem", "ssl_key_file=key.pem")
    with PostgresServer(*settings, files=(cert, key)) as server:
        trusting = PostgresStore(f"{server.url}?sslmode=verify-full&sslrootcert={cert}", wall=clock)
        await trusting.open()
        session = a_session(now=clock.now)
        await trusting.create(session)
        ears = await hearing(trusting)
        assert await trusting.load([session.key]) == [session]
        plain = (
            "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
            " WHERE application_name = 'session-gateway' AND NOT ssl"
        )
        assert server.command(plain) == "0"
        await trusting.delete(session.key)
        assert session.key in ears.keys
        await trusting.close()
        other = tmp_path_factory.mktemp("other") / "cert.pem"
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other"
        call = [program("openssl", "openssl"), *request.split(), "-keyout", "/dev/null"]
        subprocess.run([*call, "-out", str(other)], check=True, capture_output=True)
        doubting = PostgresStore(f"{server.url}?sslmode=verify-full&sslrootcert={other}")
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await doubting.open()
        await doubting.close()


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_keeps_notifications_from_us_is_refused(
    server: PostgresServer, mode: str
) -> None:
    with Pooler(server, mode) as pooler:
        store = PostgresStore(pooler.url)
        with pytest.raises(StoreUnavailable, match="leads to a pooler such as PgBouncer"):
            await store.open()
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://ada:pass/word@127.0.0.1:5432/db", id="an unescaped slash"),
        pytest.param("postgresql://ada:password@127.0.0.1:port/db", id="a port that is none"),
        pytest.param("postgresql://ada:password@127.0.0.1/db?sslmode=maybe", id="a mode of none"),
    ],
)
async def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    store = PostgresStore(url)
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    assert "pass" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    await store.close()


# --- tables --------------------------------------------------------------------------------------


async def test_stores_that_start_at_once_make_the_tables_once(
    server: PostgresServer, clock: Clock
) -> None:
    stores = [PostgresStore(server.url, wall=clock) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    assert server.command("SELECT version FROM gateway_schema") == "1"
    session = a_session(now=clock.now)
    await stores[0].create(session)
    assert await stores[-1].load([session.key]) == [session]
    for store in stores:
        await store.close()


async def test_tables_of_a_newer_gateway_are_refused(
    store: PostgresStore, server: PostgresServer
) -> None:
    server.command("UPDATE gateway_schema SET version = 99")
    older = PostgresStore(server.url)
    with pytest.raises(StoreUnavailable, match="made by a newer gateway: its schema is 99"):
        await older.open()
    await older.close()


async def test_a_role_that_may_only_read_and_write_is_enough_once_the_tables_are_there(
    store: PostgresStore, server: PostgresServer, clock: Clock
) -> None:
    server.command(
        "CREATE ROLE modest LOGIN; GRANT SELECT ON gateway_schema TO modest;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_sessions TO modest"
    )
    modest = PostgresStore(server.url_of("modest"), wall=clock)
    await modest.open()
    session = a_session(now=clock.now)
    await modest.create(session)
    ears = await hearing(modest)
    await store.delete(session.key)
    await wait_until(lambda: session.key in ears.keys)
    await modest.close()
    server.command("DROP OWNED BY modest; DROP ROLE modest")


async def test_a_role_that_may_not_make_tables_is_told_so(server: PostgresServer) -> None:
    server.command("CREATE ROLE modest LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    modest = PostgresStore(server.url_of("modest"))
    with pytest.raises(StoreUnavailable, match="permission denied for schema public"):
        await modest.open()
    await modest.close()
    server.command("DROP ROLE modest")


async def test_a_lookup_needs_no_statistics_to_find_its_index(
    store: PostgresStore, server: PostgresServer, clock: Clock
) -> None:
    """A table that was empty when its connections were made may hold a million an hour later."""
    session = a_session(now=clock.now)
    await store.create(session)
    before = server.command("SELECT seq_scan FROM pg_stat_user_tables")
    server.command(
        "ALTER TABLE gateway_sessions SET (autovacuum_enabled = off);"
        "INSERT INTO gateway_sessions SELECT 'key ' || n, n, 'user ' || n, '', 1, 1e10, 1e10"
        " FROM generate_series(1, 20000) AS n"
    )
    for _ in range(10):
        assert await store.load([session.key]) == [session]
        assert await store.find(session.id) == session
        assert await store.of_user("ada") == [session]
    assert server.command("SELECT seq_scan FROM pg_stat_user_tables") == before
