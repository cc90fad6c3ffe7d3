"""What becomes of a store whose server goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import StoreUnavailable
from gateway.stores.protocol import SessionStore
from tests.servers import Server, wait_until
from tests.stores.contract import Clock, a_session, hearing, opened

AT_ONCE = 20
"""Lookups, so that all connections of a pool have been used."""


async def survives_a_restart(
    server: Server, leave: Callable[[], object], store: SessionStore, clock: Clock
) -> None:
    """It is unavailable meanwhile, has every session afterwards, and hears of changes again."""
    async with opened(store):
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(store)
        await asyncio.gather(*(store.load([session.key]) for _ in range(AT_ONCE)))
        leave()
        await wait_until(lambda: not ears.trusted, what="the loss is noticed")
        with pytest.raises(StoreUnavailable):
            await store.load([session.key])
        server.start()
        assert await store.load([session.key]) == [session]
        await store.touch(session)
        await wait_until(lambda: ears.trusted, what="changes are heard again")
        await store.delete(session.key)


async def does_not_notice_a_restart(server: Server, store: SessionStore, clock: Clock) -> None:
    """Between two uses."""
    async with opened(store):
        session = a_session(now=clock.now)
        await store.create(session)
        await asyncio.gather(*(store.load([session.key]) for _ in range(AT_ONCE)))
        server.stop()
        server.start()
        assert await store.load([session.key]) == [session]
        assert await store.delete(session.key) is True


async def is_unavailable_while_it_hangs(server: Server, store: SessionStore, clock: Clock) -> None:
    """Whatever is asked of it, within a second; the store's own time limit is shorter."""
    async with opened(store):
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(store)
        server.pause()
        start = asyncio.get_running_loop().time()
        answers = await asyncio.gather(
            *(store.load([session.key]) for _ in range(100)),
            store.ping(),
            store.create(session),
            store.touch(session),
            store.update(session),
            store.replace(session, session),
            store.delete(session.key),
            store.find(session.id),
            store.of_user("ada"),
            anext(store.all()),
            return_exceptions=True,
        )
        assert asyncio.get_running_loop().time() - start < 1.0
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        await wait_until(lambda: not ears.trusted, seconds=3.0, what="silence is noticed")
        server.resume()
        await wait_until(lambda: ears.trusted, what="changes are heard again")
        again = a_session(now=clock.now)
        await store.create(again)
        assert await store.load([again.key]) == [again]
