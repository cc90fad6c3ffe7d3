"""WebSocket cases of the Autobahn test suite pass through the gateway as they do without it.

They come to an echo, once through the gateway and once directly.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.gateway_process import GatewayProcess
from tests.servers import free_port, listens, wait_for
from tests.suites.autobahn.cases import Case, load_cases
from tests.suites.autobahn.endpoint import Endpoint
from tests.suites.verdict import FULL, assert_all_pass

CONFIG = """\
version: 1
server:
  listen: 127.0.0.1:${PORT}
  admin: 127.0.0.1:${ADMIN_PORT}
session: {store: "sqlite:///sessions.db"}
upstreams: {echo: "http://127.0.0.1:${ECHO}"}
defaults: {access: deny, upstream: echo}
routes:
  - {path: /ws, access: public}
"""

GROUPS = {
    "framing": ("1", 16),
    "pings and pongs": ("2", 11),
    "reserved bits": ("3", 7),
    "opcodes": ("4", 10),
    "fragmentation": ("5", 20),
    "UTF-8": ("6", 145),
    "closing handshake": ("7", 37),
    "large messages": ("9", 54),
    "automatic fragmentation": ("10", 1),
    "compression of different payloads": ("12", 90),
    "compression with different parameters": ("13", 126),
}
"""The first number of each group, and how many cases it has."""

FAIL_AT_THE_ECHO = {"7.1.5"}
"""Here websockets rejects the frame that the case sends too much, where Autobahn wants a close."""

LARGEST = {
    *("9.1.5", "9.1.6", "9.2.5", "9.2.6"),  # 8 and 16 MiB
    *("9.3.1", "9.3.2", "9.4.1", "9.4.2"),  # 65,536 and 16,384 fragments
}
"""Cases that only ``make suites`` runs."""

MESSAGES = 25 if FULL else 2
"""How often compression cases send their message; Autobahn: 1000 times."""

PASSES = ("OK", "NON-STRICT", "INFORMATIONAL")

AT_ONCE = 12
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended.

    Autobahn's OK and NON-STRICT are both a pass: which of them it is depends on how frames happen
    to fall into packets.
    """

    passed: bool
    close_code: int | None
    words: str = field(compare=False)


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of an echo that takes as many fragments as cases send."""
    port = free_port()
    environment = {**os.environ, "WEBSOCKETS_MAX_FRAGMENTS": "1000000"}
    command = [sys.executable, "-m", "tests.suites.autobahn.echo", str(port)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(lambda: listens(port), seconds=15.0, what="the echo listens")
            yield port
        finally:
            process.kill()


@pytest.fixture(scope="module")
def gateway(echo: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("gateway"), CONFIG, ECHO=echo) as gateway:
        yield gateway


@pytest.mark.parametrize(("number", "size"), GROUPS.values(), ids=GROUPS)
async def test_cases_end_as_they_do_without_the_gateway(
    number: str, size: int, echo: int, gateway: GatewayProcess
) -> None:
    cases = [name for name in load_cases() if name.split(".")[0] == number]
    assert len(cases) == size
    if not FULL:
        cases = [name for name in cases if name not in LARGEST]
    direct, proxied = await asyncio.gather(play(cases, echo), play(cases, gateway.port))
    faults: list[str] = []
    for name in cases:
        if direct[name].passed is (name in FAIL_AT_THE_ECHO):
            faults.append(f"{name}, without the gateway: {direct[name]}")
        if proxied[name] != direct[name]:
            faults.append(f"{name}: {proxied[name]}, without the gateway {direct[name]}")
    assert_all_pass(faults, cases=len(cases))


async def play(cases: list[str], port: int) -> dict[str, Outcome]:
    """Return how each case ends with the WebSocket at this port."""
    places = asyncio.Semaphore(AT_ONCE)
    made = load_cases()

    async def one(name: str) -> Outcome:
        async with places:
            return await _play(made[name], port, as_bytes=name.split(".")[0] in ("12", "13"))

    async with asyncio.TaskGroup() as group:
        running = {name: group.create_task(one(name)) for name in cases}
    return {name: task.result() for name, task in running.items()}


async def _play(case: type[Case], port: int, *, as_bytes: bool) -> Outcome:
    if as_bytes:
        case.COUNT = MESSAGES
    endpoint = Endpoint(port=port, path="/ws", new_case=case, as_bytes=as_bytes)
    try:
        async with asyncio.timeout(PATIENCE):
            await endpoint.run()
    except (ConnectionError, TimeoutError, asyncio.IncompleteReadError) as error:
        return Outcome(False, None, repr(error))
    played = endpoint.case
    passed = played.behavior in PASSES and played.behaviorClose in ("OK", "INFORMATIONAL")
    words = f"{played.behavior} ({played.result}), {played.behaviorClose} ({played.resultClose})"
    return Outcome(passed, endpoint.remoteCloseCode, words)
