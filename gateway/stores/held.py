"""A session in this process's memory."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Session, SessionKey


@dataclass(slots=True, eq=False)
class Held:
    """A session, and what its caller made of it: the same object while the copy is kept."""

    session: Session
    caller: object | None = None
    """Free for whoever asks, such as the headers built from this session. None at first."""
    stale: bool = False
    """Whether the store could not confirm it: it is what was true a while ago."""


class Recall:
    """What callers made of sessions, for those that the store returns unchanged: as an object.

    Args:
        most: How many are remembered.
    """

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._held: dict[SessionKey, Held] = {}

    def held(self, session: Session) -> Held:
        """Return the session as it is held; with what was made of it, if it is the same."""
        known = self._held.get(session.key)
        if known is not None and known.session is session:
            return known
        if len(self._held) >= self._most:
            self._held.clear()
        held = self._held[session.key] = Held(session)
        return held
