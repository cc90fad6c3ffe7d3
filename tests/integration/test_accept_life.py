"""How long sessions of other frameworks live: who moves their end, and what an outage does."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clocked_gateway import ClockedGateway
from tests.integration.accepting import (
    NEXT_COOKIE,
    NEXT_SECRET,
    SHOP_SECRET,
    Shop,
    next_cookie,
)
from tests.integration.wire import Answer, Client, Received, Upstream, answering
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQL = Path(__file__).parent.parent / "stores" / "foreign" / "sql" / "drizzle-sqlite.sql"
DATABASE_COOKIE = "authjs.session-token"
DAY = 86400
CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session:
  store: "sqlite:///sessions.db"
  store_timeout: 500ms
  accept:
    - {name: next, type: nextauth, secret: "${NEXT_SECRET}", id_prefix: "n:", touch: gateway}
    - {name: shop, type: express-session, secret: "${SHOP_SECRET}", store: "${REDIS}",
       id_prefix: "s:", touch: gateway}
    - {name: kept, type: express-session, cookie: kept.sid, secret: "${SHOP_SECRET}",
       store: "${REDIS}", id_prefix: "k:"}
    - {name: rows, type: nextauth-database, cookie: authjs.session-token,
       store: "sqlite:///app.db", id_prefix: "r:", touch: gateway}
upstreams: {app: "${UPSTREAM}", other: "${OTHER}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /app/**, access: login}
  - {path: /other/**, access: login, upstream: other}
  - {path: /stale/**, access: login, on_store_outage: serve_stale 60s}
  - {path: /public/**, access: public}
"""


@pytest.fixture(scope="module")
def running_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(running_redis: RedisServer) -> Iterator[RedisServer]:
    yield running_redis
    running_redis.resume()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def other() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def running_gateway(
    running_upstream: Upstream,
    other: Upstream,
    running_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClockedGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    with closing(sqlite3.connect(folder / "app.db")) as db:
        db.executescript(SQL.read_text())
    environment = {
        "UPSTREAM": running_upstream.url,
        "OTHER": other.url,
        "REDIS": running_redis.url,
        "NEXT_SECRET": NEXT_SECRET,
        "SHOP_SECRET": SHOP_SECRET,
    }
    with ClockedGateway(folder, CONFIG, time.time(), **environment) as gateway:
        yield gateway


@pytest.fixture
def clocked(running_gateway: ClockedGateway) -> ClockedGateway:
    """The module's gateway, whose clock is right."""
    running_gateway.at(time.time())
    return running_gateway


@pytest.fixture
def shop(redis: RedisServer) -> Iterator[Shop]:
    shop = Shop(redis.port)
    yield shop
    redis.resume()
    shop.redis.close()


async def ask(gateway: ClockedGateway, path: str, cookie: str) -> Answer:
    async with Client(gateway.port) as client:
        fields = f"Host: localhost\r\nAccept: application/json\r\nCookie: {cookie}"
        return await client.ask(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n")


# --- who moves the end -----------------------------------------------------------------------


async def test_a_session_in_redis_lives_on_where_the_gateway_touches(
    clocked: ClockedGateway, shop: Shop
) -> None:
    cookie = shop.sign_in(life=1000, left=500, user={"id": 1})
    assert (await ask(clocked, "/app/x", cookie)).status == 200
    await wait_until(lambda: shop.redis.ttl(shop.key) > 990, what="its life is longer")


async def test_it_does_not_where_the_app_alone_does(clocked: ClockedGateway, shop: Shop) -> None:
    kept = shop.sign_in(life=1000, left=500, user={"id": 1}).replace("connect.sid", "kept.sid")
    assert (await ask(clocked, "/app/x", kept)).status == 200
    key = shop.key
    # Once this one has been moved, that one would have been as well.
    cookie = shop.sign_in(life=1000, left=500, user={"id": 1})
    assert (await ask(clocked, "/app/x", cookie)).status == 200
    await wait_until(lambda: shop.redis.ttl(shop.key) > 990, what="its life is longer")
    assert int(str(shop.redis.ttl(key))) <= 500


async def test_a_sealed_cookie_is_renewed_where_its_app_does_not_see_the_request(
    clocked: ClockedGateway, upstream: Upstream, other: Upstream
) -> None:
    cookie = next_cookie(sub="1", name="Ada", age=400.0)
    assert (await ask(clocked, "/app/x", cookie)).fields.all("Set-Cookie") == []
    answer = await ask(clocked, "/other/x", cookie)
    [line] = answer.fields.all("Set-Cookie")
    new, *attributes = line.split("; ")
    assert new.startswith(f"{NEXT_COOKIE}=")
    assert new != cookie
    assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    upstream.forget()
    again = await ask(clocked, "/app/x", new)
    assert again.status == 200
    assert upstream.last.get("X-User-Id") == "n:1"
    assert upstream.last.get("X-User-Name") == "Ada"
    # Not again for the new one, nor at once for those who still have the old one.
    for each in (new, cookie):
        assert (await ask(clocked, "/other/x", each)).fields.all("Set-Cookie") == []


async def test_a_fresh_sealed_cookie_stays(clocked: ClockedGateway) -> None:
    answer = await ask(clocked, "/other/x", next_cookie(sub="1", age=200.0))
    assert answer.status == 200
    assert answer.fields.all("Set-Cookie") == []


def signed_in_row(gateway: ClockedGateway, token: str, expires: float) -> str:
    with closing(sqlite3.connect(gateway.folder / "app.db")) as db, db:
        db.execute(
            'INSERT INTO "user" (id, name, email) VALUES (?, ?, ?)', (token, "Ada", f"{token}@x")
        )
        db.execute(
            'INSERT INTO "session" ("sessionToken", "userId", expires) VALUES (?, ?, ?)',
            (token, token, int(expires * 1000)),
        )
    return f"{DATABASE_COOKIE}={token}"


def expires_of(gateway: ClockedGateway, token: str) -> float:
    with closing(sqlite3.connect(gateway.folder / "app.db")) as db:
        sql = 'SELECT expires FROM "session" WHERE "sessionToken" = ?'
        milliseconds: int = db.execute(sql, (token,)).fetchone()[0]
    return milliseconds / 1000


async def test_a_session_in_a_table_moves_by_the_rule_of_its_framework(
    clocked: ClockedGateway,
) -> None:
    now = time.time()
    due = signed_in_row(clocked, "due", now + 28.5 * DAY)  # moved a day and a half ago
    fresh = signed_in_row(clocked, "fresh", now + 29.5 * DAY)
    assert (await ask(clocked, "/other/x", fresh)).fields.all("Set-Cookie") == []
    # The browser is to keep its cookie as long as the table keeps the session.
    [line] = (await ask(clocked, "/other/x", due)).fields.all("Set-Cookie")
    assert line.startswith(f"{due}; Path=/; Expires=")
    await wait_until(lambda: expires_of(clocked, "due") > now + 29.9 * DAY, what="it is moved")
    assert expires_of(clocked, "fresh") < now + 29.6 * DAY


async def test_a_row_that_goes_ends_the_session(clocked: ClockedGateway) -> None:
    cookie = signed_in_row(clocked, "gone", time.time() + 20 * DAY)
    assert (await ask(clocked, "/app/x", cookie)).status == 200
    with closing(sqlite3.connect(clocked.folder / "app.db")) as db, db:
        db.execute('DELETE FROM "session" WHERE "sessionToken" = \'gone\'')

    async def nobody() -> bool:
        return (await ask(clocked, "/app/x", cookie)).status == 401

    await wait_until(nobody, seconds=1.0)


async def test_a_stream_ends_when_the_cookie_that_opened_it_does(
    clocked: ClockedGateway, upstream: Upstream
) -> None:
    async def going_on(request: Received) -> None:
        await request.peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await request.peer.until_closed()

    upstream.handler = going_on
    cookie = next_cookie(sub="1", max_age=3600.0)
    async with Client(clocked.port) as client:
        fields = f"Host: localhost\r\nCookie: {cookie}"
        await client.send(f"GET /app/x HTTP/1.1\r\n{fields}\r\n\r\n")
        assert (await client.head()).start.startswith("HTTP/1.1 200")
        assert await client.read(6) == b"1\r\na\r\n"
        clocked.at(time.time() + 3700)
        async with asyncio.timeout(2.0):
            assert await client.ended() == b""
    upstream.handler = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await ask(clocked, "/app/x", cookie)).status == 401


# --- when a store is away --------------------------------------------------------------------


async def test_an_apps_store_that_is_away_signs_nobody_in_and_nobody_out(
    clocked: ClockedGateway, redis: RedisServer, shop: Shop
) -> None:
    known, unknown = shop.sign_in(user={"id": 1}), shop.sign_in(user={"id": 2})
    own = (await asyncio.to_thread(clocked.sign_in, "own")).cookie
    assert (await ask(clocked, "/stale/x", known)).status == 200
    redis.pause()
    for path, cookie, status in (
        ("/app/x", unknown, 503),
        ("/stale/x", unknown, 503),
        ("/app/x", next_cookie(sub="1"), 200),
        ("/app/x", own, 200),
        ("/public/x", unknown, 200),
    ):
        answer = await ask(clocked, path, cookie)
        assert (path, answer.status) == (path, status)
        assert answer.fields.all("Set-Cookie") == []
    await wait_until(lambda: _stale(clocked, known), what="what was true lately is served")
    status, said = await asyncio.to_thread(clocked.admin, "/readyz")
    assert status == 503
    assert "sessions of shop" in said
    redis.resume()

    async def back() -> bool:
        return (await ask(clocked, "/app/x", unknown)).status == 200

    await wait_until(back, what="it answers again")


async def _stale(gateway: ClockedGateway, cookie: str) -> bool:
    return (await ask(gateway, "/stale/x", cookie)).status == 200
