"""No store at all: for sessions that are kept in cookies alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from gateway.model import Session, SessionId, SessionKey
from gateway.stores.protocol import Watcher


class Nowhere:
    """A ``SessionStore`` that keeps nothing, and of which nothing is expected."""

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Return at once: there is nothing that could fail."""

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return that there is nothing."""
        return [None] * len(keys)

    async def create(self, session: Session) -> None:
        """Keep nothing."""

    async def touch(self, session: Session) -> bool:
        """Change nothing: nothing is there."""
        return False

    async def update(self, session: Session) -> bool:
        """Change nothing: nothing is there."""
        return False

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Change nothing: nothing is there."""
        return False

    async def delete(self, key: SessionKey) -> bool:
        """End nothing: nothing is there."""
        return False

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End nothing: nothing is there."""
        return 0

    async def find(self, session_id: SessionId) -> Session | None:
        """Return that there is nothing."""
        return None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return that there is nothing."""
        return []

    async def all(self) -> AsyncIterator[Session]:
        """Go through nothing."""
        return
        yield

    def watch(self, watcher: Watcher) -> None:
        """Nothing ever changes."""
        watcher.trust(True)
