"""A long cookie in several, as next-auth 4 and Auth.js 5 cut it.

They read loosely: whatever begins with the name is strung together by number, gaps and other
cookies included. Here a value has one way to be written, so that of a cookie that was planted,
lost or left over nothing is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.formats.foreign import Refused, Why

LONGEST = 48 * 1024
"""Characters of a value that are looked at: twelve pieces, more than Node takes in a head."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")
_NUMBERED = re.compile(r"[0-9]{1,3}")


def belongs(cookie: str, name: str) -> bool:
    """Whether a cookie is the one of this name, or one that could be a piece of it."""
    return cookie.startswith(name) and (
        len(cookie) == len(name)
        or (cookie[len(name)] == "." and _NUMBERED.fullmatch(cookie, len(name) + 1) is not None)
    )


def pieces(cookies: Mapping[str, str], name: str) -> str | None:
    """Return the value that cookies hold under a name; None where there is none.

    Empty ones count as absent, as Auth.js has it.

    Args:
        cookies: By name; others are passed over. One that came twice must not be among them.

    Raises:
        Refused: A piece is missing or there twice, or the whole cookie is beside pieces.
    """
    whole = cookies.get(name)
    parts: dict[int, str] = {}
    for cookie, value in cookies.items():
        if value and cookie != name and belongs(cookie, name):
            number = cookie[len(name) + 1 :]
            if _NUMBER.fullmatch(number) is None:
                raise Refused(Why.BAD_CHUNKS, "a piece whose number begins with a zero")
            parts[int(number)] = value
    if not parts:
        joined = whole or None
    elif whole:
        raise Refused(Why.BAD_CHUNKS, "the whole cookie and pieces of one")
    elif max(parts) != len(parts) - 1:
        raise Refused(Why.BAD_CHUNKS, "a piece is missing")
    else:
        joined = "".join([parts[number] for number in range(len(parts))])
    if joined is not None and len(joined) > LONGEST:
        raise Refused(Why.TOO_LARGE, f"more than {LONGEST} characters")
    return joined


def split(name: str, value: str, size: int) -> dict[str, str]:
    """Return the cookies that hold a value, by name: one, or as many as it takes.

    Args:
        size: Most characters of a value in one cookie.
    """
    if len(value) <= size:
        return {name: value}
    starts = range(0, len(value), size)
    return {f"{name}.{number}": value[at : at + size] for number, at in enumerate(starts)}


def left_over(present: Iterable[str], name: str, written: Iterable[str]) -> list[str]:
    """Return the cookies of a name that a browser holds and that must go, in their order.

    The frameworks do the same: what they do not write anew they clear.
    """
    kept = frozenset(written)
    return [cookie for cookie in present if belongs(cookie, name) and cookie not in kept]
