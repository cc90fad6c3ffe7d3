"""PostgreSQL goes away under 500 requests a second through a real gateway: nobody is signed out,
nobody is taken for somebody else, what is public does not notice, and soon after all is well again.

``make faults`` lets each of these happen again and again for ``GATEWAY_FAULTS`` seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic, time

import pytest

from gateway.formats.token import key_of, new_session_id, new_token
from gateway.model import Lifetime, Session, User
from gateway.rules.sessions import born
from gateway.stores.codec import codec_for
from gateway.stores.postgres import PostgresStore
from tests.gateway_process import GatewayProcess
from tests.servers import PostgresServer, wait_until
from tests.stores_faults.load import Load, Visitor, echo
from tests.stores_faults.verdict import judge

LONG = float(os.environ.get("GATEWAY_FAULTS", "0"))
RATE = 500.0
USERS = 24
OUTAGE = 3.0
"""Seconds; more than it takes to notice silence."""
SECRET = "a secret of a test, 32 characters and more"

CONFIG = f"""
version: 1
server:
  listen: 127.0.0.1:${{PORT}}
  public_url: http://localhost:${{PORT}}
  workers: 2
  request_log: false
session: {{store: "${{STORE}}", secret: "{SECRET}", store_timeout: 1s}}
upstreams: {{app: "http://127.0.0.1:${{UPSTREAM}}"}}
routes:
  - {{path: /app, access: login}}
  - {{path: /public, access: public}}
"""

PUBLIC = Visitor("/public", may_be_out=False)
STRANGER = Visitor("/app", f"gateway_session={new_token(bytes(32))}", "stranger")
NAMELESS = Visitor("/app", "", "stranger", may_be_out=False)

Outage = Callable[[PostgresServer], None]


def cut(server: PostgresServer) -> None:
    server.command(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'session-gateway'"
    )


@pytest.mark.parametrize(
    ("lose", "seconds", "regain"),
    [
        pytest.param(PostgresServer.kill, OUTAGE, PostgresServer.start, id="killed"),
        pytest.param(PostgresServer.pause, OUTAGE, PostgresServer.resume, id="paused"),
        pytest.param(PostgresServer.stop, 0.0, PostgresServer.start, id="restarted"),
        pytest.param(cut, 0.0, PostgresServer.resume, id="every connection cut"),
    ],
)
async def test_postgresql_goes_and_comes_back(
    lose: Outage, seconds: float, regain: Outage, tmp_path: Path
) -> None:
    until = monotonic() + LONG
    with PostgresServer() as server:
        store = PostgresStore(server.url, codec=codec_for([SECRET], encrypt=True))
        await store.open()
        async with echo() as upstream:
            with GatewayProcess(tmp_path, CONFIG, STORE=server.url, UPSTREAM=upstream) as gateway:
                while True:

                    async def outage() -> float:
                        await asyncio.to_thread(lose, server)
                        await asyncio.sleep(seconds)
                        await asyncio.to_thread(regain, server)
                        return monotonic()

                    print(await one_round(outage, store, gateway))
                    if monotonic() > until:
                        break
        await store.close()


async def one_round(
    outage: Callable[[], Coroutine[None, None, float]],
    store: PostgresStore,
    gateway: GatewayProcess,
) -> str:
    """Lose and regain the store once, under load."""
    signed_in = [await sign_in(store, f"user-{number}") for number in range(USERS)]
    revoked, session = await sign_in(store, "revoked")
    visitors = [visitor for visitor, _ in signed_in]
    visitors += [revoked, PUBLIC, PUBLIC, PUBLIC, PUBLIC, STRANGER, NAMELESS]
    async with Load(gateway.port, visitors, RATE) as load:
        served = len(visitors) * 4
        await wait_until(lambda: len(load.answers) > served, what="everybody was served")
        await store.delete(session.key)
        await asyncio.sleep(0.2)
        load.answers.clear()
        await asyncio.sleep(0.2)
        lost = monotonic()
        back = await outage()
        await asyncio.sleep(2.5)
    return judge(load.answers, lost=lost, back=back, revoked=revoked)


async def sign_in(store: PostgresStore, user: str) -> tuple[Visitor, Session]:
    """Return a visitor with a new session, and the session."""
    token = new_token(os.urandom(32))
    key = key_of(token)
    assert key is not None
    session = born(User(id=user), key, new_session_id(os.urandom(16)), Lifetime(), now=time())
    await store.create(session)
    return Visitor("/app", f"gateway_session={token}", user), session
