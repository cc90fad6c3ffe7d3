"""What the tests of a store begin with: a clock, and two stores on one backend, opened.

A module says with ``make`` what they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.stores.protocol import SessionStore
from tests.stores.contract import Clock, opened


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
