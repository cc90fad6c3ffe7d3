"""An application that answers as ``traffic`` says, or with a fault: ``python -m
tests.faults.upstream PORT RECORD``.

Each line on standard input is the name of the fault from now on, ``well`` for none; ``rest`` closes
the connections on which nothing goes on. Every request is written to RECORD once its head has come,
as ``METHOD NONCE``, before anything else is done with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.faults.traffic import download

_REQUEST = re.compile(rb"([A-Z]+) /[a-z]+/([a-z0-9-]+)\?size=([0-9]+)&chunked=([01]) HTTP/1\.1\r\n")


class Exchange:
    """A request, and the whole answer that it should have."""

    def __init__(self, connection: Connection, head: bytes) -> None:
        found = _REQUEST.match(head)
        assert found is not None, head
        self.connection = connection
        self.method, self.nonce = found[1].decode(), found[2].decode()
        self._size, self._chunked = int(found[3]), found[4] == b"1"
        self._fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }

    def draw(self, among: int) -> int:
        """Return a number that is the same for this request wherever it is asked."""
        return zlib.crc32(self.nonce.encode()) % among

    async def read_body(self) -> bytes:
        reader, body = self.connection.reader, b""
        if self._fields.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
            return body
        return await reader.readexactly(int(self._fields.get(b"content-length", b"0")))

    def answer(self, uploaded: bytes) -> tuple[bytes, bytes]:
        """Return head and body as they are sent."""
        user = self._fields.get(b"x-user-id", b"")
        body = download(self.nonce, user.decode(), self._size, uploaded)
        framing = b"Content-Length: %d" % len(body)
        if self._chunked:
            framing = b"Transfer-Encoding: chunked"
            half = len(body) // 2
            pieces = (body[:half], body[half:])
            body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces if p) + b"0\r\n\r\n"
        head = b"HTTP/1.1 200 OK\r\nX-Nonce: %b\r\nX-User: %b\r\n%b\r\n\r\n" % (
            self.nonce.encode(),
            user,
            framing,
        )
        return head, b"" if self.method == "HEAD" else body


class Connection:
    """A connection from the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.idle = True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def close_idle(self) -> None:
        if self.idle:
            self.writer.close()

    def reset(self) -> None:
        """Close with RST, as a crashed host does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed_within(self, seconds: float) -> bool:
        """Whether the gateway closes in that time."""
        try:
            async with asyncio.timeout(seconds):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return False


Fault = Callable[[Exchange, bytes, bytes], Awaitable[None]]
"""Answers, given the head and the body that would be right; closing the connection is its own."""


async def well(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Answer in two pieces, as somebody does who has to work for it."""
    half = len(body) // 2
    await exchange.connection.send(head + body[:half])
    if body:
        await asyncio.sleep(exchange.draw(20) / 1000)
        await exchange.connection.send(body[half:])


async def resetting(exchange: Exchange, head: bytes, body: bytes) -> None:
    sent = (head + body, b"", head[: len(head) // 2], head + body[: len(body) // 2])
    connection, at = exchange.connection, exchange.draw(len(sent))
    await connection.send(sent[at])
    if at:
        connection.reset()


async def dripping(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Answer every other request well, and the others with a byte a second."""
    at_once, drops = (
        (head + body, b""),
        (b"", head),
        (head + body, b""),
        (head + body[:10], body[10:]),
    )[exchange.draw(4)]
    connection = exchange.connection
    await connection.send(at_once)
    for drop in drops:
        if await connection.closed_within(1.0):
            return
        await connection.send(bytes([drop]))


_SECOND = (
    b"HTTP/1.1 200 OK\r\nX-Nonce: nobodys\r\nX-User: nobody\r\nContent-Length: 7\r\n\r\nnobodys"
)
_PLAIN = b"HTTP/1.1 200 OK\r\n"
_GARBAGE = (
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    bytes(range(256)) * 8,
    b"<!doctype html><title>hello</title>",
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    _PLAIN + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    _PLAIN + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _PLAIN + b"X-A: b\r\n" * 50_000,
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
)
"""What is no answer to any request."""


async def garbage(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Answer a third well, a third with nonsense, and a third well with something behind it."""
    connection, at = exchange.connection, exchange.draw(3 * len(_GARBAGE))
    if at < len(_GARBAGE):
        # Left open: it is for the gateway to close what it can do nothing with.
        await connection.send(_GARBAGE[at])
    elif at < 2 * len(_GARBAGE) and len(head + body) < 20_000:
        await connection.send(head + body + _SECOND)
    else:
        await connection.send(head + body)


async def closing(exchange: Exchange, head: bytes, body: bytes) -> None:
    """Answer, and close at about the moment when the next request may come."""
    connection = exchange.connection
    await connection.send(head + body)
    if exchange.draw(3) == 0:
        loop = asyncio.get_running_loop()
        loop.call_later(exchange.draw(1000) / 200_000, connection.close_idle)


FAULTS: dict[str, Fault] = {
    "well": well,
    "refusing": well,
    "resetting": resetting,
    "dripping": dripping,
    "garbage": garbage,
    "closing": closing,
}


class Application:
    """Serves on one port, well or with a fault."""

    def __init__(self, port: int, record: int) -> None:
        self._port = port
        self._record = record
        self._fault = "well"
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def run(self) -> None:
        """Do as standard input says, until it ends."""
        said: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        await self._listen()

        def listen_to_it() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(said.put_nowait, line.strip())
            loop.call_soon_threadsafe(said.put_nowait, "")

        threading.Thread(target=listen_to_it, daemon=True).start()
        while word := await said.get():
            await self._become(word)

    async def _become(self, word: str) -> None:
        if word != "rest":
            self._fault = word
        if word == "refusing" and self._server is not None:
            self._server.close()
            self._server = None
        elif word != "refusing" and self._server is None:
            await self._listen()
        if word in ("rest", "refusing"):
            for connection in self._connections:
                connection.close_idle()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, limit=1 << 20, backlog=512
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._connections.add(connection)
        try:
            await self._answer_all(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(connection)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer_all(self, connection: Connection) -> None:
        used = False
        while not connection.writer.is_closing():
            connection.idle = True
            head = await connection.reader.readuntil(b"\r\n\r\n")
            connection.idle = False
            exchange = Exchange(connection, head)
            os.write(self._record, f"{exchange.method} {exchange.nonce}\n".encode())
            if self._fault == "closing" and used:
                match exchange.draw(3):
                    case 1:
                        return
                    case 2:
                        connection.reset()
                        return
            answer = exchange.answer(await exchange.read_body())
            await asyncio.sleep(exchange.draw(10) / 1000)
            await FAULTS[self._fault](exchange, *answer)
            used = True
            if self._server is None:
                return


def main() -> None:
    port, record = sys.argv[1:]
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    asyncio.run(Application(int(port), file).run())


if __name__ == "__main__":
    main()
