"""JSON objects that other frameworks keep in cookies and stores."""

from __future__ import annotations

from typing import Any

from gateway.formats import javascript_json
from gateway.formats.foreign import Refused, Why

LARGEST = 1024 * 1024
"""Bytes of what is read at all: some apps keep a whole shopping cart in a session."""


def read(raw: bytes, why: Why, what: str) -> dict[str, Any]:
    """Return the object that a JSON text is.

    Args:
        why: What it is refused as.
        what: What it is, for the message.

    Raises:
        Refused: It is no object, or too large.
    """
    if len(raw) > LARGEST:
        raise Refused(why, f"{what} has more than {LARGEST} bytes")
    try:
        found = javascript_json.parse(raw)
    except ValueError as exc:
        raise Refused(why, f"{what} is no JSON") from exc
    if not isinstance(found, dict):
        raise Refused(why, f"{what} is no JSON object")
    return found
