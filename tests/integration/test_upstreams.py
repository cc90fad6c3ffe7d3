"""Several targets: requests spread as promised, bad ones are left alone, nothing is sent twice."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.gateway_process import GatewayProcess
from tests.integration.wire import (
    Answer,
    BrokenAnswer,
    Client,
    Handler,
    Received,
    Upstream,
    answering,
)
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
  trusted_proxies: [127.0.0.1/32]
session: {store: "sqlite:///sessions.db"}
upstreams:
  even: {targets: ["${A}", "${B}", "${C}"]}
  heavy: {targets: [{url: "${A}", weight: 3}, "${B}"]}
  least: {targets: ["${A}", "${B}", "${C}"], balance: least_requests}
  sticky: {targets: ["${A}", "${B}", "${C}"], balance: sticky}
  sticky-busy: {targets: ["${A}", "${B}"], balance: sticky, max_connections: 1, queue: 5}
  killed: {targets: ["${A}", "${B}"]}
  killed-sticky: {targets: ["${A}", "${B}", "${C}"], balance: sticky}
  posted: {targets: ["${A}", "${B}"]}
  closing: {targets: ["${A}", "${B}"]}
  closing-one: {targets: ["${A}"], max_connections: 9}
  hosts: {targets: ["${A}", "${B}"]}
  one: {targets: ["${A}"], max_connections: 1, queue: 3, queue_timeout: 20s}
  short: {targets: ["${A}"], max_connections: 1, queue: 1, queue_timeout: 300ms}
  none: {targets: ["${A}"], max_connections: 1, queue: 0}
  two: {targets: ["${A}", "${B}"], max_connections: 1, queue: 9}
  slow: {targets: ["${A}", "${B}"], timeouts: {first_byte: 100ms}}
  total: {targets: ["${A}"], timeouts: {total: 400ms}}
  checked:
    targets: ["${D}", "${E}"]
    health: {path: "/healthz?deep=1", interval: 50ms, timeout: 250ms}
defaults: {access: deny, upstream: even}
routes:
"""
NAMES = re.findall(r"^  ([a-z-]+):(?: \{targets|$)", CONFIG.split("upstreams:")[1], re.MULTILINE)
CONFIG += "".join(f"  - {{path: /{name}/**, access: public, upstream: {name}}}\n" for name in NAMES)
CONFIG += "  - {path: /own-host/**, access: public, upstream: hosts, preserve_host: false}\n"


class Named(Upstream):
    """An upstream whose answers say its name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forget(self) -> None:
        super().forget()
        self.handler = self.named

    async def named(self, request: Received) -> None:
        await request.read()
        body = b"" if request.method == "HEAD" else self.name.encode()
        await request.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + body)

    def seen(self, path: str) -> list[Received]:
        return [request for request in self.requests if request.target.startswith(path)]


class Group(dict[str, Named]):
    """The servers by name."""

    def seen(self, path: str) -> list[Received]:
        return [request for server in self.values() for request in server.seen(path)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_servers() -> AsyncIterator[Group]:
    group = Group({name: Named(name) for name in "ABCDE"})
    for server in group.values():
        server.forget()
        await server.start()
    yield group
    for server in group.values():
        await server.stop()


@pytest.fixture(scope="module")
def running_gateway(
    running_servers: Group, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    urls = {name: server.url for name, server in running_servers.items()}
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), CONFIG, **urls) as gateway:
        yield gateway


@pytest.fixture
def servers(running_servers: Group) -> Group:
    for server in running_servers.values():
        server.forget()
    return running_servers


@pytest.fixture
def gateway(running_gateway: GatewayProcess, servers: Group) -> Iterator[GatewayProcess]:
    yield running_gateway
    running_gateway.assert_no_traceback()


def asking(path: str, *fields: str, method: str = "GET") -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *fields]
    return "\r\n".join(lines) + "\r\n\r\n"


async def ask(gateway: GatewayProcess, request: str) -> Answer:
    async with Client(gateway.port) as client:
        return await client.ask(request)


async def names(gateway: GatewayProcess, path: str, times: int, *fields: str) -> str:
    """Return who answered so many requests, one after the other."""
    async with Client(gateway.port) as client:
        answers = [await client.ask(asking(path, *fields)) for _ in range(times)]
    assert {answer.status for answer in answers} == {200}
    return "".join(answer.body.decode() for answer in answers)


def cookie() -> str:
    """Return the field of a browser that has a session; whose does not matter here."""
    return f"Cookie: gateway_session={secrets.token_urlsafe(32)}"


def metric(gateway: GatewayProcess, name: str, *labels: str) -> float:
    """Return the value of the one metric whose line has all these labels."""
    lines = gateway.admin("/metrics")[1].splitlines()
    [line] = [li for li in lines if li.startswith(name) and all(la in li for la in labels)]
    return float(line.rpartition(" ")[2])


class Held:
    """A handler that answers when it is told to, in the name of its server."""

    def __init__(self, server: Named) -> None:
        self._server = server
        self.gate = asyncio.Event()
        self.waiting = 0

    async def __call__(self, request: Received) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        await self._server.named(request)


def hold(server: Named) -> Held:
    held = Held(server)
    server.handler = held
    return held


# --- balance -------------------------------------------------------------------------------------


async def test_targets_take_turns(gateway: GatewayProcess, servers: Group) -> None:
    answered = await names(gateway, "/even/x", 30)
    assert Counter(answered) == {"A": 10, "B": 10, "C": 10}
    assert all(len(set(answered[at : at + 3])) == 3 for at in range(0, 30, 3))


async def test_targets_take_turns_by_weight(gateway: GatewayProcess, servers: Group) -> None:
    assert Counter(await names(gateway, "/heavy/x", 40)) == {"A": 30, "B": 10}


async def test_who_has_least_to_do_gets_the_request(
    gateway: GatewayProcess, servers: Group
) -> None:
    held = {name: hold(servers[name]) for name in "ABC"}
    clients = [Client(gateway.port) for _ in "ABC"]
    for number, client in enumerate(clients, 1):
        await client.__aenter__()
        await client.send(asking("/least/held"))
        await _seen(servers, "/least/held", number)
    assert [len(servers[name].seen("/least/held")) for name in "ABC"] == [1, 1, 1]
    held["B"].gate.set()
    assert await names(gateway, "/least/x", 9) == "B" * 9
    for name, client in zip("ABC", clients, strict=True):
        held[name].gate.set()
        assert (await client.answer()).status == 200
        await client.close()


async def _seen(servers: Group, path: str, count: int) -> None:
    await wait_until(lambda: len(servers.seen(path)) == count)


async def test_a_session_stays_where_it_is(gateway: GatewayProcess, servers: Group) -> None:
    homes = []
    for _ in range(24):
        own = cookie()
        answered = await names(gateway, "/sticky/x", 3, own)
        answered += await names(gateway, "/sticky/other", 2, own)  # over another connection
        assert len(set(answered)) == 1
        homes.append(answered[0])
    assert set(homes) == set("ABC")


async def test_without_a_session_the_client_address_decides(
    gateway: GatewayProcess, servers: Group
) -> None:
    homes = []
    for number in range(24):
        answered = await names(gateway, "/sticky/x", 3, f"X-Forwarded-For: 10.0.0.{number}")
        assert len(set(answered)) == 1
        homes.append(answered[0])
    assert set(homes) == set("ABC")


async def test_a_target_that_goes_moves_only_its_own_sessions(
    gateway: GatewayProcess, servers: Group
) -> None:
    path = "/killed-sticky/x"
    browsers = [cookie() for _ in range(24)]
    before = {own: await names(gateway, path, 1, own) for own in browsers}
    await servers["B"].stop()
    try:
        after = {own: await names(gateway, path, 2, own) for own in browsers}
    finally:
        await servers["B"].start()
    for own in browsers:
        assert len(set(after[own])) == 1
        assert before[own] == after[own][0] or before[own] == "B"
    assert "B" not in "".join(after.values())
    back = {own: await _home_again(gateway, path, own, before[own]) for own in browsers[:6]}
    assert back == {own: before[own] for own in browsers[:6]}


async def _home_again(gateway: GatewayProcess, path: str, own: str, home: str) -> str:
    async def is_home() -> bool:
        return await names(gateway, path, 1, own) == home

    await wait_until(is_home, seconds=20.0, what="the session is back on its target")
    return home


async def test_each_target_is_called_by_its_own_name(
    gateway: GatewayProcess, servers: Group
) -> None:
    await names(gateway, "/own-host/x", 4)
    async with Client(gateway.port) as client:
        await client.send(asking("/own-host/x", "Content-Length: 4", method="POST") + "ab")
        await wait_until(lambda: len(servers.seen("/own-host/")) == 5)
        await client.send("cd")
        assert (await client.answer()).status == 200
    for name in "AB":
        assert servers[name].requests
        for request in servers[name].requests:
            assert request.fields.all("Host") == [f"127.0.0.1:{servers[name].port}"]
    servers["A"].forget()
    await names(gateway, "/hosts/x", 2)
    assert servers["A"].last.fields.all("Host") == ["localhost"]


# --- targets that fail ---------------------------------------------------------------------------


async def test_a_killed_target_is_left_alone_and_comes_back(
    gateway: GatewayProcess, servers: Group
) -> None:
    assert set(await names(gateway, "/killed/x", 4)) == set("AB")
    labels = ('upstream="killed"', f'target="{servers["B"].url}"')
    assert metric(gateway, "gateway_upstream_target_up", *labels) == 1
    await servers["B"].stop()
    try:
        # Nobody notices, whatever they ask for: nothing was sent where nobody listened.
        assert await names(gateway, "/killed/x", 20) == "A" * 20
        [ejected] = [e for e in gateway.log("target ejected") if e["upstream"] == "killed"]
        assert (ejected["target"], ejected["seconds"]) == (servers["B"].url, 1.0)
        assert "refused" in ejected["why"].lower()
        assert metric(gateway, "gateway_upstream_target_up", *labels) == 0
        status, text = gateway.admin("/readyz")
        assert status == 200
        assert any(
            "killed" in why and servers["B"].url in why for why in json.loads(text)["targets_down"]
        )
    finally:
        await servers["B"].start()
    servers["B"].forget()

    async def returned() -> bool:
        return "B" in await names(gateway, "/killed/x", 1)

    await wait_until(returned, seconds=10.0, what="the target gets requests again")
    early = Counter(await names(gateway, "/killed/x", 20))
    assert early["B"] < early["A"]  # slowly at first

    async def settled() -> bool:
        return (await names(gateway, "/killed/x", 10)).count("B") == 5

    await wait_until(settled, seconds=20.0, what="the target has its whole share")


@pytest.mark.parametrize("size", [0, 5, 300_000])
async def test_a_request_that_was_not_sent_goes_to_another_target_whatever_its_method(
    gateway: GatewayProcess, servers: Group, size: int
) -> None:
    await servers["A"].stop()
    try:
        for _ in range(4):
            request = asking("/posted/x", f"Content-Length: {size}", method="POST") + "x" * size
            assert (await ask(gateway, request)).body == b"B"
    finally:
        await servers["A"].start()
    assert [len(request.body) for request in servers["B"].requests] == [size] * 4


async def hang(request: Received) -> None:
    await request.peer.until_closed()


async def hang_up(request: Received) -> None:
    await request.read()
    request.peer.close()


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
async def test_a_request_that_was_sent_is_not_sent_again(
    gateway: GatewayProcess, servers: Group, method: str
) -> None:
    servers["A"].handler = servers["B"].handler = hang_up
    for number in range(4):
        request = asking(f"/closing/{method}-{number}", "Content-Length: 3", method=method) + "abc"
        assert (await ask(gateway, request)).status == 502
        assert len(servers.seen(f"/closing/{method}-{number}")) == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_may_be_repeated_goes_to_another_target(
    gateway: GatewayProcess, servers: Group, method: str
) -> None:
    servers["A"].handler = hang_up
    for number in range(6):
        path = f"/closing/{method}-{number}"
        request = asking(path, "Content-Length: 3", method=method) + "abc"
        assert (await ask(gateway, request)).body == b"B"
        assert len(servers["A"].seen(path)) <= 1
        assert len(servers["B"].seen(path)) == 1
    assert servers["A"].requests


async def test_it_is_repeated_once_only(gateway: GatewayProcess, servers: Group) -> None:
    servers["A"].handler = servers["B"].handler = hang_up
    assert (await ask(gateway, asking("/closing/once"))).status == 502
    assert len(servers.seen("/closing/once")) == 2


async def test_the_only_target_is_tried_though_it_fails(
    gateway: GatewayProcess, servers: Group
) -> None:
    servers["A"].handler = hang_up
    for number in range(6):
        assert (await ask(gateway, asking(f"/closing-one/{number}"))).status == 502
        assert len(servers["A"].seen(f"/closing-one/{number}")) == 1
    servers["A"].forget()
    assert await names(gateway, "/closing-one/x", 1) == "A"


async def test_a_target_that_is_too_slow_is_left_alone(
    gateway: GatewayProcess, servers: Group
) -> None:
    servers["A"].handler = hang
    statuses = [(await ask(gateway, asking("/slow/x"))).status for _ in range(9)]
    assert statuses.count(504) == 3  # a wait is not repeated elsewhere
    assert len(servers["A"].seen("/slow/")) == 3
    [ejected] = [e for e in gateway.log("target ejected") if e["upstream"] == "slow"]
    assert ejected["target"] == servers["A"].url


async def test_errors_of_the_application_are_its_own(
    gateway: GatewayProcess, servers: Group
) -> None:
    servers["A"].handler = answering(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
    async with Client(gateway.port) as client:
        statuses = [(await client.ask(asking("/even/x"))).status for _ in range(30)]
    assert Counter(statuses) == {200: 20, 500: 10}


# --- health checks -------------------------------------------------------------------------------

SICK = answering(b"HTTP/1.1 503 Unwell\r\nContent-Length: 0\r\n\r\n")


def only_sick(server: Named, check: Handler) -> Handler:
    async def handle(request: Received) -> None:
        await (check if request.target.startswith("/healthz") else server.named)(request)

    return handle


async def both_well(gateway: GatewayProcess) -> None:
    async def taking_turns() -> bool:
        answers = [await ask(gateway, asking("/checked/x")) for _ in range(4)]
        return [a.status for a in answers] == [200] * 4 and len({a.body for a in answers}) == 2

    await wait_until(taking_turns, seconds=20.0, what="both targets get requests")


@pytest.mark.parametrize(
    ("check", "why"),
    [
        pytest.param(SICK, "answered with 503", id="says no"),
        pytest.param(hang, "within 0.25 s", id="says nothing"),
        pytest.param(hang_up, "closed", id="hangs up"),
    ],
)
async def test_a_target_whose_checks_fail_gets_no_requests(
    gateway: GatewayProcess, servers: Group, check: Handler, why: str
) -> None:
    await both_well(gateway)
    servers["D"].handler = only_sick(servers["D"], check)
    logged = len(gateway.log("target down"))
    await wait_until(lambda: len(gateway.log("target down")) > logged)
    down = gateway.log("target down")[-1]
    assert (down["upstream"], down["target"]) == ("checked", servers["D"].url)
    assert why in down["why"]
    assert await names(gateway, "/checked/x", 10) == "E" * 10
    status, text = gateway.admin("/readyz")
    assert status == 200
    [said] = [w for w in json.loads(text)["targets_down"] if "checked" in w]
    assert servers["D"].url in said
    assert why in said
    servers["D"].forget()
    logged = len(gateway.log("target up"))
    await wait_until(lambda: len(gateway.log("target up")) > logged)
    await both_well(gateway)
    check_seen = next(r for r in servers["D"].requests if r.target.startswith("/healthz"))
    assert check_seen.target == "/healthz?deep=1"
    assert check_seen.get("Host") == f"127.0.0.1:{servers['D'].port}"
    assert check_seen.get("Connection") == "close"


async def test_where_every_check_fails_requests_are_refused_at_once(
    gateway: GatewayProcess, servers: Group
) -> None:
    await both_well(gateway)
    for name in "DE":
        servers[name].handler = SICK

    async def refused() -> bool:
        return (await ask(gateway, asking("/checked/probe"))).get("Retry-After") is not None

    await wait_until(refused)
    for name in "DE":
        servers[name].requests.clear()
    answer = await ask(gateway, asking("/checked/x", "Accept: application/json"))
    assert (answer.status, answer.get("Retry-After")) == (503, "1")
    assert answer.get("Content-Type") == "application/problem+json"
    assert not servers.seen("/checked/")
    await wait_until(lambda: gateway.requests(path="/checked/x", reason="upstream_down"))
    status, text = gateway.admin("/readyz")
    assert status == 503
    assert len([why for why in json.loads(text)["reasons"] if "checked" in why]) == 2
    for name in "DE":
        servers[name].forget()
    await both_well(gateway)


# --- limits --------------------------------------------------------------------------------------


async def waiting(gateway: GatewayProcess, upstream: str, count: int) -> None:
    await wait_until(
        lambda: (
            metric(gateway, "gateway_upstream_waiting_requests", f'upstream="{upstream}"') == count
        ),
        what=f"{count} requests wait",
    )


async def test_more_requests_than_connections_wait_in_their_order(
    gateway: GatewayProcess, servers: Group
) -> None:
    held = hold(servers["A"])
    clients = [Client(gateway.port) for _ in range(5)]
    for number, client in enumerate(clients[:4]):
        await client.__aenter__()
        await client.send(asking(f"/one/{number}", method="POST"))
        await waiting(gateway, "one", number) if number else None
        await wait_until(lambda: held.waiting == 1)
    refused = await ask(gateway, asking("/one/too-many", "Accept: application/json"))
    assert refused.status == 503
    assert refused.get("Retry-After") == "20"
    assert refused.get("Cache-Control") == "no-store"
    assert json.loads(refused.body)["title"] == "Too busy"
    await wait_until(lambda: gateway.requests(path="/one/too-many", reason="upstream_busy"))
    held.gate.set()
    for client in clients[:4]:
        assert (await client.answer()).body == b"A"
        await client.close()
    assert [request.target for request in servers["A"].requests] == [
        f"/one/{number}" for number in range(4)
    ]
    await waiting(gateway, "one", 0)


async def test_a_request_waits_for_so_long_only(gateway: GatewayProcess, servers: Group) -> None:
    held = hold(servers["A"])
    async with Client(gateway.port) as first:
        await first.send(asking("/short/first"))
        await wait_until(lambda: held.waiting == 1)
        began = time.monotonic()
        late = await ask(gateway, asking("/short/late"))
        assert (late.status, late.get("Retry-After")) == (503, "1")
        assert 0.25 < time.monotonic() - began < 2.0
        held.gate.set()
        assert (await first.answer()).status == 200
    assert not servers.seen("/short/late")
    assert await names(gateway, "/short/x", 3) == "AAA"


async def test_who_leaves_the_queue_makes_room_in_it(
    gateway: GatewayProcess, servers: Group
) -> None:
    held = hold(servers["A"])
    async with Client(gateway.port) as first, Client(gateway.port) as last:
        await first.send(asking("/one/first"))
        await wait_until(lambda: held.waiting == 1)
        for _ in range(3):
            async with Client(gateway.port) as leaving:
                await leaving.send(asking("/one/leaving"))
                await waiting(gateway, "one", 1)
            await waiting(gateway, "one", 0)
        await last.send(asking("/one/last"))
        await waiting(gateway, "one", 1)
        held.gate.set()
        assert (await first.answer()).status == 200
        assert (await last.answer()).status == 200
    assert not servers.seen("/one/leaving")


async def test_without_a_queue_nobody_waits(gateway: GatewayProcess, servers: Group) -> None:
    held = hold(servers["A"])
    async with Client(gateway.port) as first:
        await first.send(asking("/none/first"))
        await wait_until(lambda: held.waiting == 1)
        assert (await ask(gateway, asking("/none/second"))).status == 503
        held.gate.set()
        assert (await first.answer()).status == 200
    assert await names(gateway, "/none/x", 3) == "AAA"


async def test_a_websocket_is_a_connection_as_long_as_it_lasts(
    gateway: GatewayProcess, servers: Group
) -> None:
    servers["A"].handler = answering(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    async with Client(gateway.port) as client:
        upgrade = asking("/none/socket", "Connection: Upgrade", "Upgrade: websocket")
        assert (await client.ask(upgrade)).status == 101
        assert (await ask(gateway, asking("/none/x"))).status == 503
    await _room_again(gateway, servers)


async def test_who_leaves_takes_no_connection_along(
    gateway: GatewayProcess, servers: Group
) -> None:
    held = hold(servers["A"])
    async with Client(gateway.port) as leaving:
        await leaving.send(asking("/none/leaving"))
        await wait_until(lambda: held.waiting == 1)
    busy = ("gateway_upstream_target_requests", 'upstream="none"')
    await wait_until(lambda: metric(gateway, *busy) == 0)
    held.gate.set()
    await _room_again(gateway, servers)


async def _room_again(gateway: GatewayProcess, servers: Group) -> None:
    servers["A"].forget()

    async def answered() -> bool:
        return (await ask(gateway, asking("/none/x"))).status == 200

    await wait_until(answered)


async def test_a_target_without_room_is_passed_over(
    gateway: GatewayProcess, servers: Group
) -> None:
    held = hold(servers["A"])
    async with Client(gateway.port) as first:
        await first.send(asking("/two/first"))
        await wait_until(lambda: servers.seen("/two/first"))
        if not held.waiting:  # it was B's turn
            await first.answer()
            await first.send(asking("/two/second"))
        await wait_until(lambda: held.waiting == 1)
        assert await names(gateway, "/two/x", 5) == "BBBBB"
        held.gate.set()
        assert (await first.answer()).body == b"A"


async def test_a_session_waits_for_its_own_target(gateway: GatewayProcess, servers: Group) -> None:
    path = "/sticky-busy/x"
    browsers = [cookie() for _ in range(24)]
    own = [each for each in browsers if await names(gateway, path, 1, each) == "A"]
    held = hold(servers["A"])
    async with Client(gateway.port) as first, Client(gateway.port) as second:
        await first.send(asking(path, own[0]))
        await wait_until(lambda: held.waiting == 1)
        await second.send(asking(path, own[1]))
        await waiting(gateway, "sticky-busy", 1)
        held.gate.set()
        assert (await first.answer()).body == b"A"
        assert (await second.answer()).body == b"A"


# --- the whole exchange --------------------------------------------------------------------------


async def drip(request: Received) -> None:
    await request.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not request.peer.writer.is_closing():
        await request.peer.send(b"x")
        await asyncio.sleep(0.05)


async def test_an_exchange_has_so_long_in_all(gateway: GatewayProcess, servers: Group) -> None:
    servers["A"].handler = drip
    began = time.monotonic()
    async with Client(gateway.port) as client:
        await client.send(asking("/total/drip"))
        with pytest.raises(BrokenAnswer):
            await client.answer()
    assert 0.3 < time.monotonic() - began < 3.0
    [line] = await _logged(gateway, "/total/drip")
    assert (line["status"], line["reason"]) == (200, "upstream_timeout")

    servers["A"].handler = hang
    assert (await ask(gateway, asking("/total/hang"))).status == 504
    await wait_until(servers["A"].last.peer.gone.is_set)
    servers["A"].forget()
    assert await names(gateway, "/total/x", 2) == "AA"


async def _logged(gateway: GatewayProcess, path: str) -> list[dict[str, object]]:
    await wait_until(lambda: gateway.requests(path=path))
    return gateway.requests(path=path)
