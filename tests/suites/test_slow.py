"""Clients that send and read as slowly as they can keep nobody else from being served.

The attacks are slowhttptest's. It asks for a page itself meanwhile, and says whether it came; so
does an ordinary client here.
"""

from __future__ import annotations

import asyncio
import csv
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Client, Received, Upstream
from tests.servers import program
from tests.suites.verdict import FULL

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADER_TIMEOUT = 10.0 if FULL else 1.0
CONNECTIONS = 60
SECONDS = 15 if FULL else 3
"""How long each attack lasts."""

AT_MOST = 2.0
"""Seconds that an ordinary client may wait for its page meanwhile."""

SLOW_READING = ["-w", "1", "-y", "16", "-n", "5", "-z", "8", "-k", "3"]
"""A receive window of 1 to 16 bytes, of which 8 are read every 5 seconds; three requests each."""

ATTACKS = {
    "slow headers": ["-H"],
    "slow bodies": ["-B"],
    "slow reading": ["-X", *SLOW_READING],
}

CONFIG = f"""\
version: 1
server:
  listen: 127.0.0.1:${{PORT}}
  admin: 127.0.0.1:${{ADMIN_PORT}}
  header_timeout: {HEADER_TIMEOUT}
session: {{store: "sqlite:///sessions.db"}}
upstreams: {{app: "${{UPSTREAM}}"}}
defaults: {{access: deny, upstream: app}}
routes:
  - {{path: /**, access: public}}
"""

PAGE = b"x" * 300_000
"""More than the buffers between the gateway and a client hold."""


async def answer_page(request: Received) -> None:
    await request.read()
    await request.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE), PAGE)


@pytest.mark.parametrize("options", ATTACKS.values(), ids=ATTACKS)
async def test_an_attack_keeps_nobody_from_being_served(
    options: list[str], gateway: GatewayProcess, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.handler = answer_page
    attack = asyncio.create_task(_attack(gateway, options, tmp_path))
    waits: list[float] = []
    while not attack.done():
        waits.append(await _seconds_to_get_a_page(gateway))
        await asyncio.wait([attack], timeout=0.25)
    ended, seconds = await attack
    assert all(second.available for second in seconds), seconds
    assert seconds[-1].connected + seconds[-1].closed == CONNECTIONS
    assert len(waits) > 1
    assert max(waits) < AT_MOST
    if options == ATTACKS["slow headers"]:
        assert "No open connections left" in ended


@dataclass(frozen=True, slots=True)
class Second:
    """What slowhttptest saw in one second of its attack."""

    connected: int
    closed: int
    available: bool


async def _attack(
    gateway: GatewayProcess, options: list[str], folder: Path
) -> tuple[str, list[Second]]:
    """Run slowhttptest until it ends; return what it says at the end, and what it saw before."""
    pace = [
        "-c",
        str(CONNECTIONS),
        "-r",
        "60",
        "-i",
        "2",
        "-l",
        str(SECONDS),
        "-p",
        "3",
        "-x",
        "24",
    ]
    process = await asyncio.create_subprocess_exec(
        program("slowhttptest", "slowhttptest"),
        *options,
        *pace,
        *["-g", "-o", "seen", "-u", f"{gateway.url}/"],
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TERM": "dumb"},
        cwd=folder,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed
    with (folder / "seen.csv").open(newline="") as file:
        seconds = [
            Second(
                connected=int(row["Connected"]),
                closed=int(row["Closed"]),
                available=row["Service Available"] != "0",
            )
            for row in csv.DictReader(file)
        ]
    return printed.decode().rpartition("Exit status:")[2], seconds


async def _seconds_to_get_a_page(gateway: GatewayProcess) -> float:
    began = time.monotonic()
    async with Client(gateway.port) as client:
        answer = await client.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.body == PAGE
    return time.monotonic() - began


async def test_a_client_that_trickles_headers_is_cut_off(gateway: GatewayProcess) -> None:
    began = time.monotonic()
    async with Client(gateway.port) as client:
        await client.send("GET / HTTP/1.1\r\nHost: localhost\r\n")
        answer = asyncio.create_task(client.reader.read())
        while not answer.done():
            await client.send("X-A: b\r\n")
            await asyncio.wait([answer], timeout=0.25)
            assert time.monotonic() - began < HEADER_TIMEOUT + AT_MOST
    assert time.monotonic() - began > HEADER_TIMEOUT * 0.9
    assert answer.result().startswith(b"HTTP/1.1 408 ")
