"""What makes a cookie's value of a session, and a session of such a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.model import SealedSession


class CookieSeal(Protocol):
    """One format, with the keys for one cookie."""

    def seal(self, session: SealedSession, random: Callable[[int], bytes]) -> str:
        """Return the text that holds a session, whatever its length.

        Args:
            random: Returns that many bytes nobody can guess.
        """
        ...

    def unseal(self, text: str, *, now: float) -> SealedSession:
        """Return the session that a text holds.

        Raises:
            BadCookie: It holds none of ours, or one that is over.
        """
        ...
