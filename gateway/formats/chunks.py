"""A long cookie in several, since browsers take no more than some 4 KiB each."""

from __future__ import annotations

from collections.abc import Mapping

MOST = 4
"""Cookies that a value may be cut into: proxies refuse a much longer head."""
LONGEST = 3900
"""Characters of a name and its value together; with the attributes still below 4096."""


def slots(name: str) -> tuple[str, ...]:
    """Return every name under which something of a cookie may be."""
    return (name, *(f"{name}.{number}" for number in range(MOST)))


def split(name: str, value: str, piece: int | None = None) -> dict[str, str] | None:
    """Return the cookies that hold a value, by name; None: it does not fit.

    Args:
        piece: Characters of the value that one cookie takes, where another framework has the say.
    """
    if len(value) <= (LONGEST - len(name) if piece is None else piece):
        return {name: value}
    size = LONGEST - len(name) - len(".0") if piece is None else piece
    pieces = [value[at : at + size] for at in range(0, len(value), size)]
    if len(pieces) > MOST:
        return None
    return dict(zip(slots(name)[1:], pieces, strict=False))


def join(name: str, cookies: Mapping[str, str]) -> str | None:
    """Return the value that cookies hold; None where there is none, or not exactly one.

    A whole one beside pieces, or a piece without the one before it, is a mixture that we never
    made: somebody planted a cookie, or the browser has lost one.
    """
    pieces = [cookies.get(slot) for slot in slots(name)[1:]]
    there = [piece for piece in pieces if piece is not None]
    whole = cookies.get(name)
    if whole is not None:
        return None if there else whole
    if not there or None in pieces[: len(there)]:
        return None
    return "".join(there)
