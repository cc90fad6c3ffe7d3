"""One connection to a Redis server: any number of requests under way, answered in order.

Not redis-py: its client costs some 40 µs around a command and lends a connection to one user at a
time. Here a command costs what packing and parsing it costs (hiredis, in C), and all that wait
share one connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any, cast

import hiredis

Command = tuple[str | bytes | int, ...]
Address = tuple[str, int]


class Refused(Exception):
    """Redis answered with an error; its first word says which."""

    @property
    def code(self) -> str:
        """Such as ``MOVED``, ``READONLY``, ``NOPERM``."""
        return str(self).partition(" ")[0]


class NotPrimary(ConnectionError):
    """The server is a replica by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What a new connection says first."""

    tls: SSLContext | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    primary_only: bool = False
    """Whether a server that is a replica will not do: it may lag behind a sign-out."""


_INCOMPLETE = object()
_pack = cast(Callable[[Command], bytes], hiredis.pack_command)  # its stub allows one word only


class RedisLink(asyncio.Protocol):
    """A connection, from ``connect`` until it is lost or aborted.

    Args:
        pushed: Gets every message that answers no command.
        lost: Called once, when the connection is gone.
    """

    def __init__(
        self,
        pushed: Callable[[list[Any]], None] | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        self._pushed = pushed
        self._lost = lost
        self._reader = hiredis.Reader(replyError=Refused, notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int, list[Any]]] = deque()
        self._gone = asyncio.Event()
        self.closed = False

    def ask(self, *commands: Command) -> asyncio.Future[list[Any]]:
        """Send commands in one write; the answers come together, errors among them as values.

        Who waits no longer changes nothing for the others. ``ConnectionError`` when the connection
        is lost before the last answer.
        """
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if self._transport is None or self.closed:
            future.set_exception(ConnectionResetError("the connection to Redis is closed"))
            return future
        self._waiting.append((future, len(commands), []))
        self._transport.write(b"".join(map(_pack, commands)))
        return future

    def abort(self, why: str = "the connection to Redis was given up") -> None:
        """Drop the connection at once; whoever waits for an answer gets an error."""
        if self._transport is not None:
            self._transport.abort()
        self._end(ConnectionResetError(why))

    async def close(self) -> None:
        """Drop the connection, and return when it is gone."""
        self.abort()
        await self._gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand answers to who asked, first come, first served."""
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _INCOMPLETE:
                if type(reply) is hiredis.PushNotification:
                    if self._pushed is not None:
                        self._pushed(reply)
                    continue
                future, wanted, answers = waiting[0]
                answers.append(reply)
                if len(answers) == wanted:
                    waiting.popleft()
                    if not future.done():
                        future.set_result(answers)
        except (hiredis.ProtocolError, IndexError):
            self.abort("what answers is no Redis")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._gone.set()
        self._end(ConnectionResetError("Redis closed the connection"))

    def _end(self, error: ConnectionError) -> None:
        if self.closed:
            return
        self.closed = True
        while self._waiting:
            future, _, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
        if self._lost is not None:
            self._lost()


async def connect(
    address: Address,
    greeting: Greeting,
    *,
    pushed: Callable[[list[Any]], None] | None = None,
    lost: Callable[[], None] | None = None,
    then: Sequence[Command] = (),
) -> RedisLink:
    """Return a connection that is signed in and speaks RESP3.

    Args:
        then: Sent after the greeting; an error in answer to any of it is one here.

    Raises:
        OSError: There is none to be had: no such server, no valid certificate, not the primary.
        Refused: Redis will not have us.
    """
    hello: Command = ("HELLO", 3)
    if greeting.username or greeting.password:
        hello = (*hello, "AUTH", greeting.username or "default", greeting.password)
    commands = [hello]
    if greeting.database:
        commands.append(("SELECT", greeting.database))
    if greeting.primary_only:
        commands.append(("ROLE",))
    link = await open_link(address, greeting, pushed=pushed, lost=lost)
    try:
        answers = await link.ask(*commands, *then)
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        if greeting.primary_only and answers[len(commands) - 1][0] != b"master":
            raise NotPrimary("the server is no primary any more")
    except BaseException:
        await link.close()
        raise
    return link


async def open_link(
    address: Address,
    greeting: Greeting,
    *,
    pushed: Callable[[list[Any]], None] | None = None,
    lost: Callable[[], None] | None = None,
) -> RedisLink:
    """Return a connection on which nothing was said yet."""
    host, port = address
    _, link = await asyncio.get_running_loop().create_connection(
        lambda: RedisLink(pushed, lost), host, port, ssl=greeting.tls
    )
    return link
