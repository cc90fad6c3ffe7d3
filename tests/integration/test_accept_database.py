"""The database strategy of NextAuth on PostgreSQL, in tables that an app has named itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Answer, Client, Upstream
from tests.servers import PostgresServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

TABLES = """\
CREATE TABLE accounts (uid uuid PRIMARY KEY DEFAULT gen_random_uuid(), full_name text, mail text,
    avatar text, rights text[]);
CREATE TABLE "Login" (secret text PRIMARY KEY, owner uuid REFERENCES accounts,
    "until" timestamp(3));
CREATE ROLE reader LOGIN;
GRANT SELECT ON accounts, "Login" TO reader;
"""
CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session:
  store: "sqlite:///sessions.db"
  accept:
    - type: nextauth-database
      store: ${STORE}
      schema: prisma
      tables: {session: Login, user: accounts}
      columns: {session_token: secret, user_id: owner, expires: until, id: uid, name: full_name,
                email: mail, image: avatar}
      roles: user.rights
      allowed_roles: [reader]
upstreams: {app: "${UPSTREAM}"}
routes: [{path: /login/**, access: login}, {path: /reader/**, access: login, role: reader}]
"""
COOKIES = ("next-auth.session-token", "__Secure-authjs.session-token")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer("timezone=Asia/Kathmandu") as server:
        server.command(TABLES)
        yield server


@pytest.fixture(scope="module")
def environment(postgres: PostgresServer) -> dict[str, object]:
    return {"STORE": postgres.url_of("reader")}


async def ask(gateway: GatewayProcess, path: str, cookie: str) -> Answer:
    async with Client(gateway.port) as client:
        fields = f"Host: localhost\r\nAccept: application/json\r\nCookie: {cookie}"
        return await client.ask(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n")


def signed_in(postgres: PostgresServer, token: str, rights: str, life: str = "1 day") -> str:
    """Keep a session as an app does, and return the id of its user."""
    return postgres.command(
        "WITH made AS (INSERT INTO accounts (full_name, mail, avatar, rights)"
        f" VALUES ('Ada', '{token}@x', 'https://a/b', '{rights}') RETURNING uid)"
        f" INSERT INTO \"Login\" SELECT '{token}', uid, now() AT TIME ZONE 'UTC'"
        f" + interval '{life}' FROM made RETURNING owner"
    )


@pytest.mark.parametrize("cookie", COOKIES)
async def test_a_row_says_who_somebody_is(
    gateway: GatewayProcess, upstream: Upstream, postgres: PostgresServer, cookie: str
) -> None:
    user_id = signed_in(postgres, cookie, "{admin,reader}")
    assert (await ask(gateway, "/reader/x", f"{cookie}={cookie}")).status == 200
    told = upstream.last
    assert told.get("X-User-Id") == user_id
    assert told.get("X-User-Name") == "Ada"
    assert told.get("X-User-Email") == f"{cookie}@x"
    assert told.get("X-User-Image") == "https://a/b"
    assert told.get("X-User-Roles") == "reader"
    assert told.get("X-Auth-Provider") == "nextauth-database"
    assert told.get("Cookie") == f"{cookie}={cookie}"


async def test_who_has_no_role_or_no_row_or_no_time_left_is_refused(
    gateway: GatewayProcess, postgres: PostgresServer
) -> None:
    signed_in(postgres, "none", "{}")
    signed_in(postgres, "over", "{reader}", "-1 second")
    statuses = {
        token: (await ask(gateway, "/reader/x", f"{COOKIES[0]}={token}")).status
        for token in ("none", "over", "never-was")
    }
    assert statuses == {"none": 403, "over": 401, "never-was": 401}


async def test_signing_out_in_the_app_counts_at_the_next_request(
    gateway: GatewayProcess, postgres: PostgresServer
) -> None:
    signed_in(postgres, "soon", "{reader}")
    assert (await ask(gateway, "/login/x", f"{COOKIES[0]}=soon")).status == 200
    postgres.command("DELETE FROM \"Login\" WHERE secret = 'soon'")
    assert (await ask(gateway, "/login/x", f"{COOKIES[0]}=soon")).status == 401


async def test_a_stream_ends_with_its_row(
    gateway: GatewayProcess, upstream: Upstream, postgres: PostgresServer
) -> None:
    signed_in(postgres, "streams", "{reader}")

    async def going_on(request: object) -> None:
        peer = upstream.last.peer
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.until_closed()

    upstream.handler = going_on
    async with Client(gateway.port) as client:
        fields = f"Host: localhost\r\nCookie: {COOKIES[0]}=streams"
        await client.send(f"GET /login/x HTTP/1.1\r\n{fields}\r\n\r\n")
        assert (await client.head()).start.startswith("HTTP/1.1 200")
        assert await client.read(6) == b"1\r\na\r\n"
        postgres.command("DELETE FROM \"Login\" WHERE secret = 'streams'")
        # Nobody tells of it: every half second somebody asks.
        assert await client.ended() == b""
    await wait_until(lambda: gateway.log("broken off"), what="it is logged")
