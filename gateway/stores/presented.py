"""Keys of sessions that are kept in cookies: they bring along what the session is opened from."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from gateway.formats import chunks
from gateway.model import SealedSession, SessionKey


class Presented(str):
    """The key of a cookie that holds a session: the SHA-256 of what it holds, which is not shown.

    Whoever remembers it can have the session opened again.
    """

    __slots__ = ("text",)

    text: str


class InHand(str):
    """The key of a session that somebody has opened already."""

    __slots__ = ("session",)

    session: SealedSession


def presented(name: str, cookies: Mapping[str, str]) -> SessionKey | None:
    """Return the key of the session that cookies hold; None: they hold none. Nothing is opened."""
    text = chunks.join(name, cookies)
    if not text:
        return None
    key = Presented(sha256(text.encode("latin-1", "replace")).hexdigest())
    key.text = text
    return SessionKey(key)
