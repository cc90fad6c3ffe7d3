"""Two connections joined, seen from both their other ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest
import pytest_asyncio

from gateway.upstream.deadlines import NEVER, Deadlines
from gateway.upstream.tunnel import IDLE_LIMIT, Tunnel
from tests.servers import wait_until

HELLO = b"\x82\x05hello"
PIECE = b"x" * 65_536


class Peer:
    """Somebody on the other end of one of the two connections."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    async def hears(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), 5.0)

    async def hears_until_the_end(self) -> bytes:
        return await asyncio.wait_for(self._reader.read(), 5.0)


class Joined:
    """A tunnel with somebody at each end."""

    def __init__(self, tunnel: Tunnel, client: Peer, upstream: Peer, told: list[str]) -> None:
        self.tunnel = tunnel
        self.client = client
        self.upstream = upstream
        self.told = told
        """Whose connections were said to have ended, to those who had them before."""

    async def ended(self) -> None:
        await asyncio.wait_for(self.tunnel.ended, 5.0)
        self.tunnel.release()
        assert sorted(self.told) == ["client", "upstream"]
        assert self.tunnel.deadline == NEVER


Join = Callable[..., "asyncio.Future[Joined]"]


async def _connected() -> tuple[asyncio.Transport, Peer]:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    return transport, Peer(*await asyncio.open_connection(sock=theirs))


@pytest_asyncio.fixture
async def join() -> AsyncIterator[Join]:
    deadlines = Deadlines(interval=0.01)
    joined: list[Joined] = []

    async def join(idle: float = IDLE_LIMIT) -> Joined:
        told: list[str] = []
        client, near = await _connected()
        upstream, far = await _connected()
        tunnel = Tunnel(
            client,
            upstream,
            deadlines,
            client_lost=lambda _: told.append("client"),
            upstream_lost=lambda _: told.append("upstream"),
            idle=idle,
        )
        client.set_protocol(tunnel.client)
        upstream.set_protocol(tunnel.upstream)
        joined.append(Joined(tunnel, near, far, told))
        return joined[-1]

    yield cast(Join, join)
    for each in joined:
        each.tunnel.release()
        for peer in (each.client, each.upstream):
            peer.writer.close()
    deadlines.close()


def sides(joined: Joined, who: str) -> tuple[Peer, Peer]:
    """Return who is meant, and the other one."""
    client, upstream = joined.client, joined.upstream
    return (client, upstream) if who == "client" else (upstream, client)


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_who_will_say_no_more_still_hears_the_other(join: Join, who: str) -> None:
    joined = await join()
    one, other = sides(joined, who)
    one.writer.write(b"my last")
    one.writer.write_eof()
    assert await other.hears_until_the_end() == b"my last"
    for _ in range(2):
        other.writer.write(HELLO)
        assert await one.hears(len(HELLO)) == HELLO
    assert joined.tunnel.deadline < joined.tunnel.time() + 60.0  # it may have gone altogether
    other.writer.close()
    assert await one.hears_until_the_end() == b""
    await joined.ended()


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_what_is_said_last_arrives_though_the_other_is_slow_to_take_it(
    join: Join, who: str
) -> None:
    joined = await join()
    one, other = sides(joined, who)
    one.writer.write(PIECE * 16)
    one.writer.close()
    assert await other.hears_until_the_end() == PIECE * 16
    other.writer.close()
    await joined.ended()
    assert joined.tunnel.client.passed + joined.tunnel.upstream.passed == len(PIECE) * 16


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_who_reads_slowly_holds_the_other_back(join: Join, who: str) -> None:
    joined = await join()
    one, other = sides(joined, who)
    reading = cast(asyncio.ReadTransport, getattr(joined.tunnel, who).transport)

    def held_back() -> bool:
        one.writer.write(PIECE)
        return not reading.is_reading()

    await wait_until(held_back)
    sent = asyncio.ensure_future(one.writer.drain())
    one.writer.write_eof()
    heard = await other.hears_until_the_end()
    await sent
    assert set(heard) == {ord("x")}
    other.writer.close()
    await joined.ended()


async def test_where_nothing_is_said_both_are_told_that_it_ends(join: Join) -> None:
    joined = await join(idle=0.05)
    assert await joined.client.hears(4) == b"\x88\x02\x03\xe9"
    assert (await joined.upstream.hears(8))[:2] == b"\x88\x82"
    for peer in (joined.client, joined.upstream):
        peer.writer.close()
    await joined.ended()


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_a_ping_either_way_is_a_sign_of_life(join: Join, who: str) -> None:
    joined = await join(idle=0.5)
    one, other = sides(joined, who)
    ping = b"\x89\x00"

    async def is_heard_far_beyond_the_limit() -> bool:
        one.writer.write(ping)
        assert await other.hears(2) == ping
        return joined.tunnel.time() > began + 1.5

    began = joined.tunnel.time()
    await wait_until(is_heard_far_beyond_the_limit)
    goodbye = b"\x88\x82" if other is joined.upstream else b"\x88\x02"
    assert await other.hears(2) == goodbye  # as soon as nothing comes any more
    assert joined.tunnel.time() > began + 1.9


async def test_whoever_ends_it_says_why(join: Join) -> None:
    joined = await join()
    joined.tunnel.end(1008)
    joined.tunnel.end(1001)  # it is said once
    assert await joined.client.hears(4) == b"\x88\x02\x03\xf0"
    joined.upstream.writer.write(HELLO)
    joined.client.writer.write(b"\x88\x80mask")
    assert await joined.client.hears_until_the_end() == b""
    closing = await joined.upstream.hears(8)
    assert bytes(a ^ b for a, b in zip(closing[6:], closing[2:6], strict=False)) == b"\x03\xf0"
    joined.upstream.writer.write(b"\x88\x00")
    assert await joined.upstream.hears_until_the_end() == b""
    await joined.ended()


async def test_who_asks_for_the_end_while_a_close_is_under_way_adds_none(join: Join) -> None:
    joined = await join()
    joined.client.writer.write(b"\x88")  # the beginning of a Close, or so it turns out
    await joined.upstream.hears(1)
    joined.tunnel.end(1001)
    joined.client.writer.write(b"\x82mask\x00\x00")
    assert await joined.upstream.hears(7) == b"\x82mask\x00\x00"
    joined.client.writer.write_eof()
    assert await joined.upstream.hears_until_the_end() == b""


async def test_what_is_let_go_is_closed_at_once(join: Join) -> None:
    joined = await join()
    joined.tunnel.release()
    for peer in (joined.client, joined.upstream):
        assert await peer.hears_until_the_end() == b""
    await wait_until(lambda: len(joined.told) == 2)
    await joined.ended()
