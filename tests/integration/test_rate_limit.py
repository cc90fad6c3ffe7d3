"""How often a route may be asked: by whom, in how many processes, and while Redis is away."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Answer, Client, Upstream
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  trusted_proxies: [127.0.0.1]
session:
  store: ${STORE}
  secret: 0123456789abcdef0123456789abcdef
  store_timeout: 500ms
  anonymous: true
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /free, access: public}
  - {path: /address/**, access: public, rate_limit: {requests: 3, per: 1h}}
  - {path: /user/**, access: login, rate_limit: {requests: 3, per: 1h}}
  - {path: /session/**, access: login, rate_limit: {requests: 3, per: 1h, by: session}}
  - {path: /optional/**, access: optional, rate_limit: {requests: 3, per: 1h}}
  - {path: /visitor/**, access: optional, rate_limit: {requests: 3, per: 1h, by: session}}
  - {path: /soon/**, access: public, rate_limit: {requests: 1, per: 1s}}
"""

REDIS, SQLITE = "redis", "sqlite"


@pytest.fixture(scope="module", params=[SQLITE, REDIS])
def environment(request: pytest.FixtureRequest, redis: RedisServer) -> dict[str, object]:
    return {"STORE": redis.url if request.param == REDIS else "sqlite:///sessions.db"}


async def ask(
    gateway: GatewayProcess,
    path: str,
    *lines: str,
    client: str = "192.0.2.1",
    session: SignedIn | None = None,
) -> Answer:
    head = [f"X-Forwarded-For: {client}", *lines]
    head += [f"Cookie: {session.cookie}"] if session is not None else []
    fields = "".join(f"{line}\r\n" for line in head)
    async with Client(gateway.port) as connection:
        return await connection.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")


async def statuses(
    gateway: GatewayProcess,
    path: str,
    times: int,
    *,
    client: str = "192.0.2.1",
    session: SignedIn | None = None,
) -> list[int]:
    return [(await ask(gateway, path, client=client, session=session)).status for _ in range(times)]


async def test_one_too_many_is_told_when_to_come_again(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    answers = [await ask(gateway, "/address/told", client="198.51.100.1") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert len(upstream.requests) == 3
    refusal = answers[3]
    seconds = int(refusal.get("Retry-After") or "")
    assert 3590 <= seconds <= 3601
    assert refusal.get("RateLimit-Policy") == '"route";q=3;w=3600'
    assert refusal.get("RateLimit") == f'"route";r=0;t={seconds}'
    assert refusal.get("Content-Type") == "application/problem+json"
    assert refusal.get("Cache-Control") == "no-store"
    assert (refusal.get("X-Request-Id") or "").encode() in refusal.body
    page = await ask(gateway, "/address/told", "Accept: text/html", client="198.51.100.1")
    assert (page.status, page.get("Content-Type")) == (429, "text/html; charset=utf-8")
    await wait_until(lambda: len(gateway.requests(reason="rate_limited", route="/address/**")) == 2)


async def test_each_address_has_its_own(gateway: GatewayProcess) -> None:
    assert await statuses(gateway, "/address/a", 4, client="198.51.100.2") == [200, 200, 200, 429]
    assert await statuses(gateway, "/address/b", 1, client="198.51.100.2") == [429]
    assert await statuses(gateway, "/address/a", 1, client="198.51.100.3") == [200]
    assert await statuses(gateway, "/free", 5, client="198.51.100.2") == [200] * 5


async def test_a_household_of_ipv6_has_one(gateway: GatewayProcess) -> None:
    clients = [f"2001:db8:1:2::{number}" for number in range(1, 5)]
    got = [(await ask(gateway, "/address/six", client=client)).status for client in clients]
    assert got == [200, 200, 200, 429]


async def test_a_user_has_one_wherever_they_are(gateway: GatewayProcess) -> None:
    first, second = gateway.sign_in("ada"), gateway.sign_in("ada")
    assert await statuses(gateway, "/user/x", 2, session=first) == [200, 200]
    assert await statuses(gateway, "/user/x", 2, session=second, client="192.0.2.9") == [200, 429]
    assert await statuses(gateway, "/user/x", 1, session=gateway.sign_in("grace")) == [200]


async def test_a_session_has_its_own(gateway: GatewayProcess) -> None:
    first, second = gateway.sign_in("ada"), gateway.sign_in("ada")
    assert await statuses(gateway, "/session/x", 4, session=first) == [200, 200, 200, 429]
    assert await statuses(gateway, "/session/x", 1, session=second) == [200]


async def test_nobody_is_counted_by_address(gateway: GatewayProcess) -> None:
    one = gateway.sign_in("one")
    assert await statuses(gateway, "/optional/x", 4, client="198.51.100.4") == [200, 200, 200, 429]
    assert await statuses(gateway, "/optional/x", 1, client="198.51.100.4", session=one) == [200]


async def test_who_comes_without_a_session_each_time_does_not_escape_by_being_given_one(
    gateway: GatewayProcess,
) -> None:
    answers = [await ask(gateway, "/visitor/x", client="198.51.100.7") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [len(answer.fields.all("Set-Cookie")) for answer in answers] == [1, 1, 1, 0]


async def test_who_may_not_pass_is_not_counted(gateway: GatewayProcess) -> None:
    two = gateway.sign_in("two")
    assert await statuses(gateway, "/user/x", 5) == [401] * 5
    assert await statuses(gateway, "/user/x", 3, session=two) == [200] * 3


async def test_who_waits_may_come_again(gateway: GatewayProcess) -> None:
    assert await statuses(gateway, "/soon/x", 2) == [200, 429]

    async def passes() -> bool:
        return await statuses(gateway, "/soon/x", 1) == [200]

    assert 0.5 < await wait_until(passes, what="a second is over") < 1.5


async def test_many_at_once_get_no_more(gateway: GatewayProcess, upstream: Upstream) -> None:
    answers = await asyncio.gather(
        *(ask(gateway, "/address/many", client="198.51.100.5") for _ in range(40))
    )
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 37
    assert len(upstream.requests) == 3


async def test_the_connection_goes_on_after_a_refusal(gateway: GatewayProcess) -> None:
    request = "GET {} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.6\r\n\r\n"
    async with Client(gateway.port) as client:
        paths = ["/address/x"] * 4 + ["/free"]
        got = [(await client.ask(request.format(path))).status for path in paths]
    assert got == [200, 200, 200, 429, 200]


# --- several processes, and a Redis that fails ---------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def two(
    tmp_path: Path, redis: RedisServer, running_upstream: Upstream
) -> AsyncIterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways with one Redis."""
    redis.command("FLUSHALL")
    with ExitStack() as stack:
        gateways = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            gateways.append(
                stack.enter_context(
                    GatewayProcess(
                        tmp_path / name, CONFIG, UPSTREAM=running_upstream.url, STORE=redis.url
                    )
                )
            )
        yield gateways[0], gateways[1]


async def test_gateways_that_share_a_redis_count_together(
    two: tuple[GatewayProcess, GatewayProcess], redis: RedisServer
) -> None:
    one, other = two
    assert await statuses(one, "/address/x", 2) == [200, 200]
    assert await statuses(other, "/address/x", 2) == [200, 429]
    assert await statuses(one, "/address/x", 1) == [429]
    assert "192.0.2.1" not in redis.command("KEYS", "*")


async def test_while_redis_hangs_nobody_waits_long_and_each_gateway_counts_alone(
    two: tuple[GatewayProcess, GatewayProcess], redis: RedisServer
) -> None:
    one, other = two
    await statuses(one, "/address/x", 3)
    redis.pause()
    try:
        began = time.monotonic()
        assert await statuses(one, "/address/x", 4) == [200, 200, 200, 429]
        assert await statuses(other, "/address/x", 4) == [200, 200, 200, 429]
        # Each gateway asks in vain at most once in `store_timeout`.
        assert time.monotonic() - began < 2 * (0.5 + 0.5)
    finally:
        redis.resume()
    assert "gateway_rate_limit_errors_total 0" not in one.admin("/metrics")[1]
    events = [line["event"] for line in one.log() if line["event"] != "request"]
    assert events.count("rate limits are not shared: Redis does not answer") == 1

    async def shared() -> bool:
        await statuses(one, "/address/y", 1, client="198.51.100.9")
        return bool(one.log("rate limits are shared again"))

    await wait_until(shared, what="counting together again")


async def test_a_reload_keeps_the_counts(
    two: tuple[GatewayProcess, GatewayProcess],
) -> None:
    one, _ = two
    assert await statuses(one, "/address/x", 4) == [200, 200, 200, 429]
    one.rewrite(CONFIG.replace("/free,", "/freed,"))
    one.send_signal(signal.SIGHUP)
    await wait_until(lambda: one.log("reloaded"))
    assert await statuses(one, "/address/x", 1) == [429]
    assert await statuses(one, "/freed", 1) == [200]
