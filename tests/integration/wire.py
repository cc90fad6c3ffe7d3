"""Both ends of the wire, byte by byte: a client and an upstream that can do what real ones do not.

Every wait ends after ``PATIENCE`` seconds.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PATIENCE = 5.0

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class BrokenAnswer(Exception):
    """The connection ended, or stopped making sense, before the answer was whole."""


class Fields(list[tuple[str, str]]):
    """Header fields in their order, names as sent."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """Return the value of a field that may stand there once at most."""
        values = self.all(name)
        assert len(values) < 2, f"{name} {len(values)} times: {values}"
        return values[0] if values else None

    def names(self) -> set[str]:
        return {name.lower() for name, _ in self}


@dataclass
class Head:
    """The head of a request or answer."""

    start: str
    fields: Fields
    raw: bytes

    def get(self, name: str) -> str | None:
        return self.fields.get(name)


@dataclass
class Answer(Head):
    """A whole answer, as the client saw it."""

    body: bytes = b""
    interim: list[Head] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def version(self) -> str:
        return self.start.split(" ")[0]


def parse_head(raw: bytes) -> Head:
    start, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    fields = Fields()
    for line in lines:
        name, colon, value = line.partition(":")
        assert colon, f"no header field: {line!r}"
        fields.append((name, value.strip(" ")))
    return Head(start, fields, raw)


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes | None:
    """Return the body that a head announces; None where only the end of the connection ends it."""
    length, coding = head.get("Content-Length"), head.get("Transfer-Encoding")
    if coding is not None:
        assert (length, coding) == (None, "chunked")
        return await _read_chunked(reader)
    return None if length is None else await reader.readexactly(int(length))


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        if re.fullmatch(rb"[0-9a-fA-F]+\r\n", line) is None:
            raise BrokenAnswer(f"no chunk size: {line!r}")
        chunk = await reader.readexactly(int(line, 16) + 2)
        assert chunk.endswith(b"\r\n")
        if len(chunk) == 2:  # the gateway sends no trailers
            return body
        body += chunk[:-2]


class Client:
    """One connection to the gateway.

    Args:
        source: The loopback address that it comes from.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self._port, limit=1 << 20, local_addr=(self._source, 0)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await _close(self.writer)

    async def send(self, data: bytes | str) -> None:
        self.writer.write(data if isinstance(data, bytes) else data.encode("latin-1"))
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def ask(self, data: bytes | str) -> Answer:
        """Send a request and return the answer to it."""
        await self.send(data)
        start = data if isinstance(data, bytes) else data.encode("latin-1")
        return await self.answer(head=start.startswith(b"HEAD "))

    async def head(self) -> Head:
        """Return the next head, of an interim answer or a final one.

        Raises:
            BrokenAnswer: The connection ended instead.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return parse_head(await self.reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise BrokenAnswer(repr(exc)) from exc

    async def answer(self, *, head: bool = False) -> Answer:
        """Return the next whole answer.

        Args:
            head: Whether the request was HEAD.

        Raises:
            BrokenAnswer: It did not come, or not whole.
        """
        interim: list[Head] = []
        while True:
            found = await self.head()
            answer = Answer(found.start, found.fields, found.raw, b"", interim)
            if answer.status >= 200 or answer.status == 101:
                break
            interim.append(found)
        if head or answer.status in (101, 204, 304):
            return answer
        try:
            async with asyncio.timeout(PATIENCE):
                body = await read_body(self.reader, answer)
                answer.body = await self.reader.read() if body is None else body
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise BrokenAnswer(repr(exc)) from exc
        return answer

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def ended(self) -> bytes:
        """Wait until the gateway closes the connection; return what it sent before."""
        rest = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await self.reader.read(1 << 16):
                    rest += data
        return rest


class Received(Head):
    """A request, as the upstream got it."""

    def __init__(self, head: Head, peer: Peer) -> None:
        super().__init__(head.start, head.fields, head.raw)
        self.peer = peer
        self.body = b""

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    async def read(self) -> bytes:
        """Return the whole body."""
        self.body = await read_body(self.peer.reader, self) or b""
        return self.body


class Peer:
    """A connection that the gateway made to the upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()
        """Set once the connection is closed, by whom ever."""

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a packet of its own as far as the system allows."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def until_closed(self) -> bytes:
        """Wait until the gateway closes; return what it sent before."""
        pieces = []  # of a flood, too: joined once
        with suppress(ConnectionError):
            while data := await self.reader.read(1 << 16):
                pieces.append(data)
        return b"".join(pieces)

    def close(self) -> None:
        self.writer.close()


Handler = Callable[[Received], Awaitable[None]]


def answering(*pieces: bytes, close: bool = False) -> Handler:
    """Return a handler that reads the request's body and then sends these bytes."""

    async def handle(request: Received) -> None:
        await request.read()
        await request.peer.send(*pieces)
        if close:
            request.peer.close()

    return handle


class Upstream:
    """An HTTP server that does as its handler says, and remembers every byte of every head."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.peers: list[Peer] = []
        self.requests: list[Received] = []
        self.handler: Handler = answering(OK)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen; after ``stop``, on the same port again."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=1 << 20, backlog=128
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and close those there are."""
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    def forget(self) -> None:
        """Begin a new test: no requests so far, and each is answered with ``OK``."""
        self.requests.clear()
        self.peers = [peer for peer in self.peers if not peer.gone.is_set()]
        self.handler = answering(OK)

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            while not writer.is_closing():
                request = Received(parse_head(await reader.readuntil(b"\r\n\r\n")), peer)
                self.requests.append(request)
                await self.handler(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            pass  # asyncio.streams would log it as an error
        finally:
            await _close(writer)
            peer.gone.set()
            self._tasks.discard(task)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
