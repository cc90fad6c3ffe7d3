"""Sessions in an app's store: what the app has done counts at the very next request."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config.accepted import Accepted, Kind
from gateway.model import SessionKey
from gateway.rules.adapter_tables import SCHEMAS
from gateway.rules.foreign import OBJECT, Trust
from gateway.sources.opening import Sources
from gateway.sources.protocol import Source
from tests.servers import wait_until

TABLES = """
CREATE TABLE user (id text PRIMARY KEY, name text, email text, image text);
CREATE TABLE session ("sessionToken" text PRIMARY KEY, "userId" text, expires integer);
INSERT INTO user (id) VALUES ('ada');
"""
TOKEN = SessionKey("token")


@pytest.fixture(params=["DELETE", "WAL"])
def app(tmp_path: Path, request: pytest.FixtureRequest) -> sqlite3.Connection:
    """An app's own connection to its file, with either kind of journal."""
    db = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {request.param}")
    db.executescript(TABLES)
    return db


@pytest.fixture
async def source(app: sqlite3.Connection, tmp_path: Path) -> AsyncIterator[Source]:
    sources = Sources(
        cache=True, timeout=1.0, wall=time.time, count=lambda *_: None, opened=lambda _: None
    )
    config = Accepted(
        kind=Kind.DATABASE,
        cookies=("c",),
        paths=OBJECT,
        trust=Trust(provider="next"),
        forward_to=frozenset(),
        store=f"sqlite:///{tmp_path / 'app.db'}",
        tables=SCHEMAS["drizzle"],
    )
    [source] = await sources.open([config])
    await wait_until(lambda: source.heard, what="changes are heard")
    yield source
    await sources.close()
    app.close()


def sign_in(app: sqlite3.Connection) -> None:
    until = int((time.time() + 60) * 1000)
    app.execute("INSERT INTO session VALUES (?, 'ada', ?)", (TOKEN, until))


async def test_what_the_app_has_ended_is_over_though_a_copy_was_there(
    app: sqlite3.Connection, source: Source
) -> None:
    sign_in(app)
    assert await source.get(TOKEN) is not None
    assert source.peek(TOKEN, time.time()) is not None
    app.execute("DELETE FROM session")
    assert source.peek(TOKEN, time.time()) is None
    assert await source.get(TOKEN) is None


async def test_what_the_app_has_begun_is_there_though_it_was_not_a_moment_ago(
    app: sqlite3.Connection, source: Source
) -> None:
    assert await source.get(TOKEN) is None
    sign_in(app)
    assert await source.get(TOKEN) is not None
