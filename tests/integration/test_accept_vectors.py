"""What the real packages made, through a running gateway, with the stores that they use.

Every vector has a route of its own that accepts nothing but its own source, so that one gateway
has them all.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from gateway.rules.identity import isoformat
from tests.clocked_gateway import ClockedGateway
from tests.formats.foreign_vectors import Vector, load
from tests.integration.wire import Answer, Client, Upstream
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQL = Path(__file__).parent.parent / "stores" / "foreign" / "sql"
BEGINNING = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
upstreams: {app: "${UPSTREAM}"}
"""
UNSENDABLE = (400, 431)
"""A parser of HTTP may refuse the whole request: then nobody is signed in either."""
_HANDLE = re.compile(r"[A-Za-z0-9_-]{22}")

Source = dict[str, Any]


def config(sources: list[Source]) -> str:
    """Return a file that accepts each source on routes of its own."""
    accept = [{"name": f"s{at}", "id_prefix": f"{at:04}:"} | one for at, one in enumerate(sources)]
    routes = [
        {"path": f"/{access}/s{at}/**", "access": access, "accept": [f"s{at}"]}
        for at in range(len(sources))
        for access in ("optional", "login")
    ]
    # JSON is YAML. Nothing is kept in memory, since the tests put other things into the stores.
    session = json.dumps(
        {"store": "memory://", "cache": False, "accept": accept}, ensure_ascii=False
    )
    return f"{BEGINNING}session: {session}\nroutes: {json.dumps(routes)}\n"


def named(vector: Vector) -> str:
    return f"{vector['id']} {vector['title']}".replace(" ", "_")


# --- what it has to say ----------------------------------------------------------------------


def described(vector: Vector) -> tuple[str | None, Mapping[str, Any]]:
    """Return id and description of the user, as ``session.accept`` finds them by itself."""
    expected = vector["expected"]
    if expected.get("claims") is not None:
        claims = expected["claims"]
        return _first(claims, "sub", "email"), claims
    if "user" in expected:
        return _first(expected["user"], "id", "email"), expected["user"]
    session = expected["session"]
    for found in (session.get("user"), (session.get("passport") or {}).get("user")):
        if isinstance(found, dict) and _first(found, "id", "sub", "email") is not None:
            return _first(found, "id", "sub", "email"), found
        if isinstance(found, str | int) and found != "":
            return str(found), {}
    return None, {}


def _first(found: Mapping[str, Any], *names: str) -> str | None:
    values = (found.get(name) for name in names)
    return next((str(value) for value in values if value not in {None, ""}), None)


def asking(path: str, vector: Vector) -> bytes:
    cookie = vector["cookie_header"]
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n".encode()
    if cookie:
        head += b"Cookie: " + cookie.encode("utf-8", "surrogateescape") + b"\r\n"
    return head + b"\r\n"


async def ask(gateway: ClockedGateway, path: str, vector: Vector) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(asking(path, vector))


async def judge(gateway: ClockedGateway, upstream: Upstream, source: int, vector: Vector) -> None:
    """Hold the gateway's answers to what is known of a vector."""
    gateway.at(vector["now"])
    upstream.forget()
    answer = await ask(gateway, f"/optional/s{source}/x", vector)
    if vector["kind"] == "invalid":
        if answer.status not in UNSENDABLE:
            assert answer.status == 200
            assert not {
                n for n in upstream.last.fields.names() if n.startswith(("x-user", "x-sess"))
            }
            assert (await ask(gateway, f"/login/s{source}/x", vector)).status == 401
        return
    assert answer.status == 200
    got = upstream.last
    user_id, user = described(vector)
    assert _HANDLE.fullmatch(got.get("X-Session-Id") or "")
    if user_id is None:
        assert got.get("X-User-Id") is None
        assert got.get("X-Auth-Provider") is None
        assert (await ask(gateway, f"/login/s{source}/x", vector)).status == 401
        return
    assert got.get("X-User-Id") is not None
    assert got.get("X-Auth-Provider") == f"s{source}"
    if user_id.isascii() and user_id.isprintable() and "%" not in user_id:
        assert got.get("X-User-Id") == f"{source:04}:{user_id}"
    assert (got.get("X-User-Name") is None) == (not user.get("name"))
    # Of keys in Redis it is what they had left when they were written that counts.
    if vector["expires"] is not None and not vector["format"].endswith("session-redis"):
        jwt = vector["format"].endswith("-jwt")  # where a fraction of a second counts as all of it
        until = ceil(vector["expires"]) if jwt else vector["expires"]
        assert got.get("X-Session-Expires") == isoformat(until)
    assert (await ask(gateway, f"/login/s{source}/x", vector)).status == 200


# --- sealed in cookies -----------------------------------------------------------------------


def sealed(vector: Vector) -> Source:
    cookie = vector["cookie_name"]
    match vector["format"]:
        case "next-auth-v4-jwt":
            return {"type": "nextauth", "cookie": cookie, "secret": vector["secrets"]}
        case "authjs-v5-jwt":
            return {"type": "authjs", "cookie": cookie, "secret": vector["secrets"]}
        case name:
            passwords = vector["config"]["passwords"]
            version = int(name[-1])
            return {
                "type": "iron-session", "cookie": cookie, "password": passwords, "version": version
            }  # fmt: skip


def configurable(vectors: list[Vector]) -> list[Vector]:
    """Return those whose secrets can be configured: a blank one opens nothing, and is an error."""
    return [one for one in vectors if all(secret.strip() for secret in one["secrets"])]


SEALED = [
    *configurable(load("next-auth-v4-jwt")),
    *configurable(load("authjs-v5-jwt")),
    *load("iron-session-v8"),
    *load("iron-session-v9"),
]


@pytest.fixture(scope="module")
def opening(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClockedGateway]:
    folder = tmp_path_factory.mktemp("sealed")
    text = config([sealed(vector) for vector in SEALED])
    with ClockedGateway(folder, text, 0.0, UPSTREAM=running_upstream.url) as gateway:
        yield gateway


@pytest.mark.parametrize("at", range(len(SEALED)), ids=lambda at: named(SEALED[at]))
async def test_a_sealed_cookie(
    opening: ClockedGateway, running_upstream: Upstream, at: int
) -> None:
    await judge(opening, running_upstream, at, SEALED[at])


# --- in Redis --------------------------------------------------------------------------------


def in_redis(vector: Vector, url: str) -> Source:
    settings = vector["config"]
    cookie = {"cookie": vector["cookie_name"], "store": url}
    match vector["format"]:
        case "express-session-redis":
            prefix = settings["key_prefix"]
            return cookie | {
                "type": "express-session", "secret": vector["secrets"], "prefix": prefix
            }  # fmt: skip
        case "next-session-redis":
            signed = {"secret": vector["secrets"]} if settings["signed"] else {}
            return cookie | {"type": "next-session", "prefix": settings["key_prefix"]} | signed
        case _:
            prefix = settings.get("base_key_prefix", "")
            return cookie | {"type": "nextauth-database", "prefix": prefix}


IN_REDIS = [
    *load("express-session-redis"),
    *load("next-session-redis"),
    *load("next-auth-db-upstash"),
]


@pytest.fixture(scope="module")
def reading_redis(
    running_upstream: Upstream, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ClockedGateway, list[int]]]:
    folder = tmp_path_factory.mktemp("redis")
    sources: list[Source] = []
    places = []
    for vector in IN_REDIS:
        source = in_redis(vector, redis.url)
        if source not in sources:  # each one has connections of its own
            sources.append(source)
        places.append(sources.index(source))
    with ClockedGateway(folder, config(sources), 0.0, UPSTREAM=running_upstream.url) as gateway:
        yield gateway, places


@pytest.mark.parametrize("at", range(len(IN_REDIS)), ids=lambda at: named(IN_REDIS[at]))
async def test_a_session_in_redis(
    reading_redis: tuple[ClockedGateway, list[int]],
    running_upstream: Upstream,
    redis: RedisServer,
    at: int,
) -> None:
    gateway, places = reading_redis
    vector = IN_REDIS[at]
    restore(redis, vector)
    await judge(gateway, running_upstream, places[at], vector)


def restore(server: RedisServer, vector: Vector) -> None:
    """Put there what was there when the vector was made, and nothing else."""
    with Redis(port=server.port) as client:
        client.flushall()
        for entry in vector["store_entries"]:
            if entry["type"] == "redis-hash":
                client.hset(entry["key"], "field", "value")
            else:
                client.set(entry["key"], entry["value"], ex=entry.get("ttl"))


# --- in tables -------------------------------------------------------------------------------


IN_TABLES = load("next-auth-db-sql")
_SCHEMAS = {"pg-adapter": "pg", "drizzle-pg": "drizzle", "prisma-pg": "prisma"}


def in_tables(vector: Vector, postgres: PostgresServer, file: Path) -> Source:
    adapter = vector["config"]["adapter"]
    source: Source = {"type": "nextauth-database", "cookie": vector["cookie_name"]}
    if adapter == "drizzle-sqlite":
        return source | {"store": f"sqlite:///{file}"}
    schema = _SCHEMAS[adapter]
    return source | {"schema": schema, "store": postgres.url_of("gateway", schema)}


@dataclass(frozen=True)
class Tables:
    """A gateway, and the databases that it reads."""

    gateway: ClockedGateway
    postgres: PostgresServer
    file: Path
    places: list[int]

    def restore(self, vector: Vector) -> None:
        """Put there what was there when the vector was made, and nothing else."""
        rows = [
            # The column was added for some of them, and says nothing in any.
            (entry["table"], {name: v for name, v in entry["row"].items() if name != "role"})
            for entry in sorted(vector["store_entries"], key=lambda entry: "userId" in entry["row"])
        ]
        settings = vector["config"]
        tables = [settings["session_table"], settings["user_table"]]
        if settings["adapter"] == "drizzle-sqlite":
            with closing(sqlite3.connect(self.file)) as db, db:
                for table in tables:
                    db.execute(f'DELETE FROM "{table}"')
                for table, row in rows:
                    marks = ", ".join("?" for _ in row)
                    sql = f'INSERT INTO "{table}" ({_names(row)}) VALUES ({marks})'
                    db.execute(sql, list(row.values()))
            return
        statements = [f'TRUNCATE "{tables[0]}", "{tables[1]}" CASCADE']
        statements += [
            f'INSERT INTO "{table}" ({_names(row)}) SELECT {_names(row)}'
            f' FROM json_populate_record(NULL::"{table}", $v${json.dumps(row)}$v$)'
            for table, row in rows
        ]
        self.postgres.command(";".join(statements), database=_SCHEMAS[settings["adapter"]])


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(f'"{name}"' for name in row)


@pytest.fixture(scope="module")
def tables(
    running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tables]:
    folder = tmp_path_factory.mktemp("tables")
    file = folder / "app.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript((SQL / "drizzle-sqlite.sql").read_text())
    with PostgresServer("timezone=Asia/Kathmandu") as postgres:
        for adapter, schema in _SCHEMAS.items():
            postgres.command(f"CREATE DATABASE {schema}")
            postgres.command((SQL / f"{adapter}.sql").read_text(), database=schema)
        sources: list[Source] = []
        places = []
        for vector in IN_TABLES:
            source = in_tables(vector, postgres, file)
            if source not in sources:
                sources.append(source)
            places.append(sources.index(source))
        text = config(sources)
        with ClockedGateway(folder, text, 0.0, UPSTREAM=running_upstream.url) as gateway:
            yield Tables(gateway, postgres, file, places)


@pytest.mark.parametrize("at", range(len(IN_TABLES)), ids=lambda at: named(IN_TABLES[at]))
async def test_a_session_in_a_table(tables: Tables, running_upstream: Upstream, at: int) -> None:
    tables.restore(IN_TABLES[at])
    await judge(tables.gateway, running_upstream, tables.places[at], IN_TABLES[at])


async def test_every_format_has_both_kinds() -> None:
    kinds = {(one["format"], one["kind"]) for one in (*SEALED, *IN_REDIS, *IN_TABLES)}
    assert kinds == {(name, kind) for name, _ in kinds for kind in ("valid", "invalid")}
    assert len(kinds) == 2 * 8
