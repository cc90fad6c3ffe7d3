"""next-session 4 with a connect store in Redis: a session id in the cookie, JSON in Redis.

The id is not signed, unless the app does so with its ``encode`` and ``decode`` options; its manual
shows how to sign as express does. As there, the life of the key in Redis counts.

Source: next-session 4.0.5, connect-redis 7.1.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.formats import express, js_dates
from gateway.formats.foreign import Refused, Why

# They would stand where the session's own id and functions are: a body made for another reader.
_NAMES_OF_ITS_OWN = frozenset({"id", "commit", "destroy", "touch"})


def session_id(value: str, secrets: Sequence[str] = ()) -> str:
    """Return the id that a cookie holds.

    Args:
        secrets: None where the app does not sign.

    Raises:
        Refused: It is none, or is not signed by one of the secrets.
    """
    if secrets:
        return express.session_id(value, secrets)
    express.check_length(value)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise Refused(Why.MALFORMED, "is no text") from exc
    return value


def entry(raw: bytes) -> dict[str, Any]:
    """Return what Redis holds of a session, its ``cookie`` included.

    Raises:
        Refused: It is no session.
    """
    found = express.entry(raw)
    if not _NAMES_OF_ITS_OWN.isdisjoint(found):
        raise Refused(Why.BAD_ENTRY, "what the store holds has names that next-session uses itself")
    return found


def idle(entry: Mapping[str, Any]) -> float | None:
    """Return the seconds that a touch gives the key; None: the store's own ``ttl``."""
    return express.life(entry["cookie"].get("maxAge"), 1)


def due(entry: Mapping[str, Any], now: float, touch_after: float) -> bool:
    """Whether the app would touch a session at this request.

    Args:
        touch_after: Its option of that name, in seconds; below 0: never, which is the default.
    """
    cookie = entry["cookie"]
    expires, age = cookie.get("expires"), idle(entry)
    moment = js_dates.of_text(expires, zone=True) if isinstance(expires, str) else None
    if touch_after < 0 or moment is None or age is None:
        return False
    return js_dates.now_ms(now) - (moment - age * 1000) >= touch_after * 1000
