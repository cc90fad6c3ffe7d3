"""A connection holds its place from the moment it is accepted, whatever it says or does not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.test_tls import CONTEXT, FILES, TlsGateway
from tests.integration.wire import PATIENCE, Client, Upstream
from tests.servers import wait_for, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """\
version: 1
server:
  listen: {address: 127.0.0.1:${PORT}, proxy_protocol: <PROXY>}
  admin: 127.0.0.1:${ADMIN_PORT}
  trusted_proxies: [127.0.0.2]
  header_timeout: <HEADER_TIMEOUT>
  limits: <LIMITS>
session: {store: "sqlite:///sessions.db"}
upstreams: {app: "${UPSTREAM}"}
defaults: {access: deny, upstream: app}
routes:
  - {path: /**, access: public}
"""
OVER_TLS = CONFIG.replace(
    "  limits:", "  tls: {cert: ${FILES}/cert.pem, key: ${FILES}/key.pem}\n  limits:"
)
_ESTABLISHED, _CLOSE_WAIT = "01", "08"  # linux/tcp_states.h
BALANCER = "127.0.0.2"
REQUEST = b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

Started = Callable[..., AbstractContextManager[GatewayProcess]]


@pytest.fixture
def started(running_upstream: Upstream, tmp_path: Path) -> Started:
    """Start a gateway of the test's own, with limits."""

    @contextmanager
    def start(
        limits: str, *, tls: bool = False, proxy: bool = False, header_timeout: str = "1500ms"
    ) -> Iterator[GatewayProcess]:
        kind, config = (TlsGateway, OVER_TLS) if tls else (GatewayProcess, CONFIG)
        config = config.replace("<LIMITS>", limits).replace("<HEADER_TIMEOUT>", header_timeout)
        config = config.replace("<PROXY>", "true" if proxy else "false")
        with kind(tmp_path, config, FILES=FILES, UPSTREAM=running_upstream.url) as gateway:
            # Whoever asked whether it answers has left, but that may not have been noticed yet.
            wait_for(lambda: not connected(gateway.port))
            yield gateway

    return start


def connected(port: int) -> int:
    """Return how many connections there are that somebody accepted on a port."""
    entries = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        local.endswith(f":{port:04X}") and state in (_ESTABLISHED, _CLOSE_WAIT)
        for _, local, _, state, *_ in entries
    )


async def answered(
    port: int, *, tls: bool = False, source: str = "127.0.0.1", head: bytes = b""
) -> bool:
    """Whether a client that asks now gets an answer."""
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=CONTEXT if tls else None, local_addr=(source, 0)
            )
            writer.write(head + REQUEST)
            answer = await reader.read()
            writer.close()
    except ConnectionError:
        return False
    return answer.startswith(b"HTTP/1.1 200 ")


def refused(gateway: GatewayProcess) -> dict[str, int]:
    """Return how many connections the metrics say were refused, by why."""
    _, text = gateway.admin("/metrics")
    found = re.findall(r'^gateway_connections_refused_total\{reason="(.+)"\} (.+)$', text, re.M)
    return {reason: int(float(count)) for reason, count in found}


async def counted(gateway: GatewayProcess, **expected: int) -> None:
    async def are_counted() -> bool:
        found = await asyncio.to_thread(refused, gateway)
        return found.items() >= expected.items()

    await wait_until(are_counted, what=f"{expected}")


@pytest.mark.parametrize("limits", ["{connections: 3}", "{connections_per_address: 3}"])
async def test_who_begins_no_tls_handshake_holds_a_place_for_a_time(
    started: Started, limits: str
) -> None:
    with started(limits, tls=True) as gateway:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(Client(gateway.port))
            assert not await answered(gateway.port, tls=True)

            async def served() -> bool:
                return await answered(gateway.port, tls=True)

            assert await wait_until(served, what="their time is over") > 0.5
        await counted(gateway, tls_handshake=3)


async def test_who_sends_no_proxy_header_holds_a_place_for_a_time(started: Started) -> None:
    with started("{connections: 3}", proxy=True) as gateway:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(Client(gateway.port, source=BALANCER))
            assert not await answered(gateway.port)

            async def served() -> bool:
                return await answered(gateway.port)

            assert await wait_until(served, what="their time is over") > 0.5
        await counted(gateway, proxy_header=3)


def named(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.1 80 81\r\n".encode()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_of_those_behind_a_balancer_each_address_counts_for_itself(
    started: Started, tls: bool
) -> None:
    with started("{connections_per_address: 2}", tls=tls, proxy=True) as gateway:
        async with AsyncExitStack() as stack:
            for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1"):
                client = await stack.enter_async_context(Client(gateway.port, source=BALANCER))
                await client.send(named(address))
            one_more = Client(gateway.port, source=BALANCER)
            async with one_more:
                await one_more.send(named("198.51.100.1"))
                assert await one_more.ended() == b""
            await counted(gateway, connections_per_address=1)
            if not tls:
                for address, served in (("198.51.100.1", False), ("198.51.100.3", True)):
                    head = named(address)
                    assert served is await answered(gateway.port, source=BALANCER, head=head)


async def test_places_are_free_again_whatever_became_of_who_had_them(started: Started) -> None:
    with started("{connections: 2}", tls=True, header_timeout="10s") as gateway:
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
            for _ in range(4):
                async with Client(gateway.port) as client:
                    await client.send(data)
                    client.writer.write_eof()
                    await client.ended()
        for _ in range(4):

            async def served() -> bool:
                return await answered(gateway.port, tls=True)

            await wait_until(served)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_flood_is_counted_to_the_last_and_told_in_one_line(
    started: Started, tls: bool
) -> None:
    with started("{connections_per_address: 1}", tls=tls, header_timeout="10s") as gateway:
        async with Client(gateway.port):
            await wait_until(lambda: _is_full(gateway, tls=tls))
            before = (await asyncio.to_thread(refused, gateway))["connections_per_address"]
            for _ in range(30):
                assert not await answered(gateway.port, tls=tls)
            await counted(gateway, connections_per_address=before + 30)
        [line] = gateway.log("too many connections from an address")
        assert (line["peer"], line["count"]) == ("127.0.0.1", 1)


async def _is_full(gateway: GatewayProcess, *, tls: bool) -> bool:
    return not await answered(gateway.port, tls=tls)
