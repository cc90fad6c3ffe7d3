"""Requests at a fixed rate to a gateway whose store fails, and what became of each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic

PATIENCE = 5.0
"""Seconds after which a request counts as hung."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks: ``path`` with ``cookie``; ``user`` is who the upstream must be told it is."""

    path: str
    cookie: str = ""
    user: str = "nobody"
    may_be_out: bool = True
    """Whether 503 is an answer while the store is away."""


@dataclass(slots=True)
class Answer:
    visitor: Visitor
    at: float
    """When it was asked, on the monotonic clock."""
    took: float = PATIENCE
    status: int = 0
    """0: none."""
    body: str = ""


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """An upstream that answers with the user it was told; yields its port."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                user = fields.get("X-User-Id", "nobody").encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(user), user))
        writers.discard(writer)
        await _close(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in list(writers):
            await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


class Load:
    """Asks ``rate`` times a second, visitor after visitor, whether earlier ones were answered or
    not; between entering and leaving."""

    def __init__(self, port: int, visitors: Sequence[Visitor], rate: float) -> None:
        self._port = port
        self._visitors = itertools.cycle(visitors)
        self._rate = rate
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._asking: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.answers: list[Answer] = []

    async def __aenter__(self) -> Load:
        self._task = asyncio.create_task(self._go())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task, *self._asking])
        for idle in self._idle:
            await _close(idle[1])

    async def _go(self) -> None:
        start = monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, start + number / self._rate - monotonic()))
            task = asyncio.create_task(self._ask(Answer(next(self._visitors), monotonic())))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, answer: Answer) -> None:
        self.answers.append(answer)
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._exchange(answer)
        answer.took = monotonic() - answer.at

    async def _exchange(self, answer: Answer) -> None:
        visitor = answer.visitor
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            cookie = f"Cookie: {visitor.cookie}\r\n" if visitor.cookie else ""
            head = f"GET {visitor.path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
            writer.write(f"{head}{cookie}\r\n".encode())
            start, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest if line)}
            body = await reader.readexactly(int(fields["content-length"]))
            answer.body = body.decode()
            answer.status = int(start.split(" ")[1])
        except BaseException:
            await _close(writer)
            raise
        if fields.get("connection", "").lower() == "close":
            await _close(writer)
        else:
            self._idle.append((reader, writer))
