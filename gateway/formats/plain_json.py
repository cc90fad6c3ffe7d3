"""JSON of which every reader makes the same: from upstreams, clients and operators' functions.

Two parsers may read a name that is there twice, ``NaN`` or half a surrogate pair differently, and
what nests without end exhausts one of them. Such values are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

DEEPEST = 32
"""Levels of arrays and objects in each other."""

_INTEGERS = range(-(2**63), 2**64)
"""What other languages read as a whole number."""


class NotPlain(ValueError):
    """A value that is no such JSON; says why, and nothing of the value itself."""


def parse(raw: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        NotPlain: It is none.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_constant)
    except NotPlain:
        raise
    except UnicodeDecodeError as exc:
        raise NotPlain("not UTF-8") from exc
    except (ValueError, RecursionError) as exc:
        raise NotPlain("not JSON") from exc
    return copied(value)


def copied(value: object) -> Any:
    """Return a copy of a value that shares nothing with it; tuples become lists.

    Raises:
        NotPlain: JSON cannot express it.
    """
    return _copied(value, DEEPEST)


def _copied(value: object, levels: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if value not in _INTEGERS:
            raise NotPlain("a whole number of more than 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotPlain("a number without end")
        return float(value)
    if not levels:
        raise NotPlain(f"more than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {_name(name): _copied(one, levels - 1) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_copied(one, levels - 1) for one in value]
    raise NotPlain(f"a value of type {type(value).__name__}")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise NotPlain(f"a name of type {type(name).__name__}")
    return _text(name)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise NotPlain("half a surrogate pair") from exc
    return str(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NotPlain("a name twice in one object")
    return members


def _constant(_: str) -> object:
    raise NotPlain("a number without end")
