"""A real gateway under 500 requests a second, whose store goes away and comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import monotonic, time

from gateway.formats.token import key_of, new_session_id, new_token
from gateway.model import Lifetime, SessionKey, User
from gateway.rules.sessions import born
from gateway.stores.codec import codec_for
from gateway.stores.protocol import SessionStore
from tests.gateway_process import GatewayProcess
from tests.servers import wait_until
from tests.stores.contract import opened
from tests.stores_faults.load import Load, Visitor, echo
from tests.stores_faults.scenario import Scenario
from tests.stores_faults.verdict import judge

RATE = 500.0
USERS = 24
OUTAGE = 3.0
"""Seconds; more than it takes to notice silence."""
LONG = float(os.environ.get("GATEWAY_FAULTS", "0"))
SECRET = "a secret of a test, 32 characters and more"
CODEC = codec_for([SECRET], encrypt=True)

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


async def survive(scenario: Scenario, store: SessionStore, folder: Path) -> None:
    """Lose and regain the store, once or for ``LONG`` seconds; fail the test if users notice.

    Args:
        store: What the scenario is about, with ``CODEC``; not open yet.
        folder: The gateway's.
    """
    until = monotonic() + LONG
    with scenario.running():
        async with opened(store), echo() as upstream:
            with GatewayProcess(folder, CONFIG, STORE=scenario.url, UPSTREAM=upstream) as gateway:
                while True:
                    print(await one_round(scenario, store, gateway))
                    if monotonic() > until:
                        break
                    await scenario.heal()


async def one_round(scenario: Scenario, store: SessionStore, gateway: GatewayProcess) -> str:
    """Lose and regain the store once, under load."""
    signed_in = [await sign_in(store, f"user-{number}") for number in range(USERS)]
    revoked, of_revoked = await sign_in(store, "revoked")
    visitors = [visitor for visitor, _ in signed_in]
    visitors += [revoked, PUBLIC, PUBLIC, PUBLIC, PUBLIC, STRANGER, NAMELESS]
    async with Load(gateway.port, visitors, RATE) as load:
        served = len(visitors) * 4
        await wait_until(lambda: len(load.answers) > served, what="everybody was served")
        await store.delete(of_revoked)
        await scenario.settled()
        await asyncio.sleep(0.2)
        load.answers.clear()
        await asyncio.sleep(0.2)
        lost = monotonic()
        await scenario.lose(f"gateway:session:{signed_in[0][1]}")
        await scenario.regain(OUTAGE)
        back = monotonic()
        await asyncio.sleep(2.5)
    return judge(load.answers, lost=lost, back=back, revoked=revoked)


async def sign_in(store: SessionStore, user: str) -> tuple[Visitor, SessionKey]:
    """Return a visitor with a new session, and its key."""
    token = new_token(os.urandom(32))
    key = key_of(token)
    assert key is not None
    session_id = new_session_id(os.urandom(16))
    await store.create(born(User(id=user), key, session_id, Lifetime(), now=time()))
    return Visitor("/app", f"gateway_session={token}", user), key
