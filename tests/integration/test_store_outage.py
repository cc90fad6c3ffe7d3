"""What users see while the session store is out: as the routes say, and nobody is signed out."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess, SignedIn
from tests.integration.wire import Answer, Client, Received, Upstream
from tests.servers import RedisServer, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session:
  store: "${STORE}"
  secret: 0123456789abcdef0123456789abcdef
  store_timeout: 1s
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /login/**, access: login}
  - {path: /optional/**, access: optional}
  - {path: /stale/**, access: login, on_store_outage: serve_stale 60s}
  - {path: /brief/**, access: login, on_store_outage: serve_stale 1s}
  - {path: /stale/but/admin, access: login, role: admin, on_store_outage: serve_stale 60s}
  - {path: /optional/stale, access: optional, on_store_outage: serve_stale 60s}
"""

RECOVERY = 2.0
AT_ONCE = 0.25
"""Seconds; nobody waits for a store in them, on a machine that has other things to do."""
UNKNOWN = "gateway_session=" + "A" * 43
"""A cookie that may well be one of ours."""


class Outage:
    """A Redis that goes and comes back: it is killed, or hangs."""

    def __init__(self, server: RedisServer, kind: str) -> None:
        self._server = server
        self.kind = kind
        self._out = False

    def begin(self) -> None:
        self._out = True
        if self.kind == "killed":
            self._server.stop()
        else:
            self._server.pause()

    def end(self) -> None:
        if not self._out:
            return
        self._out = False
        if self.kind == "killed":
            self._server.start()
        else:
            self._server.resume()


@pytest.fixture(scope="module")
def environment(redis: RedisServer) -> dict[str, object]:
    return {"STORE": redis.url}


@pytest.fixture(scope="module")
def ada(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("ada", roles=["reader"])


@pytest.fixture(scope="module")
def grace(running_gateway: GatewayProcess) -> SignedIn:
    return running_gateway.sign_in("grace")


async def tell(request: Received) -> None:
    """Answer with what the upstream was told."""
    told = {name: request.get(name) for name in ("X-User-Id", "X-Session-Id", "X-Session-Stale")}
    body = json.dumps(told).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    await request.peer.send(head + body)


async def ask(gateway: GatewayProcess, path: str, cookie: str = "", *fields: str) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(asking(path, cookie, *fields))


def asking(path: str, cookie: str = "", *fields: str) -> str:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *(fields or ["Sec-Fetch-Mode: navigate"])]
    lines += [f"Cookie: {cookie}"] if cookie else []
    return "\r\n".join(lines) + "\r\n\r\n"


async def timed(gateway: GatewayProcess, path: str, cookie: str = "") -> tuple[int, float]:
    began = time.monotonic()
    answer = await ask(gateway, path, cookie)
    return answer.status, time.monotonic() - began


@pytest_asyncio.fixture(loop_scope="module", params=["killed", "paused"])
async def outage(
    request: pytest.FixtureRequest,
    redis: RedisServer,
    gateway: GatewayProcess,
    upstream: Upstream,
    ada: SignedIn,
) -> AsyncIterator[Outage]:
    """What may begin while all is well and the cache knows ada."""
    upstream.handler = tell
    await well(gateway, ada)
    outage = Outage(redis, request.param)
    yield outage
    outage.end()
    await well(gateway, ada)


async def well(gateway: GatewayProcess, session: SignedIn) -> None:
    """Wait until copies are kept again."""

    async def kept() -> bool:
        before = hits(gateway)
        statuses = [(await ask(gateway, "/login/well", session.cookie)).status for _ in range(3)]
        return statuses == [200] * 3 and hits(gateway) >= before + 2

    await wait_until(kept, seconds=10.0, what="the store is back, and copies are kept")


def hits(gateway: GatewayProcess) -> int:
    lines = gateway.admin("/metrics")[1].splitlines()
    [line] = [x for x in lines if x.startswith("gateway_sessions_cache_hits_total ")]
    return int(float(line.split()[1]))


async def noticed(gateway: GatewayProcess, outage: Outage) -> None:
    """Let the outage begin, and wait until the gateway knows."""
    before = len(gateway.log("changes_not_heard"))
    outage.begin()
    await wait_until(
        lambda: len(gateway.log("changes_not_heard")) > before,
        seconds=6.0,
        what="the gateway hears of changes no more",
    )


# --- reject --------------------------------------------------------------------------------------


async def test_rejected_means_503_that_says_so_and_the_cookie_is_kept(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    await noticed(gateway, outage)
    page = await ask(gateway, "/login/page", ada.cookie)
    assert page.status == 503
    assert page.get("Retry-After") is not None
    assert page.get("Cache-Control") == "no-store"
    assert page.fields.all("Set-Cookie") == []
    assert b"no need to sign in again" in page.body
    api = await ask(gateway, "/login/api", ada.cookie, "Sec-Fetch-Mode: cors")
    assert api.status == 503
    assert api.get("Content-Type") == "application/problem+json"
    assert json.loads(api.body)["title"] == "Your sign-in cannot be checked now"
    request_id = json.loads(api.body)["request_id"]
    await wait_until(lambda: gateway.requests(request_id=request_id), what="it is logged")
    [line] = gateway.requests(request_id=request_id)
    assert (line["status"], line["reason"]) == (503, "store_unavailable")
    outage.end()
    await wait_until(
        lambda: passes(gateway, "/login/page", ada.cookie), seconds=RECOVERY, what="it is back"
    )


async def passes(gateway: GatewayProcess, path: str, cookie: str) -> bool:
    answer = await ask(gateway, path, cookie)
    assert answer.status in (200, 503), answer.start  # and never a sign-in page
    return answer.status == 200


async def test_public_routes_never_notice_and_optional_ones_only_with_a_cookie_of_ours(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    await noticed(gateway, outage)
    for path, cookie, status in [
        ("/public/x", "", 200),
        ("/public/x", ada.cookie, 200),
        ("/optional/x", "", 200),
        ("/optional/x", "theirs=1", 200),
        ("/optional/x", "gateway_session=garbage", 200),
        ("/optional/x", UNKNOWN, 503),
        ("/optional/x", ada.cookie, 503),
        ("/login/x", "", 302),
        ("/nowhere", ada.cookie, 403),
    ]:
        answer = await ask(gateway, path, cookie)
        assert answer.status == status, (path, cookie)
        if status == 200:
            assert json.loads(answer.body)["X-User-Id"] is None


# --- serve_stale ---------------------------------------------------------------------------------


async def test_stale_sessions_pass_where_the_route_says_so_and_the_upstream_and_the_log_are_told(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    fresh = json.loads((await ask(gateway, "/stale/fresh", ada.cookie)).body)
    assert fresh == {"X-User-Id": "ada", "X-Session-Id": ada.id, "X-Session-Stale": None}
    await noticed(gateway, outage)
    for path in ("/stale/told", "/optional/stale"):
        answer = await ask(gateway, path, ada.cookie, "X-Session-Stale: 0")
        assert answer.status == 200
        assert json.loads(answer.body) == fresh | {"X-Session-Stale": "1"}
    assert (await ask(gateway, "/login/told", ada.cookie)).status == 503
    await wait_until(lambda: gateway.requests(path="/stale/told"))
    assert gateway.requests(path="/stale/told")[-1]["stale"] is True
    assert "stale" not in gateway.requests(path="/stale/fresh")[-1]
    outage.end()
    await well(gateway, ada)
    assert json.loads((await ask(gateway, "/stale/again", ada.cookie)).body) == fresh


async def test_the_rules_hold_for_stale_sessions(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    await noticed(gateway, outage)
    assert (await ask(gateway, "/stale/but/admin", ada.cookie)).status == 403


async def test_what_is_not_known_for_sure_to_have_been_true_does_not_pass(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    revoked = await asyncio.to_thread(gateway.sign_in, "gone")
    unseen = await asyncio.to_thread(gateway.sign_in, "unseen")
    assert (await ask(gateway, "/stale/x", revoked.cookie)).status == 200
    await asyncio.to_thread(gateway.sessions, "revoke", revoked.id)
    await noticed(gateway, outage)
    for cookie in (revoked.cookie, unseen.cookie, UNKNOWN):
        assert (await ask(gateway, "/stale/x", cookie)).status == 503
    assert (await ask(gateway, "/stale/x", ada.cookie)).status == 200


async def test_stale_sessions_pass_no_longer_than_the_route_says(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn
) -> None:
    await noticed(gateway, outage)
    await wait_until(lambda: refused(gateway, "/brief/x", ada.cookie), seconds=4.0)
    assert (await ask(gateway, "/stale/x", ada.cookie)).status == 200


async def refused(gateway: GatewayProcess, path: str, cookie: str) -> bool:
    return (await ask(gateway, path, cookie)).status == 503


# --- how long it takes ---------------------------------------------------------------------------


async def test_a_store_that_hangs_holds_nobody_but_the_first(
    redis: RedisServer, gateway: GatewayProcess, upstream: Upstream, ada: SignedIn
) -> None:
    upstream.handler = tell
    await well(gateway, ada)
    redis.pause()
    try:
        first = await asyncio.gather(*(timed(gateway, "/login/slow", UNKNOWN) for _ in range(20)))
        assert {status for status, _ in first} == {503}
        assert max(seconds for _, seconds in first) < 1.0 + AT_ONCE
        await wait_until(lambda: gateway.log("store_lost"), what="the breaker opens")
        later = [await timed(gateway, "/login/slow", UNKNOWN) for _ in range(50)]
        assert {status for status, _ in later} == {503}
        slow = sorted(seconds for _, seconds in later)
        assert slow[-3] < AT_ONCE, slow  # but for a hiccup of the machine
    finally:
        redis.resume()
    assert await wait_until(
        lambda: passes(gateway, "/login/x", ada.cookie), seconds=RECOVERY, what="it is back"
    )


async def test_under_load_only_what_needs_the_store_is_refused_and_all_are_back_soon(
    outage: Outage, gateway: GatewayProcess, ada: SignedIn, grace: SignedIn
) -> None:
    seen: dict[str, Counter[int]] = {path: Counter() for path in ("public", "login", "stale")}
    slow: list[tuple[str, float]] = []
    wrong: list[object] = []
    enough = asyncio.Event()

    async def user(path: str, session: SignedIn, who: str) -> None:
        async with Client(gateway.port) as client:
            while not enough.is_set():
                began = time.monotonic()
                answer = await client.ask(asking(f"/{path}/load", session.cookie))
                seconds = time.monotonic() - began
                seen[path][answer.status] += 1
                if seconds > AT_ONCE:
                    slow.append((path, seconds))
                if answer.status == 200 and path != "public":
                    said = json.loads(answer.body)["X-User-Id"]
                    if said != who:
                        wrong.append(said)
                await asyncio.sleep(0.02)  # as people do who are many: some 500 a second

    assert (await ask(gateway, "/stale/x", grace.cookie)).status == 200
    users = [
        asyncio.create_task(user(path, session, who))
        for path in seen
        for session, who in ((ada, "ada"), (grace, "grace"))
        for _ in range(2)
    ]
    try:
        await noticed(gateway, outage)
        refused_before = seen["login"][503]
        await wait_until(lambda: seen["login"][503] > refused_before + 100, seconds=10.0)
        outage.end()
        back = await wait_until(
            lambda: passes(gateway, "/login/back", ada.cookie), seconds=RECOVERY, what="it is back"
        )
        await wait_until(lambda: passes(gateway, "/login/back", grace.cookie), seconds=RECOVERY)
        await wait_until(lambda: seen["login"][200], seconds=RECOVERY, what="the load passes")
    finally:
        enough.set()
        await asyncio.gather(*users)
    assert back < RECOVERY
    assert wrong == []
    assert set(seen["public"]) == {200}
    assert set(seen["stale"]) == {200}
    assert set(seen["login"]) == {200, 503}
    assert all(seconds < 1.0 + 2 * AT_ONCE for _, seconds in slow), slow
    assert [path for path, _ in slow].count("public") <= 2, slow


async def test_a_dead_cookie_does_not_cost_a_command_each_time(
    gateway: GatewayProcess, redis: RedisServer, upstream: Upstream, ada: SignedIn
) -> None:
    upstream.handler = tell
    await well(gateway, ada)
    before = reads(redis)
    began = time.monotonic()
    async with Client(gateway.port) as client:
        for _ in range(200):
            assert (await client.ask(asking("/login/dead", UNKNOWN))).status == 302
    assert reads(redis) - before <= 2 + (time.monotonic() - began)


def reads(redis: RedisServer) -> int:
    """Return how many commands that read have come."""
    lines = redis.command("INFO", "commandstats").splitlines()
    return sum(
        int(line.split("calls=")[1].split(",")[0])
        for line in lines
        if line.startswith(("cmdstat_get:", "cmdstat_mget:", "cmdstat_getex:"))
    )
