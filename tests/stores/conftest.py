"""What the tests of a store begin with: a clock, two stores on one backend, opened, and copies of
what the first has.

A module says with ``make`` what stores they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.stores.cached import CachedSessions
from gateway.stores.protocol import SessionStore
from tests.stores.contract import LIFETIME, Clock, opened
from tests.stores.fakes import Ticks


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(make: Callable[[], SessionStore]) -> AsyncIterator[SessionStore]:
    async with opened(make()) as store:
        yield store


@pytest.fixture
async def other(
    store: SessionStore, make: Callable[[], SessionStore]
) -> AsyncIterator[SessionStore]:
    async with opened(make()) as other:
        yield other


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def cached(store: SessionStore, clock: Clock, ticks: Ticks) -> AsyncIterator[CachedSessions]:
    """Copies of what the store has, which hear of changes."""
    cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock, clock=ticks)
    cached.trust(True)
    yield cached
    await cached.close()
