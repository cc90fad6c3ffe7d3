"""Answers that the gateway makes itself: small, complete, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.errors import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole response of the gateway's own.

    ``Date``, ``Content-Length`` and the connection's headers are added when it is written.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    reason: Reason = Reason.PAGE
    """For log and metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What a page or endpoint of the gateway itself may look at."""

    method: str
    path: str
    """Canonical, as matched."""
    query: str
    """Without ``?``."""
    headers: Mapping[str, str]
    """Case-insensitive."""
    cookies: Mapping[str, str]
    """By name, only those that were sent exactly once. Values as sent."""
    app_cookies: Mapping[str, bytes] = field(default_factory=dict)
    """Those of other frameworks' sessions, by the same rules as on routes."""
    body: bytes = b""
    """At most 64 KiB; more was refused with 413."""
    client: str = ""
    request_id: str = ""
    navigation: bool = True


HTML = ("Content-Type", "text/html; charset=utf-8")
JSON = ("Content-Type", "application/json")
NO_STORE = ("Cache-Control", "no-store")


def render(answer: Answer, *, date: bytes, keep_alive: bool, http10: bool, head: bool) -> bytes:
    """Return the bytes of an answer, ready for the wire.

    Args:
        date: The value of ``Date``.
        keep_alive: Whether the connection stays open afterwards.
        http10: Whether the client speaks HTTP/1.0, which has to be told that it stays open.
        head: Whether the request's method is HEAD: everything but the body.
    """
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    lines = [f"HTTP/1.1 {answer.status} {phrase}".encode(), b"Date: " + date]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in answer.headers]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines.append(b"Content-Length: %d" % len(answer.body))
    if not keep_alive:
        lines.append(b"Connection: close")
    elif http10:
        lines.append(b"Connection: keep-alive")
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if head else answer.body)
