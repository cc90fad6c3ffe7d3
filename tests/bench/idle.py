"""Clients that ask once, and then keep their connections open without a word.

Run as a process: says ``ready`` when all have had their answer, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast
from urllib.parse import urlsplit

import uvloop

_AT_ONCE = 50  # connections being opened: fewer than any server's backlog


class Client(asyncio.Protocol):
    """Asks once; ``answered`` is done when the whole answer has come."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._came = b""
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if not self._came.startswith(b"HTTP/1.1 200 "[: len(self._came)]):
            raise SystemExit(f"answered {self._came[:200]!r}")
        head, _, body = self._came.partition(b"\r\n\r\n")
        if b"\r\ncontent-length: %d\r\n" % len(body) in head.lower() + b"\r\n":
            self._came = b""
            self.answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        raise SystemExit(f"a connection was closed: {exc}")


async def hold(url: str, connections: int, fields: list[str]) -> None:
    """Open the connections, say so, and keep them until nobody listens any more."""
    loop = asyncio.get_running_loop()
    target = urlsplit(url)
    lines = [f"GET {target.path} HTTP/1.1", f"Host: {target.netloc}", *fields, "\r\n"]
    request = "\r\n".join(lines).encode()
    free = asyncio.Semaphore(_AT_ONCE)

    async def ask() -> None:
        async with free:
            _, client = await loop.create_connection(
                lambda: Client(request), target.hostname or "", target.port or 0
            )
            await client.answered

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(ask())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(hold(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
