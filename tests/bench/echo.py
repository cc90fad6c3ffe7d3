"""WebSocket echo: the upstream, and the clients that talk to it through a proxy.

Each in a process of its own, with frames made once and compared byte for byte: only the proxy's CPU
counts, and neither end should keep it waiting longer than it must.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop

TEXT = b"a small message, such as a chat or a cursor sends."
# A mask of zeros leaves the text as it is (RFC 6455 section 5.3); no proxy looks into frames.
MESSAGE = bytes([0x81, 0x80 | len(TEXT), 0, 0, 0, 0]) + TEXT
ANSWER = bytes([0x81, len(TEXT)]) + TEXT

# The example of RFC 6455 section 1.3.
_KEY, _ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + _ACCEPT + b"\r\n\r\n"
)


SIGN_IN = (
    '{"user": {"id": "ada", "name": "Ada", "email": "ada@example.com",'
    ' "roles": ["member", "reader"]}}'
)
"""What upstreams tell the gateway in ``X-Session-Create``."""


class Upstream(asyncio.Protocol):
    """Answers every message with the same text, and a plain request as the other upstream does."""

    def __init__(self) -> None:
        self._upgraded = False
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._upgraded:
            head, end, self._unread = self._unread.partition(b"\r\n\r\n")
            if not end:
                self._unread = head
                return
            self._answer(head)
        whole = len(self._unread) // len(MESSAGE)
        if whole:
            if self._unread[: whole * len(MESSAGE)] != MESSAGE * whole:
                self._transport.abort()
                return
            self._unread = self._unread[whole * len(MESSAGE) :]
            self._transport.write(ANSWER * whole)

    def _answer(self, head: bytes) -> None:
        start, *lines = head.split(b"\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (x.partition(b":") for x in lines)
        }
        if fields.get(b"upgrade", b"").lower() == b"websocket":
            self._upgraded = True
            self._transport.write(_SWITCHED)
            return
        body, more = b"x" * 99 + b"\n", b""
        if start.split(b" ")[1].endswith(b"/sign-in"):
            more = b"X-Session-Create: " + SIGN_IN.encode() + b"\r\n"
        if start.split(b" ")[1].endswith(b"/echo"):
            body = fields.get(b"x-user-id", b"") + b" " + fields.get(b"x-user-roles", b"")
        self._transport.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(body), body)
        )


class Client(asyncio.Protocol):
    """Sends a message, waits for its echo, and sends the next one."""

    def __init__(self, request: bytes, ended: asyncio.Future[str]) -> None:
        self._request = request
        self._ended = ended
        self._upgraded = False
        self._unread = b""
        self.echoes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        if not self._upgraded:
            head, end, _ = self._unread.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 ") or _ACCEPT not in head:
                self._end(f"no upgrade: {head[:200]!r}")
                return
            self._upgraded = True
        elif len(self._unread) < len(ANSWER):
            return
        elif self._unread != ANSWER:
            self._end(f"not what was sent: {self._unread[:200]!r}")
            return
        else:
            self.echoes += 1
        self._unread = b""
        self._transport.write(MESSAGE)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"closed: {exc}")

    def _end(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_result(why)


def _itself(client: Client) -> Client:
    return client


async def serve(port: int) -> None:
    """Echo until killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


async def talk(url: str, connections: int, seconds: float, fields: list[str]) -> int:
    """Return how many messages came back on all connections together."""
    loop = asyncio.get_running_loop()
    target = urlsplit(url)
    lines = [f"GET {target.path} HTTP/1.1", f"Host: {target.netloc}", *fields]
    lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines += [f"Sec-WebSocket-Key: {_KEY.decode()}", "\r\n"]
    request = "\r\n".join(lines).encode()
    ended: asyncio.Future[str] = loop.create_future()
    clients = [Client(request, ended) for _ in range(connections)]
    for client in clients:
        await loop.create_connection(
            partial(_itself, client), target.hostname or "", target.port or 0
        )
    if (await asyncio.wait([ended], timeout=seconds))[0]:
        raise SystemExit(ended.result())
    return sum(client.echoes for client in clients)


def main(action: str, *arguments: str) -> None:
    """``serve PORT``, or ``talk URL CONNECTIONS SECONDS FIELD…``, which prints a count."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if action == "serve":
            runner.run(serve(int(arguments[0])))
        else:
            url, connections, seconds, *fields = arguments
            print(runner.run(talk(url, int(connections), float(seconds), fields)))


if __name__ == "__main__":
    main(*sys.argv[1:])
