"""What the way of a request asks of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.config.accepted import Accepted
from gateway.model import Session, SessionKey
from gateway.stores.held import Held
from gateway.stores.protocol import Watcher


class Source(Protocol):
    """Sessions that one app issues. They are ``LiveSessions`` that nobody here begins or ends."""

    config: Accepted
    name: str

    @property
    def resting(self) -> bool:
        """Whether its store has not answered lately, and is not asked."""
        ...

    @property
    def heard(self) -> bool:
        """Whether it tells of every change; otherwise who wants to know has to ask."""
        ...

    def key(self, cookies: Mapping[str, bytes]) -> SessionKey | None:
        """Return the key of the session that cookies hold; None: they hold none.

        Args:
            cookies: Those that were sent once, as they were sent.
        """
        ...

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session if it is known without asking; None means: ask."""
        ...

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the live session under a key.

        Raises:
            StoreUnavailable: Nobody knows whether there is one.
        """
        ...

    async def current(self, session: Session) -> Held | None:
        """Return what a session is by now; None: it is over.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        ...

    def due(self, session: Session, now: float) -> bool:
        """Whether the gateway is to move the session's end, by the framework's rule."""
        ...

    def touch(self, session: Session, now: float) -> Held:
        """Move its end, where it is kept."""
        ...

    def renewed(
        self, key: SessionKey, cookies: Mapping[str, bytes], now: float, *, moved: bool
    ) -> tuple[str, ...]:
        """Return the ``Set-Cookie`` values that let a browser keep a session longer.

        Args:
            moved: Whether its end was moved just now, where it is kept.
        """
        ...

    def steady(self, key: SessionKey) -> str:
        """Return what stays the same for a session as long as it lives; or nothing."""
        ...

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change."""

    async def open(self) -> None:
        """Make it usable."""

    async def close(self) -> None:
        """Release everything."""

    async def ping(self) -> None:
        """Return if it can be asked now; StoreUnavailable otherwise."""
