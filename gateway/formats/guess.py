"""Whose a cookie looks to be, for people who ask; nothing is decided by it."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode

from gateway.formats import token
from gateway.formats.foreign import Refused

GATEWAY = "gateway"
FORMATS = (
    GATEWAY,
    "nextauth",
    "authjs",
    "nextauth-database",
    "iron-session",
    "express-session",
    "next-session",
)
"""As ``session.accept`` calls them; and our own."""

_NAMES = {
    "next-auth.session-token": "nextauth-database",
    "authjs.session-token": "nextauth-database",
    "connect.sid": "express-session",
    "sid": "next-session",
}
_PREFIX = re.compile(r"__(?:Host|Secure)-")
# The first piece of a long one has no more of its segments.
_ENCRYPTED = re.compile(r"eyJ[A-Za-z0-9_-]+\.\.")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
# A header in plain, a nonce, and a tag: one character more than a token has.
_SHORTEST_SEALED = 44
_SEALED_HEAD = 8


def of_value(value: str) -> str | None:
    """Return whose a value looks to be; None: it says nothing, as an opaque id does."""
    if value.startswith(("Fe26.", "fe26.")):
        return "iron-session"
    if value.count(".") == 4 or _ENCRYPTED.match(value):
        return _of_token(value)
    if value.startswith(("s:", "s%3A", "s%3a")):
        return "express-session"
    if token.key_of(value) is not None or sealed_under(value) is not None:
        return GATEWAY
    return None


def of_name(name: str) -> str | None:
    """Return whose a cookie of this name is by itself; None: anybody's."""
    return _NAMES.get(_PREFIX.sub("", name, count=1))


def sealed_under(value: str) -> bytes | None:
    """Return what stands in one of our own sealed cookies for its key; None: it is none."""
    if len(value) < _SHORTEST_SEALED or _BASE64URL.fullmatch(value) is None:
        return None
    head = urlsafe_b64decode(value[:_SEALED_HEAD])
    return head[1:5] if head[:1] == b"\x01" else None


def _of_token(value: str) -> str:
    from gateway.formats import jwe  # brings cryptography

    try:
        members = jwe.read_header(value.partition(".")[0])
    except Refused:
        return "nextauth"
    return "authjs" if members["enc"] == jwe.A256CBC_HS512 or "kid" in members else "nextauth"
