"""Bodies of any size pass through in pieces: the gateway's memory does not grow with them.

64 MiB each way; 1 GiB with ``GATEWAY_SOAK=1`` (``make soak``).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.gateway_process import GatewayProcess
from tests.integration.wire import Client, Head, Received, Upstream
from tests.servers import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20
SIZE = (1024 if os.environ.get("GATEWAY_SOAK") == "1" else 64) * MIB
GROWTH = 20 * MIB
"""Less than this is what the gateway's memory may grow by."""
STOPS = 4
"""How often a slow reader stops until everything has come to a standstill."""
LIMIT = 120.0


def blocks() -> Iterator[bytes]:
    """Return the body in blocks, of which no two are alike."""
    noise = bytes(range(251)) * (MIB // 251 + 1)
    for number in range(SIZE // MIB):
        yield number.to_bytes(8, "big") + noise[: MIB - 8]


class Sender:
    """Sends the body, as fast as it is taken."""

    def __init__(self, *, chunked: bool) -> None:
        self._chunked = chunked
        self.sent = 0
        self._hash = hashlib.blake2b()

    @property
    def framing(self) -> str:
        return "Transfer-Encoding: chunked" if self._chunked else f"Content-Length: {SIZE}"

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def send(self, writer: asyncio.StreamWriter) -> None:
        for block in blocks():
            self._hash.update(block)
            writer.write(b"%x\r\n%b\r\n" % (len(block), block) if self._chunked else block)
            await writer.drain()
            self.sent += len(block)
        if self._chunked:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


class SlowReader:
    """Takes a body, and stops now and then until the sender can send no more."""

    def __init__(self, sent: Callable[[], int]) -> None:
        self._sent = sent
        self.taken = 0
        self.held_back = 0
        """How often the sender had to wait for this reader."""
        self._hash = hashlib.blake2b()

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    async def take(self, reader: asyncio.StreamReader, head: Head) -> None:
        stops = [SIZE * n // STOPS for n in range(STOPS)]
        async for piece in pieces(reader, head):
            self._hash.update(piece)
            self.taken += len(piece)
            if stops and self.taken > stops[0]:
                del stops[0]
                await self.stop()

    async def stop(self) -> None:
        """Take nothing until the sender has come to a standstill."""
        loop = asyncio.get_running_loop()
        last, since = self._sent(), loop.time()

        def at_a_standstill() -> bool:
            nonlocal last, since
            if (now := self._sent()) != last:
                last, since = now, loop.time()
            return loop.time() - since > 0.2

        await wait_until(at_a_standstill, seconds=20.0, what="the sender is held back")
        self.held_back += self._sent() < SIZE


async def pieces(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """Return a body piece by piece."""
    if head.get("Transfer-Encoding") == "chunked":
        while left := int(await reader.readuntil(b"\r\n"), 16):
            while left:
                piece = await reader.read(min(left, 1 << 18))
                assert piece, "it ended within a chunk"
                left -= len(piece)
                yield piece
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
        return
    left = int(head.get("Content-Length") or 0)
    while left:
        piece = await reader.read(min(left, 1 << 18))
        assert piece, f"it ended {left} bytes early"
        left -= len(piece)
        yield piece


class Memory:
    """Watches how much the gateway's memory grows."""

    def __init__(self, gateway: GatewayProcess, what: str) -> None:
        self._gateway = gateway
        self._what = what
        gateway.forget_peak()
        self._before = gateway.memory()
        self._began = time.monotonic()

    def assert_bounded(self) -> None:
        grown = self._gateway.peak_memory() - self._before
        seconds = time.monotonic() - self._began
        print(
            f"\n{SIZE // MIB} MiB, {self._what}: memory grew by {grown / MIB:.1f} MiB "
            f"from {self._before / MIB:.0f} MiB, in {seconds:.1f} s"
        )
        assert grown < GROWTH


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_upload_to_a_slow_upstream(
    gateway: GatewayProcess, upstream: Upstream, chunked: bool
) -> None:
    sender = Sender(chunked=chunked)
    taken = SlowReader(lambda: sender.sent)

    async def take(request: Received) -> None:
        await taken.take(request.peer.reader, request)
        await request.peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    upstream.handler = take
    memory = Memory(gateway, f"uploaded, {sender.framing}")
    async with asyncio.timeout(LIMIT), Client(gateway.port) as client:
        await client.send(f"POST /up HTTP/1.1\r\nHost: localhost\r\n{sender.framing}\r\n\r\n")
        await sender.send(client.writer)
        assert (await client.answer()).body == b"done"
    memory.assert_bounded()
    assert (taken.taken, taken.digest) == (SIZE, sender.digest)
    assert taken.held_back, "nobody held the client back"


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_download_by_a_slow_client(
    gateway: GatewayProcess, upstream: Upstream, chunked: bool
) -> None:
    sender = Sender(chunked=chunked)
    taken = SlowReader(lambda: sender.sent)

    async def send(request: Received) -> None:
        await request.peer.send(f"HTTP/1.1 200 OK\r\n{sender.framing}\r\n\r\n".encode())
        await sender.send(request.peer.writer)

    upstream.handler = send
    memory = Memory(gateway, f"downloaded, {sender.framing}")
    async with asyncio.timeout(LIMIT), Client(gateway.port) as client:
        await client.send("GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await taken.take(client.reader, await client.head())
    memory.assert_bounded()
    assert (taken.taken, taken.digest) == (SIZE, sender.digest)
    assert taken.held_back, "nobody held the upstream back"


async def test_many_slow_clients_at_once(gateway: GatewayProcess, upstream: Upstream) -> None:
    """What each of them holds up is bounded, too."""
    clients = 8
    stopped = asyncio.Event()
    begun: list[int] = []

    async def send(request: Received) -> None:
        await request.peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        for block in blocks():
            begun.append(len(block))
            await request.peer.send(block)

    upstream.handler = send

    async def stall() -> None:
        async with Client(gateway.port) as client:
            await client.send("GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await client.head()
            await stopped.wait()

    memory = Memory(gateway, f"downloaded by {clients} who take nothing")
    stalled = [asyncio.ensure_future(stall()) for _ in range(clients)]
    await SlowReader(lambda: sum(begun)).stop()
    assert sum(begun) < clients * SIZE
    memory.assert_bounded()
    stopped.set()
    await asyncio.gather(*stalled)
    await wait_until(lambda: all(peer.gone.is_set() for peer in upstream.peers))
