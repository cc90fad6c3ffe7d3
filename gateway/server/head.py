"""What a request's header section says under one configuration, to policy and to the upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import hdrs
from aiohttp.http import HttpVersion, HttpVersion10, HttpVersion11

from gateway.errors import (
    ClientError,
    CodingRefused,
    ExpectationFailed,
    HeadTooLarge,
    VersionRefused,
)
from gateway.model import SessionKey
from gateway.rules import cookies, provenance
from gateway.rules.app_cookies import Sorted
from gateway.rules.forwarded import client_address, is_trusted
from gateway.rules.tracing import trace_id
from gateway.server.connection import Connection
from gateway.server.fields import Fields
from gateway.server.gateway import Gateway, RoutePlan
from gateway.server.reading import MAX_HEAD
from gateway.sources.protocol import Source

_TRACE = (b"traceparent", b"tracestate:")
_SIMPLE = HttpVersion(0, 9)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")


@dataclass(slots=True, eq=False)
class Head:
    """What a header section says, under one configuration."""

    gateway: Gateway
    fields: Sequence[tuple[bytes, bytes]]
    host_header: str | None
    key: SessionKey | None
    """Of the session cookie, where there is exactly one and it looks like ours."""
    own: bytes
    """The cookies of ``key``, as they were sent; empty where no upstream reads them."""
    others: bytes
    """The rest of ``Cookie``, for upstreams."""
    app: Sorted | None
    """The rest, where cookies of other frameworks' sessions are in it, sorted."""
    client: str
    """The client's address as far as it can be trusted."""
    request_id: str | None
    """The one that a trusted proxy gave."""
    provenance: bytes
    """``X-Forwarded-*`` and ``Forwarded`` for the upstream."""
    trace_id: str
    """Of a valid ``traceparent``; empty: there is none."""
    plan: RoutePlan | None = None
    block: bytes = b""
    """Every field for the upstream that does not depend on who asks, for routes of ``plan``."""
    keys: dict[Source, SessionKey | None] | None = None
    """Of sources' sessions, as far as somebody has asked."""

    def key_of(self, source: Source) -> SessionKey | None:
        """Return the key of a source's session, if its cookies were sent."""
        if self.app is None:
            return None
        if self.keys is None:
            self.keys = {}
        if source not in self.keys:
            self.keys[source] = source.key(self.app.found)
        return self.keys[source]

    def steady(self) -> str:
        """Return what stays the same for an app's session, as far as its cookie says."""
        if self.app is None:
            return ""
        keys = ((source, self.key_of(source)) for source in self.gateway.sources)
        return next((source.steady(key) for source, key in keys if key is not None), "")

    def for_route(self, plan: RoutePlan) -> bytes:
        """Return the fields for a route's upstream, ``Host`` first."""
        if plan is not self.plan:
            host = plan.host
            if host is None:
                # HTTP/1.0 may leave it out; towards the upstream there is one always.
                host = (self.host_header or plan.pool.upstream.target.authority).encode()
            lines, _ = plan.fields.split(self.fields)
            if self.gateway.tracing and not self.trace_id:
                # A tracestate belongs to its traceparent, and there will be another one.
                lines = [line for line in lines if line[:11].lower() not in _TRACE]
            if self.app is not None:
                self.others = self.app.for_upstream(plan.pool.upstream.name)
            if self.others and not plan.carries:
                lines.append(b"Cookie: " + self.others)
            self.block = b"\r\n".join([b"Host: " + host, *lines, *plan.set_lines, self.provenance])
            self.plan = plan
        return self.block

    def with_session(self, renewed: bytes, *, ours: bool) -> bytes:
        """Return the ``Cookie`` field for an upstream that reads the session's cookie itself.

        It gets the cookie that was checked, and nothing that its framework would take for a part
        of it: those read whatever begins with the name.

        Args:
            renewed: The session's cookies that the browser is about to get; empty: it has them.
            ours: Whether they are who somebody is signed in by.
        """
        name = self.gateway.session_cookie
        there = [part for part in self.others.split(b"; ") if part and not part.startswith(name)]
        if ours:
            there.append(renewed or self.own)
        return b"Cookie: %b\r\n" % b"; ".join(there) if there else b""


def read_head(gateway: Gateway, connection: Connection, fields: Fields) -> Head:
    """Return what a request's header section says.

    Raises:
        ClientError: What aiohttp's parser lets pass though RFC 9112 does not.
    """
    known: Head | None = fields.head
    if known is not None and known.gateway is gateway:
        return known
    head = fields.head = _read(gateway, connection, fields)
    return head


def _read(gateway: Gateway, connection: Connection, fields: Fields) -> Head:
    headers = fields.headers
    _check_framing(fields)
    host = headers.get(hdrs.HOST)
    values = [value for name, value in fields.raw if name.lower() == b"cookie"]
    own, others = cookies.read(values, gateway.own_cookies)
    peer = connection.peer
    client, request_id = peer, None
    proto = "https" if connection.secure else gateway.public_scheme
    if is_trusted(peer, gateway.trusted, gateway.trust_unix):
        chain = headers.getall("X-Forwarded-For", [])
        client = client_address(peer, chain, gateway.trusted, gateway.trust_unix)
        given = headers.get("X-Request-Id")
        request_id = given if given is not None and _REQUEST_ID.fullmatch(given) else None
        block = provenance.provenance_block(
            peer=peer,
            chain=chain,
            elements=headers.getall("Forwarded", []),
            host=provenance.believed_host(headers.get("X-Forwarded-Host"), host or ""),
            proto=provenance.believed_proto(headers.get("X-Forwarded-Proto"), proto),
        )
    else:
        block = provenance.provenance_block(
            peer=peer, chain=(), elements=(), host=host or "", proto=proto
        )
    app = None if gateway.app_cookies is None else gateway.app_cookies.sort(others)
    return Head(
        gateway=gateway,
        fields=fields.raw,
        host_header=host,
        key=gateway.cookies.key(
            {name.decode("latin-1"): value.decode("latin-1") for name, value in own.items()}
        )
        if own
        else None,
        own=_session(own, gateway.session_cookie) if own and gateway.carries else b"",
        others=others,
        app=app,
        client=client,
        request_id=request_id,
        trace_id=trace_id(headers.getall("Traceparent", ())),
        provenance=block,
    )


def _session(own: Mapping[bytes, bytes], name: bytes) -> bytes:
    return b"; ".join(b"%b=%b" % pair for pair in own.items() if pair[0].startswith(name))


def _check_framing(fields: Fields) -> None:
    version = fields.version
    if version == _SIMPLE:
        raise ClientError("a request line without a version")
    if version not in (HttpVersion10, HttpVersion11):
        raise VersionRefused(f"HTTP/{version.major}.{version.minor}")
    if sum(len(name) + len(value) + 4 for name, value in fields.raw) > MAX_HEAD:
        raise HeadTooLarge(f"a head of more than {MAX_HEAD} bytes")
    codings = fields.headers.getall(hdrs.TRANSFER_ENCODING, [])
    if not codings:
        return
    if version == HttpVersion10:
        raise ClientError("Transfer-Encoding in HTTP/1.0")  # RFC 9112 section 6.1
    if len(codings) > 1 or not fields.chunked:
        raise ClientError("a Transfer-Encoding that does not end in chunked")
    if codings[0].strip().lower() != "chunked":
        raise CodingRefused("a transfer coding besides chunked")


def expects_continue(fields: Fields) -> bool:
    """Whether the client waits for 100 (Continue) before it sends the body.

    Raises:
        ExpectationFailed: It expects something else.
    """
    expected = fields.headers.get(hdrs.EXPECT)
    if expected is None or fields.version == HttpVersion10:
        return False
    if expected.lower() != "100-continue":
        raise ExpectationFailed("an expectation that is not 100-continue")
    return True
