"""Requests at a fixed rate, whether those before were answered or not, and what became of each."""

from __future__ import annotations

import asyncio
import itertools
import json
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic

from tests.faults.traffic import KINDS, Kind, download, target, upload
from tests.integration.wire import Head, parse_head

PATIENCE = 10.0
"""Seconds after which a request counts as hung: more than any limit that a test sets."""


class Outcome(StrEnum):
    """How a request ended, as its client saw it."""

    WHOLE = "whole"
    """200, with every byte that it should have."""
    TOLD = "told"
    """A whole answer of the gateway's own: a status from 500, and a problem document."""
    BROKEN = "broken"
    """200, and then visibly less than was announced; what came was right."""
    LOST = "lost"
    """The connection ended without a byte of an answer."""
    REFUSED = "refused"
    """Nobody listened: nothing was asked."""
    WRONG = "wrong"
    """An answer that is none to this request, or less than it should be and looks whole."""
    HUNG = "hung"
    """Not over within ``PATIENCE``."""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    cookie: str = ""
    """``name=value``; empty for somebody who is not signed in."""


NOBODY = User("")


@dataclass(slots=True)
class Result:
    """A request and how it ended. Times are of the monotonic clock, durations in seconds."""

    nonce: str
    kind: Kind
    due: float
    outcome: Outcome = Outcome.HUNG
    status: int = 0
    told_after: float = PATIENCE
    """From when it was due to the whole head of its answer, or to its end without one."""
    took: float = PATIENCE
    reused: bool = False
    """Whether its connection had carried a request before."""
    detail: str = ""

    @property
    def label(self) -> str:
        return str(self.status) if self.outcome is Outcome.TOLD else str(self.outcome)


class Connection:
    """A connection to the gateway that carries one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._used = False
        self.usable = True
        """Whether it can carry another request."""

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    @property
    def ended(self) -> bool:
        """Whether the gateway has closed it."""
        return self._reader.at_eof()

    async def ask(self, path: str, user: User, result: Result) -> None:
        """Send the request, and fill in what became of it."""
        self.usable, result.reused = False, self._used
        self._used = True
        kind, nonce = result.kind, result.nonce
        body = upload(nonce, user.id, kind.upload)
        with suppress(ConnectionError):  # the answer may have come before
            await self._send(path, user, kind, nonce, body)
        try:
            head = parse_head(await self._reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            said = error.partial if isinstance(error, asyncio.IncompleteReadError) else b""
            result.outcome = Outcome.WRONG if said else Outcome.LOST
            result.detail = repr(error)
            return
        finally:
            result.told_after = monotonic() - result.due
        assert head.start.startswith("HTTP/1.1 "), head.start
        result.status = int(head.start.split(" ")[1])
        got, whole = await self._body(head, kind)
        self.usable = whole and head.get("Connection") is None
        right = b"" if kind.method == "HEAD" else download(nonce, user.id, kind.download, body)
        _judge(result, head, got, whole, right, user)

    async def _send(self, path: str, user: User, kind: Kind, nonce: str, body: bytes) -> None:
        lines = [
            f"{kind.method} {target(path, nonce, kind)} HTTP/1.1",
            "Host: localhost",
            "Accept: application/json",
        ]
        if user.cookie:
            lines.append(f"Cookie: {user.cookie}")
        if kind.upload_chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        elif kind.method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode()
        if kind.split:
            half = len(body) // 2
            for piece in (head, body[:half]):
                self._writer.write(piece)
                await asyncio.sleep(0.002)  # so that the gateway gets them one by one
            self._writer.write(body[half:])
        else:
            self._writer.write(head + body)
        await self._writer.drain()

    async def _body(self, head: Head, kind: Kind) -> tuple[bytes, bool]:
        """Return what came of the body, and whether that is as much as the head announced."""
        got = b""
        if kind.method == "HEAD":
            return got, True
        length = head.get("Content-Length")
        try:
            if length is not None:
                return await self._reader.readexactly(int(length)), True
            assert head.get("Transfer-Encoding") == "chunked", head.raw
            while size := int(await self._reader.readuntil(b"\r\n"), 16):
                got += await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
        except asyncio.IncompleteReadError as error:
            return (got, False) if length is None else (error.partial, False)
        except ConnectionError:
            return got, False
        return got, True

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


def _judge(result: Result, head: Head, got: bytes, whole: bool, right: bytes, user: User) -> None:
    """Say what an answer is, given the body that came and the one that would be right."""
    result.outcome = Outcome.WRONG
    if result.status == 200:
        own = head.get("X-Nonce") == result.nonce and head.get("X-User") == user.id
        if own and whole and got == right:
            result.outcome = Outcome.WHOLE
        elif own and not whole and right.startswith(got):
            result.outcome = Outcome.BROKEN
    elif result.status >= 500 and whole and head.get("X-Nonce") is None:
        problem = head.get("Content-Type") == "application/problem+json"
        busy = result.status != 503 or head.get("Retry-After") is not None
        if problem and busy and head.get("Cache-Control") == "no-store" and _says(got, result):
            result.outcome = Outcome.TOLD
    if result.outcome is Outcome.WRONG:
        result.detail = f"{head.raw!r} {len(got)} bytes, whole: {whole}"


def _says(problem: bytes, result: Result) -> bool:
    return result.kind.method == "HEAD" or json.loads(problem)["status"] == result.status


def _due(result: Result) -> float:
    return result.due


class Load:
    """Sends ``rate`` requests a second, of all kinds and for all users in turn.

    A request takes the connection that was used last, or a new one where none is free: answers
    that do not come keep nobody else waiting.

    Args:
        path: The first segment of the paths asked for.
        name: What its nonces begin with.
    """

    def __init__(
        self, port: int, path: str, name: str, *, rate: float, users: Sequence[User] = (NOBODY,)
    ) -> None:
        self._port = port
        self._path = path
        self._name = name
        self._rate = rate
        self._users = users
        self._free: list[Connection] = []
        self._asking: set[asyncio.Task[None]] = set()
        self.results: list[Result] = []
        self.answered = 0
        """How many requests were answered as they should be."""
        self.stall = 0.0
        """By how many seconds a request was sent too late, at most: the machine was busy."""
        self._over = False
        self._pacing = asyncio.ensure_future(self._pace())

    def sent_after(self, moment: float) -> int:
        """Return how many requests were due after a moment."""
        return len(self.results) - bisect_right(self.results, moment, key=_due)

    async def _pace(self) -> None:
        began = monotonic()
        for number in itertools.count():
            due = began + number / self._rate
            await asyncio.sleep(due - monotonic())
            if self._over:
                return
            self.stall = max(self.stall, monotonic() - due)
            result = Result(f"{self._name}-{number}", KINDS[number % len(KINDS)], due)
            self.results.append(result)
            # Users change with every round of kinds, so that everybody asks in every way.
            user = self._users[(number // len(KINDS)) % len(self._users)]
            task = asyncio.ensure_future(self._ask(user, result))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, user: User, result: Result) -> None:
        connection = None
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await self._connection()
                await connection.ask(self._path, user, result)
        except ConnectionRefusedError:
            result.outcome = Outcome.REFUSED
        except (AssertionError, ValueError) as error:
            result.outcome, result.detail = Outcome.WRONG, repr(error)
        except TimeoutError:
            pass  # and it counts as hung
        finally:
            result.took = monotonic() - result.due
            self.answered += result.outcome is Outcome.WHOLE
            if connection is not None and connection.usable and not self._over:
                self._free.append(connection)
            elif connection is not None:
                await connection.close()

    async def _connection(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.ended:
                return connection
            await connection.close()
        return await Connection.open(self._port)

    async def end(self) -> list[Result]:
        """Send no more, wait for what is under way, and return what became of all requests."""
        self._over = True
        await self._pacing
        await asyncio.gather(*self._asking)
        await asyncio.gather(*(connection.close() for connection in self._free))
        self._free.clear()
        return self.results
