"""Keys under which the store has just had nothing."""

from __future__ import annotations

from gateway.model import SessionKey

_KNOWN_FOR = 1.0
_MOST = 10_000


class Absent:
    """Remembers for a second that there is no session, so that a dead cookie asks once a second.

    That there is one after all, the store's changes tell: then ``forget`` is called.
    """

    def __init__(self) -> None:
        self._until: dict[SessionKey, float] = {}
        self.clear = self._until.clear

    def add(self, key: SessionKey, now: float) -> None:
        """Remember; ``now`` never goes back."""
        if len(self._until) >= _MOST:  # whoever makes up cookies gains nothing by their number
            self._until.clear()
        self._until[key] = now + _KNOWN_FOR

    def forget(self, key: SessionKey) -> None:
        """Remember no longer."""
        self._until.pop(key, None)

    def holds(self, key: SessionKey, now: float) -> bool:
        """Whether there was nothing a moment ago."""
        until = self._until.get(key)
        if until is None:
            return False
        if now < until:
            return True
        del self._until[key]
        return False
