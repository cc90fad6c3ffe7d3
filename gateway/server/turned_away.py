"""Connections that are not served: all of them counted, few of them told."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

_PAUSE = 5.0
"""Seconds between two lines about the same: floods must not fill the log."""


class Why(StrEnum):
    """Why a connection is closed before a request could come."""

    CONNECTIONS = "connections"
    """More than ``server.limits.connections``."""
    PER_ADDRESS = "connections_per_address"
    """More than ``server.limits.connections_per_address``."""
    PROXY_HEADER = "proxy_header"
    """A trusted peer sent no PROXY header, or not in time."""
    TLS_HANDSHAKE = "tls_handshake"
    """The TLS handshake failed, or took too long."""


_EVENTS = {
    Why.CONNECTIONS: "too many connections",
    Why.PER_ADDRESS: "too many connections from an address",
    Why.PROXY_HEADER: "no PROXY header",
    # Not of failed handshakes: whoever scans the network would write our log.
}


class TurnedAway:
    """Counts connections by why they were closed, and tells the operator.

    Args:
        tell: Called with an event and its fields, at most once in five seconds for each reason.
        call_later: As an event loop has it.
    """

    def __init__(self, tell: Callable[..., None], call_later: Callable[..., object]) -> None:
        self.counts: dict[str, int] = {why.value: 0 for why in Why}
        self._tell = tell
        self._call_later = call_later
        self._untold: dict[Why, int] = {}
        self._last: dict[Why, dict[str, str]] = {}

    def add(self, why: Why, **fields: str) -> None:
        """Count one; ``fields`` say more of it, and are told of the last one."""
        self.counts[why.value] += 1
        if why not in _EVENTS:
            return
        pausing = why in self._untold
        self._untold[why] = self._untold.get(why, 0) + 1
        self._last[why] = fields
        if not pausing:
            self._tell_of(why)

    def _tell_of(self, why: Why) -> None:
        count = self._untold.pop(why)
        if count:
            self._tell(_EVENTS[why], count=count, **self._last.pop(why))
            self._untold[why] = 0
            self._call_later(_PAUSE, self._tell_of, why)
