from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from gateway.stores.memory import MemoryStore
from gateway.stores.protocol import SessionStore
from tests.stores.contract import ADA, GRACE, Clock, StoreContract, a_session


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def make(self, clock: Clock) -> Callable[[], SessionStore]:
        return partial(MemoryStore, wall=clock)

    @pytest.fixture
    def other(self, store: SessionStore) -> SessionStore:
        return store  # nobody else can see this process's memory


async def test_expired_sessions_do_not_gather(clock: Clock) -> None:
    store = MemoryStore(wall=clock)
    for _ in range(100):
        await store.create(a_session(GRACE, now=clock.now))
    clock.now += 601
    for _ in range(34):  # at four examined for each one created
        await store.create(a_session(ADA, now=clock.now))
    clock.now -= 601  # so that what is still kept shows
    assert await store.of_user("grace") == []
    assert len(await store.of_user("ada")) == 34
