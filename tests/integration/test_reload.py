"""SIGHUP: a valid new file is taken, an invalid one is refused, and nobody notices either."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import OK, Client, Received, Upstream
from tests.servers import free_port, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
roles: {admin: {permissions: ["reports:write"]}}
upstreams:
  app: ${UPSTREAM}
  other: http://127.0.0.1:${OTHER}
defaults: {access: deny, upstream: app}
routes:
  - {path: /old/**, access: public}
  - {path: /both/**, access: public}
  - {path: /role/**, access: login, role: admin}
"""
NEW = CONFIG.replace("/old/**", "/new/**").replace("role: admin}", "role: reader}")


@pytest.fixture(scope="module")
def environment() -> dict[str, object]:
    return {"OTHER": free_port()}


async def reload(gateway: GatewayProcess, config: str, *, event: str = "reloaded") -> list[str]:
    """Put a new file in place, tell the process, and return the problems it has with it."""
    before = len(gateway.log(event))
    gateway.rewrite(config)
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: len(gateway.log(event)) > before, what=f"it says {event!r}")
    line = gateway.log(event)[-1]
    problems: list[str] = line.get("problems", [])
    return problems


@pytest.fixture
async def gateway(running_gateway: GatewayProcess, upstream: Upstream) -> GatewayProcess:
    """The module's gateway, with the file that it began with."""
    await reload(running_gateway, CONFIG)
    return running_gateway


async def status(gateway: GatewayProcess, path: str, cookie: str = "") -> int:
    async with Client(gateway.port) as client:
        return (await client.ask(asking(path, cookie))).status


def asking(path: str, cookie: str = "") -> str:
    line = f"Cookie: {cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n{line}\r\n"


def counted(gateway: GatewayProcess, result: str) -> float:
    """Return how many reloads ended so, as the metrics say."""
    _, metrics = gateway.admin("/metrics")
    found = re.search(rf'^gateway_config_reloads_total{{result="{result}"}} (.+)$', metrics, re.M)
    assert found is not None
    return float(found[1])


async def test_a_valid_file_is_taken(gateway: GatewayProcess) -> None:
    before = counted(gateway, "ok")
    async with Client(gateway.port) as client:
        assert (await client.ask(asking("/old/x"))).status == 200
        assert (await client.ask(asking("/new/x"))).status == 403
        await reload(gateway, NEW)
        # On the same connection: what holds is what holds when a request comes.
        assert (await client.ask(asking("/old/x"))).status == 403
        assert (await client.ask(asking("/new/x"))).status == 200
    assert counted(gateway, "ok") == before + 1


async def test_sessions_stay_and_are_judged_by_the_new_rules(gateway: GatewayProcess) -> None:
    admin = gateway.sign_in("ada", roles=["admin"])
    reader = gateway.sign_in("bob", roles=["reader"])
    assert await status(gateway, "/role/x", admin.cookie) == 200
    assert await status(gateway, "/role/x", reader.cookie) == 403
    await reload(gateway, NEW)
    assert await status(gateway, "/role/x", admin.cookie) == 403
    assert await status(gateway, "/role/x", reader.cookie) == 200


async def test_new_identity_headers_hold_for_sessions_that_are_known(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    ada = gateway.sign_in("ada", roles=["admin"])
    assert await status(gateway, "/role/x", ada.cookie) == 200
    assert upstream.last.get("X-User-Id") == "ada"
    await reload(gateway, CONFIG + "identity: {headers: {X-Remote-User: user.id}}\n")
    assert await status(gateway, "/role/x", ada.cookie) == 200
    assert upstream.last.get("X-Remote-User") == "ada"
    assert upstream.last.get("X-User-Id") is None


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        pytest.param(NEW.replace("path: /new/**, ", ""), "12:5: routes[0]", id="a missing key"),
        pytest.param(NEW.replace("/new", "/both"), "13", id="two routes alike"),
        pytest.param(NEW.replace("access: public", "acess: public"), "acess", id="misspelt"),
        pytest.param(NEW.replace("upstream: app", "upstream: ap"), "did you mean", id="no such"),
        pytest.param(NEW + "routes: []\n", "routes", id="a repeated key"),
        pytest.param(NEW + "  - [", "config.yaml:16", id="no YAML"),
        pytest.param(NEW.replace("${UPSTREAM}", "${NO_SUCH_NAME}"), "NO_SUCH_NAME", id="no value"),
        pytest.param("", "config.yaml:1:1", id="empty"),
    ],
)
async def test_an_invalid_file_is_refused_with_the_reasons(
    gateway: GatewayProcess, config: str, problem: str
) -> None:
    before = counted(gateway, "refused")
    problems = await reload(gateway, config, event="reload refused")
    assert any(problem in each for each in problems), problems
    assert await status(gateway, "/old/x") == 200
    assert await status(gateway, "/new/x") == 403
    assert counted(gateway, "refused") == before + 1


async def test_every_problem_is_told(gateway: GatewayProcess) -> None:
    broken = NEW.replace("version: 1", "version: 2").replace("access: public", "acess: public")
    problems = await reload(gateway, broken, event="reload refused")
    assert len(problems) >= 3
    assert all(each.startswith(f"{gateway.config}:") for each in problems)


async def test_a_file_that_is_gone_is_refused(gateway: GatewayProcess) -> None:
    before = len(gateway.log("reload refused"))
    gateway.config.unlink()
    gateway.send_signal(signal.SIGHUP)
    await wait_until(lambda: len(gateway.log("reload refused")) > before)
    assert await status(gateway, "/old/x") == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("listen: 127.0.0.1:${PORT}", "listen: 127.0.0.1:${OTHER}", id="listen"),
        pytest.param("admin: 127.0.0.1:${ADMIN_PORT}", "admin: 127.0.0.1:${OTHER}", id="admin"),
        pytest.param("sqlite:///sessions.db", "memory://", id="store"),
    ],
)
async def test_what_needs_a_restart_is_refused_and_says_so(
    gateway: GatewayProcess, old: str, new: str
) -> None:
    [problem] = await reload(gateway, NEW.replace(old, new), event="reload refused")
    assert "restart" in problem
    assert await status(gateway, "/old/x") == 200


async def test_a_request_that_waits_for_its_answer_is_finished_by_the_old_file(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    """One whose answer goes on is decided on anew: ``test_ongoing``."""
    go_on = asyncio.Event()

    async def slow(request: Received) -> None:
        await go_on.wait()
        await request.peer.send(OK)

    upstream.handler = slow
    async with Client(gateway.port) as client:
        await client.send(asking("/old/x"))
        await wait_until(lambda: upstream.requests)
        await reload(gateway, NEW)
        go_on.set()
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"ok")


async def test_under_load_no_request_fails(gateway: GatewayProcess) -> None:
    stop = asyncio.Event()
    statuses: list[int] = []

    async def load() -> None:
        async with Client(gateway.port) as client:
            while not stop.is_set():
                answer = await client.ask(asking("/both/x"))
                assert answer.body == b"ok"
                statuses.append(answer.status)

    async def reloads() -> None:
        try:
            for number in range(10):
                before = len(statuses)
                await reload(gateway, NEW if number % 2 else CONFIG)
                await reload(gateway, NEW + "nonsense\n", event="reload refused")
                await wait_until(lambda: len(statuses) > before + 20)  # noqa: B023
        finally:
            stop.set()

    await asyncio.gather(reloads(), *(load() for _ in range(16)))
    assert set(statuses) == {200}


async def test_connections_of_the_old_file_do_not_gather(
    gateway: GatewayProcess, upstream: Upstream
) -> None:
    for number in range(10):
        assert await status(gateway, "/both/x") == 200
        await reload(gateway, NEW if number % 2 else CONFIG)
    await wait_until(
        lambda: sum(not peer.gone.is_set() for peer in upstream.peers) <= 1,
        what="connections to the upstream are closed with the file that made them",
    )
