"""One request and what is becoming of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from gateway.errors import ClientError, ClientTimeout, Reason, TooLarge
from gateway.model import SessionId, SessionKey
from gateway.rules.uploads import patience
from gateway.server.answers import Answer, render
from gateway.server.connection import Connection
from gateway.server.fields import Fields

if TYPE_CHECKING:
    from gateway.server.gateway import Identity, RoutePlan
    from gateway.sources.protocol import Source

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange:
    """Gathers what the record at the end will say. Mutable, and gone with the request.

    What was read from the request is set once; ``status``, ``reason`` and the rest are overwritten
    as the request goes its way.
    """

    # Values of the class stand in until something is known: fewer assignments a request.
    host = ""
    path = ""
    """Canonical."""
    query = ""
    plan: RoutePlan | None = None
    status = 0
    """What the client was told; 0 as long as it was told nothing."""
    reason = Reason.INTERNAL  # stands when something unforeseen escapes
    client = ""
    """The client's address; empty until it is known how far that can be trusted."""
    user = ""
    session: SessionId | None = None
    identity: Identity | None = None
    """Who asks, where the route asked."""
    source: Source | None = None
    """Who has issued their session; None: it is the gateway's own."""
    presented: SessionKey | None = None
    """Of the session cookie, on routes whose upstream may say what becomes of the session."""
    set_cookies: tuple[bytes, ...] = ()
    """Header lines that give the browser its session, whatever the answer is."""
    renewed: bytes = b""
    """The session's cookies as they are from this answer on, where they are others now."""
    trace_id = ""
    """Of the ``traceparent`` that the upstream gets, where there is a valid one."""
    bytes_in = 0
    bytes_out = 0
    affinity = ""
    """Who asks, for upstreams that send the same ones to the same target."""
    expects = False
    """Whether the client waits for 100 (Continue) before it sends the body."""
    body_limit: int | None = None
    idle = 60.0
    """Seconds that the client may take between two pieces of the body."""
    waited = 0.0
    """Seconds in which the body was waited for."""

    def __init__(
        self,
        connection: Connection,
        method: str,
        fields: Fields,
        body: StreamReader,
        *,
        request_id: str,
        started: float,
    ) -> None:
        self.connection = connection
        self.method = method
        self.fields = fields
        self.body = body
        self.request_id = request_id
        self.started = started
        """Of ``time.perf_counter``: uvloop's own time stands still for a turn of the loop."""

    # --- the answer --------------------------------------------------------------------------

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request after this one."""
        return not (
            self.fields.last
            or self.expects  # nobody knows whether the body will come
            or self.connection.closing
        )

    def answer(self, answer: Answer, date: bytes, *, keep_alive: bool) -> bool:
        """Write an answer of the gateway's own; return whether the connection goes on."""
        transport = self.connection.transport
        if transport is None:
            return False
        self.status = answer.status
        self.reason = answer.reason
        self.bytes_out = len(answer.body)
        if self.set_cookies:
            cookies = [line.decode("latin-1").split(": ", 1) for line in self.set_cookies]
            fields = ((name, value) for name, value in cookies)
            answer = replace(answer, headers=(*answer.headers, *fields))
        transport.write(
            render(
                answer,
                date=date,
                keep_alive=keep_alive,
                http10=self.http10,
                head=self.method == "HEAD",
            )
        )
        return keep_alive

    @property
    def http10(self) -> bool:
        """Whether the client speaks HTTP/1.0."""
        return self.fields.version < (1, 1)

    # --- the request's body ------------------------------------------------------------------

    @property
    def has_body(self) -> bool:
        """Whether the request has a body that is not empty."""
        return self.body is not EMPTY_PAYLOAD

    def invite_body(self) -> None:
        """Tell a client that waits for it to send the body (RFC 9110 section 10.1.1)."""
        transport = self.connection.transport
        if self.expects and transport is not None:
            self.expects = False
            transport.write(_CONTINUE)

    async def read(self) -> bytes:
        """Return the next piece of the body; empty at its end.

        Raises:
            ClientTimeout: Nothing came for ``idle`` seconds, or all in all too little.
            TooLarge: More than ``body_limit`` has come.
            ClientError: The body's framing is broken.
        """
        connection, body = self.connection, self.body
        connection.waiting_body = body
        began = connection.loop_time()
        connection.deadline = began + patience(self.idle, self.bytes_in, self.waited)
        try:
            data = await body.readany()
        except TimeoutError as exc:
            raise ClientTimeout("the body stopped coming, or came too slowly") from exc
        except ConnectionError:
            raise
        except Exception as exc:
            raise ClientError("the body's framing is broken") from exc
        finally:
            connection.rest()
        self.waited += connection.loop_time() - began
        self.bytes_in += len(data)
        if self.body_limit is not None and self.bytes_in > self.body_limit:
            raise TooLarge(f"a body of more than {self.body_limit} bytes")
        return data

    def take_whole(self) -> bytes | None:
        """Return the body if all of it has come already; None if more is to come.

        Raises:
            TooLarge: It is longer than ``body_limit``.
        """
        body = self.body
        if body is EMPTY_PAYLOAD:
            return b""
        if not body.is_eof() or body.exception() is not None:
            return None
        data = body.read_nowait()
        self.expects = False
        self.bytes_in = len(data)
        if self.body_limit is not None and self.bytes_in > self.body_limit:
            raise TooLarge(f"a body of more than {self.body_limit} bytes")
        return data

    async def read_all(self) -> bytes:
        """Return the whole body, within ``body_limit``."""
        if not self.has_body:
            return b""
        self.invite_body()
        pieces = []
        while data := await self.read():
            pieces.append(data)
        return b"".join(pieces)
