"""A target's name is looked up anew, and connections follow it where it goes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.model import Target, Upstream, UpstreamTimeouts
from gateway.upstream.connection import UpstreamConnection
from gateway.upstream.deadlines import Deadlines
from gateway.upstream.dialing import AddressInfo, Dialer
from gateway.upstream.driving import with_futures
from gateway.upstream.pool import Pool
from tests.servers import free_port, wait_until

OLD, NEW, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"
ASK = b"GET / HTTP/1.1\r\nHost: app.internal\r\n\r\n"


class Names:
    """A resolver that knows what the test says."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.error: OSError | None = None

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        self.asked.append(host)
        if self.error is not None:
            raise self.error
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))
            for address in self.addresses
        ]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    """A port on which a server answers at the old address and one at the new."""
    number = free_port()
    servers = [await asyncio.start_server(answer, address, number) for address in (OLD, NEW)]
    yield number
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest_asyncio.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    watching = Deadlines()
    yield watching
    watching.close()


def a_pool(
    deadlines: Deadlines, names: Names, port: int, *, host: str = "app.internal", hold: float = 30.0
) -> Pool:
    target = Target(scheme="http", host=host, port=port)
    upstream = Upstream(name="app", targets=(target,), timeouts=UpstreamTimeouts(connect=1.0))
    return Pool(upstream, deadlines, Dialer(upstream, target, None, names), addresses_hold=hold)


async def an_exchange(connection: UpstreamConnection) -> str:
    """Carry one out, up to its end; return the address it went to."""
    connection.ask(ASK, 5.0, is_head=False, on_interim=None)
    await with_futures(connection.answered())
    assert connection.response is not None
    address: str = connection.transport.get_extra_info("peername")[0]
    return address


async def test_every_new_connection_asks_again(deadlines: Deadlines, port: int) -> None:
    names = Names(OLD)
    pool = a_pool(deadlines, names, port)
    one = await pool.connect()
    names.addresses = (NEW,)
    other = await pool.connect()
    assert (await an_exchange(one), await an_exchange(other)) == (OLD, NEW)
    assert names.asked == ["app.internal"] * 2
    pool.give_back(one)
    pool.give_back(other)
    pool.close()


async def test_connections_to_an_address_that_vanished_are_used_no_more(
    deadlines: Deadlines, port: int
) -> None:
    names = Names(OLD)
    pool = a_pool(deadlines, names, port)
    idle, busy = await pool.connect(), await pool.connect()
    await an_exchange(idle)
    pool.give_back(idle)
    names.addresses = (NEW,)
    await pool.refresh()
    assert pool.take(repeatable=True) is None
    assert await an_exchange(busy) == OLD  # what is under way ends in peace
    pool.give_back(busy)
    assert pool.take(repeatable=True) is None
    await wait_until(lambda: pool.counts() == (0, 0))
    fresh = await pool.connect()
    assert await an_exchange(fresh) == NEW
    pool.give_back(fresh)
    assert pool.take(repeatable=True) is fresh
    pool.give_back(fresh)
    pool.close()


async def test_connections_to_an_address_that_stays_are_kept(
    deadlines: Deadlines, port: int
) -> None:
    names = Names(OLD)
    pool = a_pool(deadlines, names, port)
    connection = await pool.connect()
    await an_exchange(connection)
    pool.give_back(connection)
    names.addresses = (NEW, OLD)
    await pool.refresh()
    assert pool.take(repeatable=True) is connection
    pool.give_back(connection)
    pool.close()


async def test_names_are_looked_at_now_and_then(deadlines: Deadlines, port: int) -> None:
    names = Names(OLD)
    pool = a_pool(deadlines, names, port, hold=0.01)
    pool.start()
    connection = await pool.connect()
    await an_exchange(connection)
    pool.give_back(connection)
    names.error = OSError("the name server is away")
    asked = len(names.asked)
    await wait_until(lambda: len(names.asked) > asked + 2)
    assert pool.counts() == (0, 1)  # nobody knows better
    names.error, names.addresses = None, (NEW,)
    await wait_until(lambda: pool.counts() == (0, 0))
    pool.close()


async def test_an_address_is_not_looked_up(deadlines: Deadlines, port: int) -> None:
    names = Names()
    pool = a_pool(deadlines, names, port, host=NEW)
    connection = await pool.connect()
    assert await an_exchange(connection) == NEW
    assert names.asked == []
    pool.give_back(connection)
    pool.close()


async def test_an_address_that_refuses_is_passed_over(deadlines: Deadlines, port: int) -> None:
    pool = a_pool(deadlines, Names(DEAD, NEW), port)
    connection = await pool.connect()
    assert await an_exchange(connection) == NEW
    pool.give_back(connection)
    pool.close()


async def test_an_address_that_keeps_silent_does_not_hold_up_the_next(
    deadlines: Deadlines, port: int
) -> None:
    with socket.socket() as full:
        full.bind((DEAD, port))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex((DEAD, port))
        pool = a_pool(deadlines, Names(DEAD, NEW), port)
        connection = await pool.connect()
        assert await an_exchange(connection) == NEW
        pool.give_back(connection)
        pool.close()
        for each in waiting:
            each.close()


@pytest.mark.parametrize(
    ("names", "host"),
    [
        pytest.param(Names(DEAD), "app.internal", id="nobody listens"),
        pytest.param(Names(DEAD, "127.0.0.4"), "app.internal", id="nobody listens at either"),
        pytest.param(Names(), "app.internal", id="a name without addresses"),
    ],
)
async def test_a_name_that_leads_nowhere_is_unreachable(
    deadlines: Deadlines, port: int, names: Names, host: str
) -> None:
    with pytest.raises(UpstreamUnreachable, match=r"upstream app: http://app\.internal"):
        await a_pool(deadlines, names, port, host=host).connect()


async def test_a_name_that_is_not_answered_for_takes_no_longer_than_a_connection_may(
    deadlines: Deadlines, port: int
) -> None:
    class Silent(Names):
        async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

    with pytest.raises(UpstreamTimeout):
        await a_pool(deadlines, Silent(), port).connect()
