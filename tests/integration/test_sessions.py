"""Sessions outlive the process, end everywhere at once, and wait for a store that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import AUTH, Visitor
from tests.integration.wire import Answer, Client, Upstream
from tests.servers import RedisServer, free_port, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "${STORE}", secret: "${SECRET}"}
login: {providers: [{id: local, type: users, file: users.yaml}]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
"""

SQLITE = "sqlite:///sessions.db"
SECRET = "for tests only: at least 32 characters"
PASSWORD = "correct horse"
COMMANDS = 15
"""Tries on either store that run a command, which takes half a second to start."""
PROMISED = 0.1
"""Seconds within which every process refuses a session that was revoked."""


def users() -> str:
    hashed = cheap_hash(PASSWORD)
    return f"users:\n  ada: {{password: {hashed!r}, name: Ada, roles: [admin]}}\n"


def gateway_in(folder: Path, store: str, upstream: Upstream) -> GatewayProcess:
    """Return a gateway that is not started; all in one folder share the SQLite file."""
    (folder / "users.yaml").write_text(users(), encoding="utf-8")
    place = folder / f"gateway-{len(list(folder.iterdir()))}"
    place.mkdir()
    (place / "users.yaml").symlink_to(folder / "users.yaml")
    if store == SQLITE:
        store = f"sqlite:///{folder}/sessions.db"
    return GatewayProcess(place, CONFIG, STORE=store, UPSTREAM=upstream.url, SECRET=SECRET)


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def pair(
    request: pytest.FixtureRequest,
    running_upstream: Upstream,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways on one store."""
    store = SQLITE if request.param == "sqlite" else redis.url
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        one = stack.enter_context(gateway_in(folder, store, running_upstream))
        two = stack.enter_context(gateway_in(folder, store, running_upstream))
        yield one, two


def asking(path: str, cookie: str = "") -> str:
    line = f"Cookie: {cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{line}\r\n"


async def ask(gateway: GatewayProcess, path: str, cookie: str = "") -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(asking(path, cookie))


async def signed_in(gateway: GatewayProcess) -> str:
    """Sign in with a form; return the cookie."""
    visitor = Visitor(gateway.port)
    page = await asyncio.to_thread(visitor.sign_in, "ada", PASSWORD)
    assert page.status == 303
    return f"gateway_session={visitor.cookies['gateway_session']}"


# --- restart -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_who_is_signed_in_stays_so_when_the_gateway_is_killed(
    running_upstream: Upstream, redis: RedisServer, tmp_path: Path, kind: str
) -> None:
    store = SQLITE if kind == "sqlite" else redis.url
    with gateway_in(tmp_path, store, running_upstream) as gateway:
        before = gateway.sign_in("ada", roles=["admin"])
        visitor = Visitor(gateway.port)
        assert (await asyncio.to_thread(visitor.sign_in, "ada", PASSWORD)).status == 303
        ended = gateway.sign_in("ended")
        assert (await ask(gateway, "/login/x", before.cookie)).status == 200
        gateway.sessions("revoke", ended.id)
        # At once: what was promised to the visitor by then must be on disk.
        gateway.kill()
        gateway.start()
        assert (await ask(gateway, "/login/x", before.cookie)).status == 200
        assert running_upstream.last.get("X-Session-Id") == before.id
        page = await asyncio.to_thread(visitor.get, "/login/x")
        assert page.status == 200
        assert (await ask(gateway, "/login/x", ended.cookie)).status == 401
        # A form that was open meanwhile can still be sent, since the secret is configured.
        assert (await asyncio.to_thread(visitor.sign_out)).status == 303
        assert (await asyncio.to_thread(visitor.get, "/login/x")).status == 302


# --- revocation ----------------------------------------------------------------------------------


async def refused_after(
    gateways: tuple[GatewayProcess, ...], cookie: str, revoke: Callable[[], Awaitable[float]]
) -> list[float]:
    """Return how long after the moment that ``revoke`` returns each gateway still let it pass.

    Each is asked every millisecond, over a connection that stays open.
    """
    loop = asyncio.get_running_loop()

    async def refused_at(gateway: GatewayProcess) -> float:
        request = asking("/login/x", cookie)
        async with Client(gateway.port) as client:
            assert (await client.ask(request)).status == 200
            ready.append(gateway)
            while (await client.ask(request)).status == 200:
                assert loop.time() < deadline, "it is never refused"
                await asyncio.sleep(0.001)
            return time.monotonic()

    ready: list[GatewayProcess] = []
    deadline = loop.time() + 10
    polls = [asyncio.ensure_future(refused_at(gateway)) for gateway in gateways]
    await wait_until(lambda: len(ready) == len(gateways), what="the session is in every cache")
    revoked_at = await revoke()
    return [await poll - revoked_at for poll in polls]


def assert_prompt(taken: list[float], what: str) -> None:
    ordered = sorted(taken)
    worst = ordered[-1]
    median = ordered[len(ordered) // 2]
    print(f"\n{what}: refused after {median * 1000:.1f} ms (median), {worst * 1000:.1f} ms at most")
    # One try in thirty may meet a moment in which the machine does something else altogether.
    assert ordered[-2] < PROMISED, ordered
    assert worst < 10 * PROMISED, ordered


async def test_a_revoked_session_is_refused_everywhere_within_100_ms(
    pair: tuple[GatewayProcess, GatewayProcess], running_upstream: Upstream
) -> None:
    gateway = pair[0]
    taken: list[float] = []
    for _ in range(COMMANDS):
        cookie = await signed_in(gateway)
        await ask(gateway, "/login/x", cookie)
        session_id = running_upstream.last.get("X-Session-Id") or ""

        async def revoke(session_id: str = session_id) -> float:
            process = await asyncio.create_subprocess_exec(
                *gateway.sessions_command("revoke", session_id),
                stdout=asyncio.subprocess.PIPE,
                env={**gateway.environment, "PYTHONUNBUFFERED": "1"},
            )
            assert process.stdout is not None
            told = await process.stdout.readline()
            at = time.monotonic()
            assert b"revoked" in told
            assert await process.wait() == 0
            return at

        taken += await refused_after(pair, cookie, revoke)
    assert_prompt(taken, "gateway sessions revoke")


async def test_all_sessions_of_a_user_end_everywhere(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    cookies = [await signed_in(pair[n % 2]) for n in range(6)]
    bob = pair[0].sign_in("bob")
    for gateway in pair:
        for cookie in cookies:
            assert (await ask(gateway, "/login/x", cookie)).status == 200
    assert pair[1].sessions("revoke-user", "ada")["revoked"] >= len(cookies)

    async def all_refused() -> bool:
        answers = [await ask(gateway, "/login/x", c) for gateway in pair for c in cookies]
        return {answer.status for answer in answers} == {401}

    await wait_until(all_refused, seconds=1.0)
    assert (await ask(pair[0], "/login/x", bob.cookie)).status == 200


# --- a store that is away ------------------------------------------------------------------------


@pytest.mark.parametrize("hangs", [False, True], ids=["stopped", "hangs"])
async def test_while_redis_is_away_nobody_is_signed_out(
    running_upstream: Upstream, tmp_path: Path, hangs: bool
) -> None:
    with (
        RedisServer() as redis,
        gateway_in(tmp_path, redis.url, running_upstream) as gateway,
    ):
        cookie = await signed_in(gateway)
        form = Visitor(gateway.port)
        token = await asyncio.to_thread(form.form_token)
        for path in ("/login/x", "/optional/x", "/public/x"):
            assert (await ask(gateway, path, cookie)).status == 200

        (redis.pause if hangs else redis.stop)()
        await wait_until(lambda: status_of(gateway, "/login/x", cookie, 503), what="it is noticed")
        running_upstream.forget()
        for path in ("/login/x", "/optional/x"):
            # Not as nobody either: what a page shows must not change because of our fault.
            answer = await ask(gateway, path, cookie)
            assert answer.status == 503
            assert int(answer.get("Retry-After") or 0) > 0
            assert answer.get("Cache-Control") == "no-store"
            assert answer.get("Set-Cookie") is None
            assert answer.get("Content-Type") == "application/problem+json"
        assert running_upstream.requests == []
        assert (await ask(gateway, "/public/x", cookie)).status == 200
        assert (await ask(gateway, "/optional/x")).status == 200  # no cookie: nothing to ask
        assert (await ask(gateway, "/login/x")).status == 401
        page = await asyncio.to_thread(
            form.post,
            f"{AUTH}/signin/local",
            {"csrfToken": token, "username": "ada", "password": PASSWORD},
        )
        assert (page.status, page.headers["Set-Cookie"]) == (503, None)
        ready, reasons = await asyncio.to_thread(gateway.admin, "/readyz")
        assert ready == 503
        assert "store" in reasons
        assert (await asyncio.to_thread(gateway.admin, "/healthz"))[0] == 200

        (redis.resume if hangs else redis.start)()
        await wait_until(
            lambda: status_of(gateway, "/login/x", cookie, 200), what="it recovers by itself"
        )
        assert (await asyncio.to_thread(gateway.admin, "/readyz"))[0] == 200
        assert (await ask(gateway, "/optional/x", cookie)).status == 200
        assert running_upstream.last.get("X-User-Id") == "ada"


async def test_what_was_revoked_while_redis_was_unheard_is_refused_afterwards(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    """A copy in the cache is worth nothing once a change may have been missed."""
    with (
        RedisServer() as redis,
        gateway_in(tmp_path, redis.url, running_upstream) as gateway,
    ):
        cookie = await signed_in(gateway)
        assert (await ask(gateway, "/login/x", cookie)).status == 200
        redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        redis.command("FLUSHALL")
        await wait_until(lambda: status_of(gateway, "/login/x", cookie, 401), seconds=1.0)


async def test_without_redis_it_does_not_start_and_says_why(
    running_upstream: Upstream, tmp_path: Path
) -> None:
    gateway = gateway_in(tmp_path, f"redis://127.0.0.1:{free_port()}/0", running_upstream)
    process = await asyncio.create_subprocess_exec(
        *gateway.run_command(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=gateway.environment,
    )
    async with asyncio.timeout(10):
        _, said = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback" not in said
    assert b"127.0.0.1" in said
    assert said.startswith(b"gateway run: ")
    assert len(said.splitlines()) == 1


async def status_of(gateway: GatewayProcess, path: str, cookie: str, status: int) -> bool:
    return (await ask(gateway, path, cookie)).status == status
