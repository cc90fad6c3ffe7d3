"""What every session store promises. Each store's tests subclass ``StoreContract``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from gateway.errors import StoreUnavailable
from gateway.formats.token import key_of, new_session_id, new_token
from gateway.model import ANONYMOUS, Lifetime, Renewal, Session, SessionKey, User
from gateway.rules.sessions import GRACE as GRACE_SECONDS
from gateway.rules.sessions import born, left_behind, renewed, touched
from gateway.stores.cached import CachedSessions
from gateway.stores.protocol import LookupStore, SessionStore, Watcher
from tests.servers import wait_until

LIFETIME = Lifetime(max_age=3600.0, idle_timeout=600.0, update_age=60.0)
ADA = User(
    id="ada",
    provider="corp",
    name="Ada Łovelace, Countess",
    email="ada@example.com",
    image="https://example.com/ada.png",
    roles=("admin", "Königin der Zahlen"),
    permissions=("reports:read",),
)
GRACE = User(id="grace")


class Clock:
    """A wall clock that moves when told. It starts at the true time, for the sake of servers."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Ears(Watcher):
    """Remembers what a watcher is told."""

    def __init__(self) -> None:
        self.trusted = False
        self.trust_was_lost = 0
        self.keys: list[SessionKey] = []
        self.all = 0
        """How often it was told that everything has changed."""

    def changed(self, key: SessionKey) -> None:
        self.keys.append(key)

    def all_changed(self) -> None:
        self.all += 1

    def trust(self, trusted: bool) -> None:
        self.trust_was_lost += self.trusted and not trusted
        self.trusted = trusted


def a_session(user: User = ADA, *, now: float) -> Session:
    key = key_of(new_token(os.urandom(32)))
    assert key is not None
    return born(
        user,
        key,
        new_session_id(os.urandom(16)),
        LIFETIME,
        now=now,
        data={"cart": [{"id": 7, "name": "Ł"}], "seen": None},
        device="Mozilla/5.0 (X11; Linux x86_64)",
        address="2001:db8::1",
        remembered=False,
    )


def after(session: Session, *, now: float) -> tuple[Session, Session]:
    """Return what takes a session's place when its token is renewed, and what is left of it."""
    key = key_of(new_token(os.urandom(32)))
    assert key is not None
    session = replace(session, renewal=Renewal.WITH_GRACE)
    new = renewed(session, key)
    left = left_behind(session, new, now=now)
    assert left is not None
    return new, left


Opened = TypeVar("Opened", bound=LookupStore)


@asynccontextmanager
async def opened(store: Opened) -> AsyncIterator[Opened]:
    """Let a store be open meanwhile."""
    try:
        await store.open()
        yield store
    finally:
        await store.close()


async def hearing(store: LookupStore) -> Ears:
    ears = Ears()
    store.watch(ears)
    await wait_until(lambda: ears.trusted, what="changes are heard")
    return ears


class StoreContract:
    """Needs ``store``, opened, with ``clock`` as its clock, and ``other``: a second store object on
    the same backend, as another process would have it."""

    async def test_a_created_session_is_loaded_as_it_was(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        assert await store.load([session.key]) == [session]

    async def test_no_session_takes_the_place_of_another_unasked(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session, stays = a_session(now=clock.now), a_session(now=clock.now)
        await store.create(session)
        await store.create(stays)
        intruder = replace(a_session(GRACE, now=clock.now), key=stays.key)
        with pytest.raises(StoreUnavailable):
            await other.create(intruder)
        with pytest.raises(StoreUnavailable):
            await other.replace(session, intruder)
        assert await store.load([session.key, stays.key]) == [session, stays]
        assert await store.of_user(GRACE.id) == []
        assert await store.find(intruder.id) is None
        assert await store.find(stays.id) == stays

    async def test_a_cache_of_the_same_process_knows_a_created_session_at_once(
        self, store: SessionStore, clock: Clock
    ) -> None:
        cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock)
        await hearing(store)  # as the cache does
        session = a_session(now=clock.now)
        assert await cached.get(session.key) is None
        await store.create(session)
        assert await cached.get(session.key) is not None
        await cached.close()

    async def test_many_are_loaded_in_order_with_none_for_what_is_not_there(
        self, store: SessionStore, clock: Clock
    ) -> None:
        one, two, missing = (a_session(now=clock.now) for _ in range(3))
        await store.create(one)
        await store.create(two)
        loaded = await store.load([two.key, missing.key, one.key, two.key])
        assert loaded == [two, None, one, two]

    async def test_nothing_asked_is_nothing_loaded(self, store: SessionStore) -> None:
        assert await store.load([]) == []

    @pytest.mark.parametrize(("age", "alive"), [(599.9, True), (600.0, False), (601.0, False)])
    async def test_a_session_is_over_at_the_second_it_expires(
        self, store: SessionStore, clock: Clock, age: float, alive: bool
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        clock.now += age
        assert await store.load([session.key]) == [session if alive else None]
        assert await store.find(session.id) == (session if alive else None)
        assert await store.of_user("ada") == ([session] if alive else [])
        assert [one async for one in store.all()] == ([session] if alive else [])

    async def test_a_touch_moves_the_expiry_and_nothing_else(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        clock.now += 100
        moved = touched(session, LIFETIME, now=clock.now)
        assert await store.touch(replace(moved, user=GRACE)) is True
        assert await store.load([session.key]) == [moved]
        clock.now += 599
        assert await store.load([session.key]) == [moved]

    async def test_a_touch_never_goes_beyond_the_absolute_end(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        await store.touch(replace(session, expires_at=session.ends_at + 1000))
        [loaded] = await store.load([session.key])
        assert loaded is not None
        assert loaded.expires_at == session.ends_at

    async def test_of_two_touches_the_later_one_counts_whichever_arrives_last(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        early, late = (touched(session, LIFETIME, now=clock.now + s) for s in (60, 120))
        assert await store.touch(late) is True
        assert await store.touch(early) is False
        assert await store.load([session.key]) == [late]

    async def test_a_touch_never_brings_back_a_deleted_session(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        await other.delete(session.key)
        assert await store.touch(touched(session, LIFETIME, now=clock.now + 100)) is False
        assert await store.load([session.key]) == [None]
        assert await store.find(session.id) is None
        assert await store.of_user("ada") == []

    async def test_a_touch_never_brings_back_an_expired_session(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        clock.now += 601
        assert await store.touch(touched(session, LIFETIME, now=clock.now)) is False
        assert await store.load([session.key]) == [None]

    async def test_a_deleted_session_is_gone_everywhere(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session, stays = a_session(now=clock.now), a_session(now=clock.now)
        await store.create(session)
        await store.create(stays)
        assert await store.delete(session.key) is True
        for one in (store, other):
            assert await one.load([session.key, stays.key]) == [None, stays]
            assert await one.find(session.id) is None
            assert await one.of_user("ada") == [stays]
            assert [s async for s in one.all()] == [stays]

    async def test_deleting_what_is_not_there_says_so(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        assert await store.delete(session.key) is False
        await store.create(session)
        clock.now += 601
        assert await store.delete(session.key) is False

    async def test_many_are_deleted_at_once(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        one, two, stays, expired = (a_session(now=clock.now) for _ in range(4))
        expired = replace(expired, expires_at=clock.now + 1)
        for session in (one, two, stays, expired):
            await store.create(session)
        clock.now += 2
        ears = await hearing(other)
        keys = [one.key, a_session(now=clock.now).key, two.key, expired.key]
        assert await store.delete_many(keys) == 2
        assert await other.load([one.key, two.key, stays.key]) == [None, None, stays]
        assert await other.of_user("ada") == [stays]
        assert await other.find(two.id) is None
        await wait_until(lambda: {one.key, two.key} <= set(ears.keys), seconds=0.1)
        assert await store.delete_many([]) == 0

    async def test_an_update_changes_what_is_kept_and_leaves_the_expiry(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        moved = touched(session, LIFETIME, now=clock.now + 100)
        await other.touch(moved)
        changed = replace(session, data={"cart": []}, user=replace(ADA, roles=("viewer",)))
        assert await store.update(changed) is True
        expected = replace(changed, touched_at=moved.touched_at, expires_at=moved.expires_at)
        for one in (store, other):
            assert await one.load([session.key]) == [expected]
            assert await one.find(session.id) == expected
            assert await one.of_user("ada") == [expected]

    async def test_an_update_never_brings_back_what_is_gone(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        never, deleted, expired, replaced = (a_session(now=clock.now) for _ in range(4))
        expired = replace(expired, expires_at=clock.now + 1)
        for session in (deleted, expired, replaced):
            await store.create(session)
        await other.delete(deleted.key)
        new, left = after(replaced, now=clock.now)
        assert await other.replace(replaced, new, left=left)
        clock.now += 2
        for session in (never, deleted, expired, replaced):
            assert await store.update(replace(session, data={})) is False
        keys = [never.key, deleted.key, expired.key, replaced.key, new.key]
        assert await store.load(keys) == [None, None, None, left, new]

    async def test_a_watcher_hears_of_an_update_by_another_within_100_ms(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        mine, ears = await hearing(store), await hearing(other)
        await store.update(replace(session, data={}))
        assert session.key in mine.keys
        await wait_until(lambda: session.key in ears.keys, seconds=0.1)

    async def test_a_replaced_session_is_gone_and_the_new_one_there(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        old, new = a_session(now=clock.now), a_session(now=clock.now)
        await store.create(old)
        ears = await hearing(other)
        assert await store.replace(old, new) is True
        for one in (store, other):
            assert await one.load([old.key, new.key]) == [None, new]
            assert await one.find(old.id) is None
            assert await one.find(new.id) == new
            assert await one.of_user("ada") == [new]
            assert [s async for s in one.all()] == [new]
        await wait_until(lambda: old.key in ears.keys, seconds=0.1)
        assert await store.delete(new.key)

    async def test_a_session_is_replaced_by_one_of_another_user(
        self, store: SessionStore, clock: Clock
    ) -> None:
        old, new = a_session(ANONYMOUS, now=clock.now), a_session(GRACE, now=clock.now)
        await store.create(old)
        assert await store.replace(old, new)
        assert await store.of_user("grace") == [new]
        assert await store.of_user("") == []

    async def test_a_session_gets_another_id_under_its_key(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        new = replace(old, id=a_session(now=clock.now).id, data={})
        await store.create(old)
        ears = await hearing(other)
        assert await store.replace(old, new) is True
        assert await other.load([old.key]) == [new]
        assert await other.find(old.id) is None
        assert await other.find(new.id) == new
        assert await other.of_user("ada") == [new]
        await wait_until(lambda: old.key in ears.keys, seconds=0.1)

    async def test_what_is_left_of_a_replaced_session_answers_to_its_key_alone(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        await store.create(old)
        ears = await hearing(other)
        new, left = after(old, now=clock.now)  # with the same id
        assert await store.replace(old, new, left=left) is True
        for one in (store, other):
            assert await one.load([old.key, new.key]) == [left, new]
            assert await one.find(old.id) == new
            assert await one.of_user("ada") == [new]
            assert [s async for s in one.all()] == [new]
        await wait_until(lambda: old.key in ears.keys, seconds=0.1)

    async def test_what_is_left_of_a_replaced_session_ends_in_seconds_whatever_touches_it(
        self, store: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        await store.create(old)
        new, left = after(old, now=clock.now)
        await store.replace(old, new, left=left)
        clock.now += GRACE_SECONDS - 0.1
        await store.touch(touched(old, LIFETIME, now=clock.now))
        [loaded] = await store.load([old.key])
        assert loaded is not None
        assert loaded.expires_at == left.expires_at
        clock.now += 0.2
        assert await store.load([old.key, new.key]) == [None, new]

    async def test_deleting_what_is_left_of_a_replaced_session_takes_nothing_else_away(
        self, store: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        await store.create(old)
        new, left = after(old, now=clock.now)
        await store.replace(old, new, left=left)
        assert await store.delete(old.key) is True
        assert await store.load([old.key, new.key]) == [None, new]
        assert await store.find(new.id) == new
        assert await store.of_user("ada") == [new]

    async def test_deleting_the_new_session_leaves_what_is_left_of_the_old_one(
        self, store: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        await store.create(old)
        new, left = after(old, now=clock.now)
        await store.replace(old, new, left=left)
        assert await store.delete_many([new.key, old.key]) == 2
        assert await store.load([old.key, new.key]) == [None, None]
        assert await store.find(new.id) is None

    async def test_of_many_who_replace_a_session_at_once_one_succeeds(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        old = a_session(now=clock.now)
        await store.create(old)
        tries = [after(old, now=clock.now) for _ in range(20)]
        done = await asyncio.gather(
            *(
                (store, other)[n % 2].replace(old, new, left=left)
                for n, (new, left) in enumerate(tries)
            )
        )
        assert sum(done) == 1
        winner, left = tries[done.index(True)]
        assert await other.of_user("ada") == [winner]
        keys = [old.key, *(new.key for new, _ in tries)]
        loaded = [one for one in await other.load(keys) if one is not None]
        assert loaded == [left, winner]

    async def test_what_is_gone_is_not_replaced(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        never, deleted, expired, renamed = (a_session(now=clock.now) for _ in range(4))
        expired = replace(expired, expires_at=clock.now + 1)
        for session in (deleted, expired, renamed):
            await store.create(session)
        await other.delete(deleted.key)
        await other.replace(renamed, replace(renamed, id=a_session(now=clock.now).id))
        clock.now += 2
        for session in (never, deleted, expired, renamed):
            new = a_session(now=clock.now)
            assert await store.replace(session, new) is False
            assert await store.load([new.key]) == [None]
            assert await store.find(new.id) is None

    async def test_a_session_of_nobody_is_kept_and_is_no_users(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(ANONYMOUS, now=clock.now)
        await store.create(session)
        assert await store.load([session.key]) == [session]
        assert await store.find(session.id) == session
        assert await store.of_user("") == []
        assert [s async for s in store.all()] == [session]
        assert await store.delete(session.key) is True
        assert await store.find(session.id) is None

    async def test_a_session_is_found_by_its_public_id(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        await store.create(a_session(now=clock.now))
        assert await store.find(session.id) == session
        assert await store.find(a_session(now=clock.now).id) is None

    async def test_a_users_sessions_come_newest_first(
        self, store: SessionStore, clock: Clock
    ) -> None:
        sessions = [a_session(now=clock.now + age) for age in (-20, -5, -100, -1)]
        for session in [*sessions, a_session(GRACE, now=clock.now)]:
            await store.create(session)
        ages = [round(s.created_at - clock.now) for s in await store.of_user("ada")]
        assert ages == [-1, -5, -20, -100]
        assert await store.of_user("nobody") == []

    async def test_users_of_different_providers_with_one_id_are_listed_together(
        self, store: SessionStore, clock: Clock
    ) -> None:
        here = a_session(User(id="ada", provider="local"), now=clock.now)
        there = a_session(User(id="ada", provider="corp"), now=clock.now - 1)
        await store.create(here)
        await store.create(there)
        assert await store.of_user("ada") == [here, there]

    async def test_all_goes_through_every_live_session(
        self, store: SessionStore, clock: Clock
    ) -> None:
        sessions = [a_session(now=clock.now) for _ in range(1203)]
        for session in sessions:
            await store.create(session)
        assert {s.key: s async for s in store.all()} == {s.key: s for s in sessions}

    async def test_a_watcher_hears_of_a_deletion_by_another_within_100_ms(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(other)
        await store.delete(session.key)
        await wait_until(lambda: session.key in ears.keys, seconds=0.1)

    async def test_a_cached_copy_is_refused_within_100_ms_of_a_deletion_by_another(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        cached = CachedSessions(other, enabled=True, lifetime=LIFETIME, wall=clock)

        async def kept() -> bool:
            await cached.get(session.key)
            return cached.peek(session.key, clock.now) is not None

        await wait_until(kept, what="a copy is kept")
        await store.delete(session.key)
        await wait_until(lambda: cached.peek(session.key, clock.now) is None, seconds=0.1)
        assert await cached.get(session.key) is None
        await cached.close()

    async def test_a_cached_copy_lives_on_when_another_extended_the_session(
        self, store: SessionStore, other: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        cached = CachedSessions(other, enabled=True, lifetime=LIFETIME, wall=clock)
        await cached.get(session.key)
        clock.now += 500
        await store.touch(touched(session, LIFETIME, now=clock.now))
        clock.now += 500
        assert await cached.get(session.key) is not None
        await cached.close()

    async def test_a_watcher_hears_its_own_store_at_once(
        self, store: SessionStore, clock: Clock
    ) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(store)
        await store.delete(session.key)
        assert session.key in ears.keys

    async def test_a_later_watcher_is_told_as_well(self, store: SessionStore, clock: Clock) -> None:
        session = a_session(now=clock.now)
        await store.create(session)
        first, second = await hearing(store), await hearing(store)
        await store.delete(session.key)
        assert session.key in first.keys
        assert session.key in second.keys

    async def test_a_closed_store_is_no_longer_trusted(self, store: SessionStore) -> None:
        ears = await hearing(store)
        await store.close()
        await store.close()
        assert not ears.trusted

    async def test_an_open_store_answers_a_ping(self, store: SessionStore) -> None:
        await store.ping()


def keys_of_tokens() -> tuple[str, SessionKey]:
    """Return a token and the key that a store must keep it under."""
    token = new_token(os.urandom(32))
    return token, SessionKey(hashlib.sha256(token.encode()).hexdigest())
