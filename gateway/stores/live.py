"""What the way of a request asks about sessions, wherever they are kept."""

from __future__ import annotations

from typing import Protocol

from gateway.model import Session, SessionKey
from gateway.stores.held import Held


class LiveSessions(Protocol):
    """Live sessions, from memory where possible. A key is that of a cookie that was presented."""

    @property
    def resting(self) -> bool:
        """Whether the store has not answered lately, and is not asked."""
        ...

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session if it is known without asking; None means: ask."""
        ...

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the live session, if there is one.

        Raises:
            StoreUnavailable: Nobody knows whether there is one.
        """
        ...

    async def current(self, session: Session) -> Held | None:
        """Return what a session is by now, wherever a new token has moved it; None: it is over.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        ...

    def forget(self, key: SessionKey) -> None:
        """Ask the store the next time."""
        ...

    def touch_soon(self, session: Session) -> Held:
        """Move the session's expiry; or return it as one that is to be renewed for that."""
        ...

    def slide(self, session: Session) -> Session:
        """Move the expiry of a session whose browser cannot be told now."""
        ...

    def key_of(self, session: Session) -> SessionKey:
        """Return a key for a session that was not only presented: given, or renewed, since."""
        ...

    def told_under(self, session: Session) -> tuple[SessionKey, ...]:
        """Return under which keys a store tells of what concerns a session; its own is among
        them."""
        ...

    def steady(self, key: SessionKey) -> str:
        """Return what stays the same for a session, as far as its cookie says; or nothing."""
        ...

    async def close(self) -> None:
        """Write what is pending, and stop."""
        ...
