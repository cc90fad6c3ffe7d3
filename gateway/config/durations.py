"""Durations and sizes as operators write them, and what has one in it."""

from __future__ import annotations

import re

_LONGEST = 365_000 * 86400.0
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,6})?)"
_DURATION = re.compile(_NUMBER + r"(ms|s|m|h|d|)")
_SIZE = re.compile(r"([0-9]{1,18})(KiB|MiB|GiB|)")


def parse_duration(value: object) -> float:
    """Return seconds.

    Raises:
        ValueError: It is no duration, or not a positive one.
    """
    text = _text(value)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("expected a duration such as 250ms, 30s, 15m, 12h or 30d")
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if seconds <= 0:
        raise ValueError("expected a duration above zero")
    if seconds > _LONGEST:
        raise ValueError("expected a duration of at most 365000d: no calendar goes on for ever")
    return seconds


def parse_period(value: object) -> int:
    """Return whole seconds.

    Raises:
        ValueError: It is no duration, or one with a part of a second.
    """
    seconds = parse_duration(value)
    if not seconds.is_integer():
        raise ValueError("expected whole seconds, such as 1s, 5m or 1h")
    return int(seconds)


def parse_size(value: object) -> int:
    """Return bytes.

    Raises:
        ValueError: It is no size, or not a positive one.
    """
    match = _SIZE.fullmatch(_text(value))
    if match is None:
        raise ValueError("expected a size such as 65536, 64KiB, 1MiB or 1GiB")
    size = int(match[1]) * _BYTES[match[2]]
    if size <= 0:
        raise ValueError("expected a size above zero")
    return size


def parse_outage(value: object) -> float:
    """Return for how many seconds sessions may be stale; zero: ``reject``.

    Raises:
        ValueError: It is neither ``reject`` nor ``serve_stale`` with a duration.
    """
    words = _text(value).split()
    if words == ["reject"]:
        return 0.0
    if len(words) != 2 or words[0] != "serve_stale":
        raise ValueError("expected reject, or serve_stale and a duration, such as serve_stale 60s")
    return parse_duration(words[1])


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
