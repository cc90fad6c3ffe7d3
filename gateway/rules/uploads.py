"""How slowly a client may send a body."""

from __future__ import annotations

LEAST_RATE = 500.0
"""Bytes a second that a client has to send in the long run: ``MinRate`` of Apache's
mod_reqtimeout. A limit on the pause alone lets one byte a minute hold a request for ever."""


def patience(idle: float, received: int, waited: float) -> float:
    """Return how many seconds a client may take for the next piece of a body.

    What it sends buys time. Only time in which somebody waits for it counts: a client that is held
    back by a slow upstream uses up nothing.

    Args:
        idle: Seconds that it may take for one piece, and in all before the first byte.
        received: Bytes that have come.
        waited: Seconds in which they were waited for.
    """
    return max(0.0, min(idle, idle + received / LEAST_RATE - waited))
