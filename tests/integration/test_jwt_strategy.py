"""``session.strategy: jwt``: sessions in their cookies, with real gateways and browsers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway_process import COMMAND, GatewayProcess, cheap_hash
from tests.integration.browser import AUTH, Page, Visitor
from tests.integration.wire import OK, Client, Received, Upstream, answering
from tests.servers import PostgresServer, RedisServer, wait_for, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse"
OLD, NEW = "an old secret of 32 characters!!", "a new secret of 32 characters!!!"
COOKIE = "gateway_session"
CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  workers: 2
session:
  strategy: jwt
  secret: SECRETS
  MORE
login: {providers: [{id: local, type: users, file: users.yaml}]}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /public/**, access: public}
  - {path: /optional/**, access: optional}
  - {path: /login/**, access: login}
  - {path: /admin/**, access: login, role: admin}
"""
SHORT = "update_age: 1s"
PROMISED = 0.1


def config(*secrets: str, more: str = "") -> str:
    listed = json.dumps(list(secrets) or [NEW])
    return CONFIG.replace("SECRETS", listed).replace("  MORE\n", f"  {more}\n" if more else "")


def users(**roles: list[str]) -> str:
    hashed = cheap_hash(PASSWORD)
    known = {"ada": ["admin", "editor"], "bob": []} | roles
    return json.dumps(
        {"users": {name: {"password": hashed, "roles": given} for name, given in known.items()}}
    )


Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start gateways, which stop at the end of the test."""
    with ExitStack() as stack:

        def start(text: str, **environment: object) -> GatewayProcess:
            folder: Path = tmp_path_factory.mktemp("gateway")
            (folder / "users.yaml").write_text(users())
            gateway = GatewayProcess(folder, text, UPSTREAM=running_upstream.url, **environment)
            stack.enter_context(gateway)
            wait_for(lambda: gateway.log("listening"), what="every worker serves")
            return gateway

        yield start


def signed_in(gateway: GatewayProcess, user: str = "ada") -> Visitor:
    visitor = Visitor(gateway.port)
    page = visitor.sign_in(user, PASSWORD)
    assert page.status == 303, page.text
    return visitor


def at(gateway: GatewayProcess, visitor: Visitor) -> Visitor:
    """Return somebody with the same cookies at another gateway."""
    return Visitor(gateway.port, dict(visitor.cookies))


def given(page: Page) -> list[str]:
    """Return the names of the session's cookies that an answer sets."""
    names = [line.partition("=")[0] for line in page.headers.get_all("Set-Cookie", [])]
    return [name for name in names if name.startswith(COOKIE)]


def cli(gateway: GatewayProcess, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words, "-c", str(gateway.config)],
        check=False,
        capture_output=True,
        env=gateway.environment,
        text=True,
        timeout=30,
    )


async def status(gateway: GatewayProcess, cookie: str, path: str = "/login/x") -> int:
    async with Client(gateway.port) as client:
        return (await client.ask(asking(cookie, path))).status


def asking(cookie: str, path: str = "/login/x") -> str:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nCookie: {cookie}\r\n\r\n"


# --- without a store -------------------------------------------------------------------------


async def test_gateways_that_share_a_secret_and_nothing_else_know_each_others_sessions(
    start: Start, upstream: Upstream
) -> None:
    one, two = start(config()), start(config())
    visitor = await to_thread(signed_in, one)
    for gateway in (one, two):
        for _ in range(4):  # whichever worker answers
            assert (await to_thread(at(gateway, visitor).get, "/login/x")).status == 200
            assert upstream.last.get("X-User-Id") == "ada"
            assert upstream.last.get("X-User-Roles") == "admin,editor"
            assert COOKIE not in (upstream.last.get("Cookie") or "")
    shown = (await to_thread(at(two, visitor).get, f"{AUTH}/session")).json()
    assert shown["user"]["id"] == "ada"
    assert list(one.folder.glob("*.db*")) == []


async def test_signing_out_takes_the_cookie_from_the_browser(start: Start) -> None:
    gateway = start(config())
    visitor = await to_thread(signed_in, gateway)
    assert (await to_thread(visitor.sign_out)).status == 303
    assert COOKIE not in visitor.cookies
    assert (await to_thread(visitor.get, "/login/x")).status == 302


async def test_a_cookie_is_sealed_under_the_new_secret_when_it_is_renewed(start: Start) -> None:
    old, new = start(config(OLD)), start(config(NEW, OLD, more=SHORT))
    only_new = start(config(NEW))
    visitor = await to_thread(signed_in, old)
    at_new = at(new, visitor)
    assert (await to_thread(at(only_new, visitor).get, "/login/x")).status == 302

    async def renewed() -> bool:
        page = await to_thread(at_new.get, "/login/x")
        assert page.status == 200
        return bool(given(page))

    await wait_until(renewed)
    assert (await to_thread(at(only_new, at_new).get, "/login/x")).status == 200


async def test_a_reload_can_take_an_old_secret_out_of_use(start: Start) -> None:
    gateway = start(config(OLD))
    visitor = await to_thread(signed_in, gateway)
    assert (await to_thread(visitor.get, "/login/x")).status == 200
    gateway.rewrite(config(NEW))
    gateway.send_signal(1)
    wait_for(lambda: gateway.log("reloaded"), what="it is reloaded")

    async def refused() -> bool:
        answers = [await to_thread(at(gateway, visitor).get, "/login/x") for _ in range(4)]
        return {page.status for page in answers} == {302}

    await wait_until(refused)


async def test_the_cookie_is_renewed_each_update_age_and_keeps_an_active_user_signed_in(
    start: Start,
) -> None:
    gateway = start(config(more="update_age: 1s\n  idle_timeout: 3s\n  max_age: 8s"))
    began = time.monotonic()
    visitor = await to_thread(signed_in, gateway)
    idle = at(gateway, visitor)
    renewed: list[float] = []

    async def ends() -> bool:
        page = await to_thread(visitor.get, "/login/x")
        if given(page):
            renewed.append(time.monotonic())
        if page.status == 302:
            return True
        assert page.status == 200
        return False

    async def idle_ends() -> bool:
        held = dict(idle.cookies)
        page = await to_thread(idle.get, "/login/x")
        idle.cookies = held  # a browser that takes none of what it is given
        return page.status == 302

    ended, idle_ended = await asyncio.gather(
        wait_until(ends, seconds=12), wait_until(idle_ends, seconds=12)
    )
    assert 7 < ended < 10
    assert idle_ended < 6
    assert 4 <= len(renewed) <= 7
    gaps = [later - earlier for earlier, later in zip([began, *renewed], renewed, strict=False)]
    assert min(gaps) > 0.7  # as seen from here: each answer may have taken a while


async def test_asking_for_the_session_counts_as_use_of_it(start: Start) -> None:
    gateway = start(config(more=SHORT))
    visitor = await to_thread(signed_in, gateway)

    async def renewed() -> bool:
        page = await to_thread(visitor.get, f"{AUTH}/session")
        assert page.json()["user"]["id"] == "ada"
        return bool(given(page))

    await wait_until(renewed)
    assert (await to_thread(visitor.get, "/login/x")).status == 200


async def test_a_visitor_keeps_the_same_session_without_a_store(
    start: Start, upstream: Upstream
) -> None:
    gateway = start(config(more="anonymous: true"))
    visitor = Visitor(gateway.port)
    await to_thread(visitor.get, "/optional/x")
    first = upstream.last.get("X-Session-Id")
    assert first
    assert upstream.last.get("X-User-Id") is None
    assert not given(await to_thread(visitor.get, "/optional/x"))
    assert upstream.last.get("X-Session-Id") == first
    assert (await to_thread(visitor.sign_in, "ada", PASSWORD)).status == 303
    await to_thread(visitor.get, "/optional/x")
    assert upstream.last.get("X-User-Id") == "ada"
    assert upstream.last.get("X-Session-Id") != first


# --- long cookies ----------------------------------------------------------------------------


def roles(number: int) -> list[str]:
    return [f"a-role-with-a-long-name-{each}" for each in range(number)]


async def test_a_long_session_is_cut_into_cookies_that_go_when_it_is_short_again(
    start: Start, upstream: Upstream
) -> None:
    gateway = start(config())
    (gateway.folder / "users.yaml").write_text(users(ada=roles(390)))
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "ada", PASSWORD)
    assert given(page) == [f"{COOKIE}.{n}" for n in range(4)]
    assert all(len(f"{name}={value}") < 4096 for name, value in visitor.cookies.items())
    whole = dict(visitor.cookies)
    visitor.cookies["theme"] = "dark"
    assert (await to_thread(visitor.get, "/login/x")).status == 200
    assert upstream.last.get("Cookie") == "theme=dark"
    assert len((upstream.last.get("X-User-Roles") or "").split(",")) == 390

    (gateway.folder / "users.yaml").write_text(users(ada=["one"]))
    await to_thread(visitor.sign_in, "ada", PASSWORD)
    assert [name for name in visitor.cookies if name.startswith(COOKIE)] == [COOKIE]
    assert (await to_thread(visitor.get, "/login/x")).status == 200

    pieces = [whole[f"{COOKIE}.{n}"] for n in range(4)]
    named = [f"{COOKIE}.{n}={piece}" for n, piece in enumerate(pieces)]
    swapped = f"{COOKIE}.0={pieces[1]}; {COOKIE}.1={pieces[0]}; {'; '.join(named[2:])}"
    assert await status(gateway, "; ".join(named)) == 200
    assert await status(gateway, "; ".join(reversed(named))) == 200
    for cookie in (
        "; ".join(named[:3]),
        "; ".join(named[1:]),
        "; ".join([*named, named[2]]),
        "; ".join([*named, f"{COOKIE}={visitor.cookies[COOKIE]}"]),
        swapped,
    ):
        assert await status(gateway, cookie) == 401


async def test_a_session_that_does_not_fit_is_an_error_page_at_sign_in(start: Start) -> None:
    gateway = start(config())
    (gateway.folder / "users.yaml").write_text(users(ada=roles(800)))
    visitor = Visitor(gateway.port)
    page = await to_thread(visitor.sign_in, "ada", PASSWORD)
    assert page.status == 500
    assert "too much is known of you" in page.text.lower()
    assert not given(page)
    [line] = gateway.log("request failed")
    assert line["reason"] == "session_too_large"
    assert "characters, more than 4 cookies hold" in line["detail"]
    assert (await to_thread(visitor.sign_in, "bob", PASSWORD)).status == 303


async def test_signing_out_removes_every_piece(start: Start) -> None:
    gateway = start(config())
    (gateway.folder / "users.yaml").write_text(users(ada=roles(390)))
    visitor = await to_thread(signed_in, gateway)
    assert (await to_thread(visitor.sign_out)).status == 303
    assert not [name for name in visitor.cookies if name.startswith(COOKIE)]


@pytest.mark.parametrize("name", [COOKIE, f"{COOKIE}.0", f"{COOKIE}.3", f"{COOKIE.upper()}.1"])
async def test_no_upstream_can_set_the_cookies(start: Start, upstream: Upstream, name: str) -> None:
    upstream.handler = answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: mine=1\r\nSet-Cookie: "
        + f"{name}=planted; Path=/\r\n\r\n".encode()
    )
    gateway = start(config())
    page = await to_thread(Visitor(gateway.port).get, "/public/x")
    assert page.headers.get_all("Set-Cookie") == ["mine=1"]


HOSTILE = {
    "garbage": f"{COOKIE}=garbage",
    "another format": f"{COOKIE}=eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..a.b.c",
    "huge": f"{COOKIE}=" + "A" * 60_000,
    "no ASCII": f"{COOKIE}=\xff\xfe",
    "empty": f"{COOKIE}=",
    "only a later piece": f"{COOKIE}.1=AAAA",
    "many pieces": "; ".join(f"{COOKIE}.{n}={'A' * 3000}" for n in range(10)),
}


async def test_what_is_no_session_of_ours_is_no_session_and_never_an_error(start: Start) -> None:
    gateway = start(config())
    for cookie in HOSTILE.values():
        assert await status(gateway, cookie) == 401
        assert await status(gateway, cookie, "/optional/x") == 200
    visitor = await to_thread(signed_in, gateway)
    mine = f"{COOKIE}={visitor.cookies[COOKIE]}"
    assert await status(gateway, mine) == 200
    for cookie in (f"{mine}; {mine}", mine[:-1], mine + "A", f"{mine}; {COOKIE}.0=AAAA"):
        assert await status(gateway, cookie) == 401
    assert visitor.cookies[COOKIE] not in gateway.output()


# --- with a store ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sqlite", "redis", "postgresql"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/sessions.db"
    elif request.param == "redis":
        with RedisServer() as redis:
            yield redis.url
    else:
        with PostgresServer() as postgres:
            yield postgres.url


@pytest.fixture(scope="module")
def pair(
    store: str, running_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways with two workers each, and a store for what was revoked."""
    with ExitStack() as stack:
        gateways = []
        for name in ("one", "two"):
            folder = tmp_path_factory.mktemp(name)
            (folder / "users.yaml").write_text(users())
            text = config(more='store: "${STORE}"')
            gateway = GatewayProcess(folder, text, STORE=store, UPSTREAM=running_upstream.url)
            gateways.append(stack.enter_context(gateway))
        for gateway in gateways:
            wait_for(lambda: gateway.log("listening"), what="every worker serves")  # noqa: B023
        yield gateways[0], gateways[1]


@asynccontextmanager
async def in_every_worker(
    pair: tuple[GatewayProcess, GatewayProcess], cookie: str, upstream: Upstream
) -> AsyncIterator[list[Client]]:
    """Return a connection to each of the four workers, which have the session in memory."""
    found: dict[str, Client] = {}
    clients: list[Client] = []

    async def another(gateway: GatewayProcess, wanted: int) -> bool:
        client = Client(gateway.port)
        await client.__aenter__()
        clients.append(client)
        assert (await client.ask(asking(cookie))).status == 200
        # The part of a request's id that each worker has its own of.
        found.setdefault((upstream.last.get("X-Request-Id") or "")[:16], client)
        return len(found) == wanted

    try:
        for number, gateway in enumerate(pair, 1):
            await wait_until(lambda: another(gateway, 2 * number), what="both workers answer")  # noqa: B023
        yield list(found.values())
    finally:
        for client in clients:
            await client.close()


async def refused_by_all(clients: list[Client], cookie: str) -> float:
    """Return when the last worker let a cookie pass no longer."""

    async def refused_at(client: Client) -> float:
        deadline = time.monotonic() + 10
        while (await client.ask(asking(cookie))).status == 200:
            assert time.monotonic() < deadline, "it is never refused"
            await asyncio.sleep(0.002)
        return time.monotonic()

    return max(await asyncio.gather(*map(refused_at, clients)))


async def test_a_session_that_ends_at_one_gateway_is_refused_by_every_worker_within_100_ms(
    pair: tuple[GatewayProcess, GatewayProcess], upstream: Upstream
) -> None:
    taken = []
    for number in range(8):
        visitor = await to_thread(signed_in, pair[number % 2])
        cookie = f"{COOKIE}={visitor.cookies[COOKIE]}"
        token = await to_thread(visitor.form_token)
        async with in_every_worker(pair, cookie, upstream) as clients:
            waiting = asyncio.ensure_future(refused_by_all(clients, cookie))
            page = await to_thread(visitor.post, f"{AUTH}/signout", {"csrfToken": token})
            ended_at = time.monotonic()
            assert page.status == 303
            taken.append(await waiting - ended_at)
    # One may meet a moment in which the machine does something else altogether.
    assert sorted(taken)[-2] < PROMISED, taken


async def test_the_command_line_lists_ends_and_changes_sessions(
    pair: tuple[GatewayProcess, GatewayProcess], upstream: Upstream
) -> None:
    one, two = pair
    first, second = await to_thread(signed_in, one), await to_thread(signed_in, two)
    listed = one.sessions("list", "--user", "ada")
    assert {each["user"] for each in one.sessions("list")} <= {"ada"}
    for visitor in (first, second):
        await to_thread(visitor.get, "/login/x")
        assert upstream.last.get("X-Session-Id") in {each["id"] for each in listed}
    last = upstream.last.get("X-Session-Id") or ""

    assert one.sessions("revoke", last) == {"revoked": 1}
    await wait_until(lambda: refused(one, second))
    assert (await to_thread(at(two, first).get, "/login/x")).status == 200

    assert two.sessions("set-roles", "ada", "--role", "editor")["changed"] >= 1
    before = first.cookies[COOKIE]
    page = await to_thread(first.get, "/login/x")
    assert page.status == 200
    assert given(page) == [COOKIE]
    assert upstream.last.get("X-User-Roles") == "editor"
    assert (await to_thread(first.get, "/admin/x")).status == 403
    shown = one.sessions("show", upstream.last.get("X-Session-Id") or "")
    assert shown["roles"] == ["editor"]
    await wait_until(lambda: refused(two, Visitor(0, {COOKIE: before})))

    assert two.sessions("revoke-user", "ada")["revoked"] >= 1
    for gateway in pair:
        await wait_until(lambda: refused(gateway, first))  # noqa: B023
    assert one.sessions("list", "--user", "ada") == []
    assert (await to_thread(signed_in(one).get, "/login/x")).status == 200
    one.sessions("revoke-user", "ada")


async def refused(gateway: GatewayProcess, visitor: Visitor) -> bool:
    """Whether both workers refuse somebody."""
    pages = [await to_thread(at(gateway, visitor).get, "/login/x") for _ in range(4)]
    return {page.status for page in pages} == {302}


async def test_a_session_of_the_command_line_is_one_like_all_others(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    one, two = pair
    made = one.sign_in("cleo", roles=["admin"])
    assert await status(two, made.cookie, "/admin/x") == 200
    one.sessions("revoke", made.id)

    async def over() -> bool:
        return await status(two, made.cookie, "/admin/x") == 401

    await wait_until(over)


# --- what goes on ----------------------------------------------------------------------------


async def going_on(request: Received) -> None:
    """Begin a stream that has no end."""
    await request.peer.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    await request.peer.until_closed()


async def begun(client: Client, cookie: str) -> None:
    await client.send(asking(cookie, "/login/stream"))
    assert (await client.head()).start.startswith("HTTP/1.1 200")
    assert await client.read(10) == b"5\r\nhello\r\n"


async def goes_on(client: Client, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return bool(await client.reader.read(1))
    except TimeoutError:
        return True


async def test_a_stream_goes_on_while_its_cookie_is_renewed_and_ends_with_its_session(
    start: Start, upstream: Upstream
) -> None:
    one_worker = config(more="update_age: 1s\n  idle_timeout: 3s").replace(
        "workers: 2", "workers: 1"
    )
    gateway = start(one_worker)
    visitor = await to_thread(signed_in, gateway)
    upstream.handler = going_on
    first = visitor.cookies[COOKIE]
    async with Client(gateway.port) as client:
        await begun(client, f"{COOKIE}={first}")
        upstream.handler = answering(OK)

        async def used() -> bool:
            assert (await to_thread(visitor.get, "/login/x")).status == 200
            return await status(gateway, f"{COOKIE}={first}") == 401

        await wait_until(used)  # the cookie that it began with is over
        assert await goes_on(client, 0.8)
        began = time.monotonic()
        await client.ended()
        assert time.monotonic() - began < 4.0


async def test_a_stream_ends_when_its_session_is_revoked_elsewhere(
    pair: tuple[GatewayProcess, GatewayProcess], upstream: Upstream
) -> None:
    one, two = pair
    made = await to_thread(one.sign_in, "dora")
    upstream.handler = going_on
    async with Client(two.port) as client:
        await begun(client, made.cookie)
        assert await goes_on(client, 1.2)
        await to_thread(one.sessions, "revoke-user", "dora")
        began = time.monotonic()
        await client.ended()
        assert time.monotonic() - began < 1.0


# --- the command line ------------------------------------------------------------------------


async def test_check_says_what_does_not_work_without_a_store(start: Start) -> None:
    gateway = start(config())
    done = cli(gateway, "check")
    assert done.returncode == 0
    assert "session.strategy: without session.store a session cannot be ended" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["list"], ["show", "x"], ["revoke", "x"], ["revoke-user", "ada"], ["set-roles", "ada"]],
)
async def test_the_command_line_says_what_cannot_be_done_without_a_store(
    start: Start, words: list[str]
) -> None:
    done = cli(start(config()), "sessions", *words)
    assert done.returncode == 2
    assert "sessions are in browsers' cookies alone" in done.stderr


async def test_the_command_line_signs_somebody_in_without_a_store(start: Start) -> None:
    gateway = start(config())
    made = gateway.sign_in("eve", roles=["admin"])
    assert await status(gateway, made.cookie, "/admin/x") == 200
    long = gateway.sign_in("eve", roles=roles(390))
    assert long.cookie.count("; ") == 3
    assert await status(gateway, long.cookie) == 200
    words = [word for role in roles(800) for word in ("--role", role)]
    done = cli(gateway, "sessions", "create", "--user", "eve", *words)
    assert done.returncode == 1
    assert "characters, more than 4 cookies hold" in done.stderr
