"""Stand-ins for tests of what lies before a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from gateway.model import Session, SessionId, SessionKey
from gateway.stores.protocol import Watcher
from tests.servers import wait_until


class FakeStore:
    """A store whose answers wait until they are let go, and that remembers what it was asked."""

    def __init__(self) -> None:
        self.kept: dict[SessionKey, Session] = {}
        self.loads: list[list[SessionKey]] = []
        self.touches: list[Session] = []
        self.touches_count = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.watcher: Watcher | None = None

    def hold(self, *sessions: Session) -> None:
        self.kept.update((session.key, session) for session in sessions)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ping(self) -> None: ...

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        self.loads.append(list(keys))
        answer = [self.kept.get(key) for key in keys]  # as it was when the store was asked
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return answer

    async def create(self, session: Session) -> None: ...

    async def touch(self, session: Session) -> bool:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.touches.append(session)
        return self.touches_count

    async def update(self, session: Session) -> bool:
        return session.key in self.kept

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        return old.key in self.kept

    async def delete(self, key: SessionKey) -> bool:
        return self.kept.pop(key, None) is not None

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        return sum([await self.delete(key) for key in keys])

    async def find(self, session_id: SessionId) -> Session | None:
        return None

    async def of_user(self, user_id: str) -> list[Session]:
        return []

    async def all(self) -> AsyncIterator[Session]:
        for session in self.kept.values():
            yield session

    def watch(self, watcher: Watcher) -> None:
        self.watcher = watcher


async def asked(store: FakeStore, times: int) -> None:
    await wait_until(lambda: len(store.loads) == times, what="the store is asked")


class Ticks:
    """A clock that never goes back, and moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
