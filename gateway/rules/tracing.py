"""``traceparent``: which trace a request belongs to.

Source: W3C Trace Context section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BYTES = 24
"""How much randomness a new ``traceparent`` takes."""

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]*)?"
)


def trace_id(values: Sequence[str]) -> str:
    """Return the trace that the values of ``traceparent`` name; empty if they name none.

    What is not valid is no trace: an upstream begins a new one.
    """
    if len(values) != 1:
        return ""
    match = _TRACEPARENT.fullmatch(values[0])
    if match is None or (match[1] == "00" and match[3] is not None):
        return ""
    return match[2]


def new_trace(random: bytes) -> tuple[str, str]:
    """Return the id and the ``traceparent`` of a trace that begins here, to be recorded."""
    found = random[:16].hex()
    return found, f"00-{found}-{random[16:BYTES].hex()}-01"
