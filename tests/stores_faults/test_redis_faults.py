"""Redis goes away under 500 requests a second through a real gateway: nobody is signed out, nobody
is taken for somebody else, what is public does not notice, and soon after all is well again.

``make faults`` lets each scenario happen again and again for a while (``GATEWAY_FAULTS`` seconds).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, time

import pytest

from gateway.formats.token import key_of, new_session_id, new_token
from gateway.model import Lifetime, SessionKey, User
from gateway.rules.sessions import born
from gateway.stores.codec import codec_for
from gateway.stores.redis import RedisStore
from tests.gateway_process import GatewayProcess
from tests.servers import wait_until
from tests.stores_faults.load import Load, Visitor, echo
from tests.stores_faults.redis_scenarios import Alone, Cluster, Scenario, Sentinels
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


async def sign_in(store: RedisStore, user: str) -> tuple[Visitor, SessionKey]:
    """Return a visitor with a new session, and its key."""
    token = new_token(os.urandom(32))
    key = key_of(token)
    assert key is not None
    session_id = new_session_id(os.urandom(16))
    await store.create(born(User(id=user), key, session_id, Lifetime(), now=time()))
    return Visitor("/app", f"gateway_session={token}", user), key


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Alone("killed"), id="killed and started again"),
        pytest.param(lambda: Alone("paused"), id="paused"),
        pytest.param(lambda: Sentinels("killed"), id="a primary with Sentinels killed"),
        pytest.param(lambda: Sentinels("paused"), id="a primary with Sentinels paused"),
        pytest.param(lambda: Sentinels("told"), id="a fail-over on demand"),
        pytest.param(lambda: Cluster("killed"), id="a primary of a Cluster killed"),
        pytest.param(lambda: Cluster("paused"), id="a primary of a Cluster paused"),
    ],
)
async def test_redis_goes_and_comes_back(make: Callable[[], Scenario], tmp_path: Path) -> None:
    scenario = make()
    until = monotonic() + LONG
    with scenario.running():
        store = RedisStore(scenario.url, codec=codec_for([SECRET], encrypt=True))
        await store.open()
        async with echo() as upstream:
            with GatewayProcess(tmp_path, CONFIG, STORE=scenario.url, UPSTREAM=upstream) as gateway:
                while True:
                    print(await one_round(scenario, store, gateway))
                    if monotonic() > until:
                        break
                    await scenario.heal()
        await store.close()


async def one_round(scenario: Scenario, store: RedisStore, gateway: GatewayProcess) -> str:
    """Lose and regain Redis once, under load."""
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
