"""Besides ``store``, which writes nothing: one that moves expiries, on the same backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.stores.protocol import LookupStore
from tests.stores.contract import opened


@pytest.fixture
async def moving(make: Callable[..., LookupStore]) -> AsyncIterator[LookupStore]:
    async with opened(make(touch=True)) as moving:
        yield moving
