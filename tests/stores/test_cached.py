from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.model import SessionKey
from gateway.rules.sessions import touched
from gateway.stores.absent import Absent
from gateway.stores.cached import CachedSessions
from gateway.stores.held import Held
from tests.servers import wait_until
from tests.stores.contract import GRACE, LIFETIME, Clock, a_session
from tests.stores.fakes import FakeStore, Ticks, asked


@pytest.fixture
def make() -> type[FakeStore]:
    return FakeStore


@pytest.fixture
async def uncached(store: FakeStore, clock: Clock) -> AsyncIterator[CachedSessions]:
    uncached = CachedSessions(store, enabled=False, lifetime=LIFETIME, wall=clock)
    yield uncached
    await uncached.close()


async def test_without_a_cache_what_was_made_of_a_session_stays_with_it_until_it_changes(
    uncached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    held = await uncached.get(session.key)
    assert held is not None
    assert uncached.peek(session.key, clock.now) is None
    assert await uncached.get(session.key) is held
    store.hold(replace(session, user=replace(session.user, roles=())))
    changed = await uncached.get(session.key)
    assert changed is not None
    assert changed is not held
    assert changed.session.user.roles == ()
    assert len(store.loads) == 3


async def test_questions_go_out_together_until_a_turn_of_the_loop_brings_no_more(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now) for _ in range(3)]
    store.hold(*sessions)
    asking = []
    for session in sessions:
        asking.append(asyncio.create_task(cached.get(session.key)))
        await asyncio.sleep(0)
    assert [held and held.session for held in await asyncio.gather(*asking)] == sessions
    assert store.loads == [[session.key for session in sessions]]


async def test_a_session_is_asked_for_once_and_is_the_same_object_from_then_on(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    assert cached.peek(session.key, clock.now) is None
    held = await cached.get(session.key)
    assert held is not None
    assert held.session == session
    held.caller = "what its caller made of it"
    assert cached.peek(session.key, clock.now) is held
    assert await cached.get(session.key) is held
    assert store.loads == [[session.key]]


async def test_what_does_not_exist_is_asked_for_once_a_second(
    cached: CachedSessions, store: FakeStore, clock: Clock, ticks: Ticks
) -> None:
    key = a_session(now=clock.now).key
    for _ in range(3):
        assert await cached.get(key) is None
    assert len(store.loads) == 1
    ticks.now += 1.0
    assert await cached.get(key) is None
    assert len(store.loads) == 2


async def test_what_is_made_meanwhile_is_seen_at_once(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    assert await cached.get(session.key) is None
    store.hold(session)
    cached.changed(session.key)
    assert await cached.get(session.key) is not None


@pytest.mark.parametrize("event", ["changed", "distrusted"])
async def test_that_something_was_not_there_is_not_kept_where_a_change_overtook_it(
    cached: CachedSessions, store: FakeStore, clock: Clock, event: str
) -> None:
    session = a_session(now=clock.now)
    store.gate.clear()
    before = asyncio.create_task(cached.get(session.key))
    await asked(store, 1)
    store.hold(session)
    if event == "changed":
        cached.changed(session.key)
    else:
        cached.trust(False)
    store.gate.set()
    assert await before is None
    assert await cached.get(session.key) is not None


@pytest.mark.parametrize("state", ["without a cache", "distrusted"])
async def test_that_something_is_not_there_is_kept_only_while_changes_are_heard(
    cached: CachedSessions, uncached: CachedSessions, store: FakeStore, clock: Clock, state: str
) -> None:
    sessions = uncached if state == "without a cache" else cached
    cached.trust(False)
    session = a_session(now=clock.now)
    assert await sessions.get(session.key) is None
    store.hold(session)
    assert await sessions.get(session.key) is not None


def test_what_is_remembered_as_absent_is_bounded() -> None:
    absent = Absent()
    keys = [SessionKey(f"{number:064}") for number in range(25_000)]
    for key in keys:
        absent.add(key, 0.0)
        assert absent.holds(key, 0.0)
    assert sum(absent.holds(key, 0.0) for key in keys) <= 10_000


@pytest.mark.parametrize("enabled", [True, False])
async def test_all_asked_in_one_turn_go_out_together(
    store: FakeStore, clock: Clock, enabled: bool
) -> None:
    cached = CachedSessions(store, enabled=enabled, lifetime=LIFETIME, wall=clock)
    sessions = [a_session(now=clock.now) for _ in range(16)]
    store.hold(*sessions)
    answers = await asyncio.gather(*(cached.get(s.key) for s in [*sessions, *sessions]))
    assert [held and held.session for held in answers] == [*sessions, *sessions]
    assert store.loads == [[s.key for s in sessions]]


async def test_while_the_store_is_asked_nobody_asks_again(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    store.gate.clear()
    first = asyncio.create_task(cached.get(session.key))
    await asked(store, 1)
    second = asyncio.create_task(cached.get(session.key))
    await asyncio.sleep(0)
    store.gate.set()
    assert await first is await second is not None
    assert len(store.loads) == 1


async def test_without_a_cache_every_request_asks_the_store_itself(
    uncached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    store.gate.clear()
    first = asyncio.create_task(uncached.get(session.key))
    await asked(store, 1)
    await store.delete(session.key)
    second = asyncio.create_task(uncached.get(session.key))
    await asked(store, 2)
    store.gate.set()
    assert await first is not None
    assert await second is None  # it came after the deletion, and must not learn of before
    assert uncached.peek(session.key, clock.now) is None


async def test_a_change_drops_the_copy(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    await cached.get(session.key)
    await store.delete(session.key)
    cached.changed(session.key)
    assert cached.peek(session.key, clock.now) is None
    assert await cached.get(session.key) is None


async def test_that_everything_changed_drops_all_copies_and_new_ones_are_kept(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now) for _ in range(3)]
    store.hold(*sessions)
    for session in sessions:
        await cached.get(session.key)
    cached.all_changed()
    assert [cached.peek(session.key, clock.now) for session in sessions] == [None] * 3
    await cached.get(sessions[0].key)
    assert cached.peek(sessions[0].key, clock.now) is not None
    cached.trust(False)
    cached.all_changed()  # while nothing is heard that makes nothing true
    await cached.get(sessions[0].key)
    assert cached.peek(sessions[0].key, clock.now) is None


@pytest.mark.parametrize("event", ["changed", "distrusted", "everything changed"])
async def test_an_answer_that_a_change_overtook_is_not_kept(
    cached: CachedSessions, store: FakeStore, clock: Clock, event: str
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    store.gate.clear()
    before = asyncio.create_task(cached.get(session.key))
    await asked(store, 1)
    await store.delete(session.key)
    match event:
        case "changed":
            cached.changed(session.key)
        case "distrusted":
            cached.trust(False)
        case _:
            cached.all_changed()
    after = asyncio.create_task(cached.get(session.key))
    await asked(store, 2)
    store.gate.set()
    assert await before is not None  # it asked before the change
    assert await after is None
    assert cached.peek(session.key, clock.now) is None


async def test_answers_in_the_wrong_order_leave_the_newer_one(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    newer = replace(session, user=GRACE)
    store.hold(session)
    store.gate.clear()
    before = asyncio.create_task(cached.get(session.key))
    await asked(store, 1)
    store.hold(newer)
    cached.changed(session.key)
    slow, store.gate = store.gate, asyncio.Event()
    store.gate.set()
    await cached.get(session.key)
    slow.set()
    await before
    held = cached.peek(session.key, clock.now)
    assert held is not None
    assert held.session == newer


async def test_untrusted_it_serves_and_keeps_nothing(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    await cached.get(session.key)
    cached.trust(False)
    assert cached.peek(session.key, clock.now) is None
    for _ in range(3):
        assert await cached.get(session.key) is not None
        assert cached.peek(session.key, clock.now) is None
    assert len(store.loads) == 4
    cached.trust(True)
    assert cached.peek(session.key, clock.now) is None


async def test_a_copy_that_has_expired_is_asked_for_since_another_may_have_extended_it(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    await cached.get(session.key)
    store.hold(touched(session, LIFETIME, now=clock.now + 500))
    clock.now += 601
    assert cached.peek(session.key, clock.now) is None
    held = await cached.get(session.key)
    assert held is not None
    assert cached.peek(session.key, clock.now) is held


async def test_a_session_that_expired_on_the_way_is_none(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    clock.now += 600
    assert await cached.get(session.key) is None


async def test_the_number_of_copies_is_bounded_and_those_in_use_stay(
    store: FakeStore, clock: Clock
) -> None:
    cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock, max_entries=100)
    cached.trust(True)
    used = a_session(now=clock.now)
    others = [a_session(now=clock.now) for _ in range(1000)]
    store.hold(used, *others)
    await cached.get(used.key)
    for other in others:
        await cached.get(other.key)
        assert cached.peek(used.key, clock.now) is not None
    kept = [s for s in others if cached.peek(s.key, clock.now) is not None]
    assert len(kept) <= 100


async def test_who_gives_up_does_not_take_the_answer_from_the_others(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    store.gate.clear()
    waiters = [asyncio.create_task(cached.get(session.key)) for _ in range(3)]
    await asked(store, 1)
    waiters[0].cancel()
    await wait_until(waiters[0].done)
    store.gate.set()
    for waiter in waiters[1:]:
        held = await waiter
        assert held is not None
        assert held.session == session
    assert cached.peek(session.key, clock.now) is not None


@pytest.mark.parametrize("error", [StoreUnavailable("down"), RuntimeError("a bug")])
async def test_everybody_who_waits_hears_of_a_failure_and_the_next_asks_again(
    cached: CachedSessions, store: FakeStore, clock: Clock, error: Exception
) -> None:
    session = a_session(now=clock.now)
    store.hold(session)
    store.error = error
    answers = await asyncio.gather(
        *(cached.get(session.key) for _ in range(3)), return_exceptions=True
    )
    assert answers == [error] * 3
    store.error = None
    assert await cached.get(session.key) is not None


async def test_closing_leaves_nobody_waiting(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    store.gate.clear()
    waiter = asyncio.create_task(cached.get(a_session(now=clock.now).key))
    await asked(store, 1)
    await cached.close()
    with pytest.raises(StoreUnavailable):
        await waiter


async def held_session(cached: CachedSessions, store: FakeStore, clock: Clock) -> Held:
    session = a_session(now=clock.now)
    store.hold(session)
    held = await cached.get(session.key)
    assert held is not None
    return held


async def test_a_touch_counts_here_at_once_and_reaches_the_store_once(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    old = await held_session(cached, store, clock)
    clock.now += 100
    new = cached.touch_soon(old.session)
    cached.touch_soon(old.session)
    assert new.session == touched(old.session, LIFETIME, now=clock.now)
    assert new.caller is None
    assert cached.peek(old.session.key, clock.now) is new
    await wait_until(lambda: store.touches)
    await cached.close()
    assert store.touches == [new.session]


@pytest.mark.parametrize("revoked", [True, False])
async def test_a_touch_never_brings_back_what_changed_meanwhile(
    cached: CachedSessions, store: FakeStore, clock: Clock, revoked: bool
) -> None:
    old = await held_session(cached, store, clock)
    cached.changed(old.session.key)
    if revoked:
        await store.delete(old.session.key)
    else:
        store.hold(replace(old.session, user=GRACE))
        await cached.get(old.session.key)
    clock.now += 100
    cached.touch_soon(old.session)
    held = cached.peek(old.session.key, clock.now)
    assert (held and held.session.user) == (None if revoked else GRACE)


async def test_a_touch_that_fails_is_logged_and_refuses_nobody(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    old = await held_session(cached, store, clock)
    store.error = StoreUnavailable("down")
    with capture_logs() as logs:
        new = cached.touch_soon(old.session)
        await wait_until(lambda: logs)
    assert [line["event"] for line in logs] == ["touch_failed"]
    assert cached.peek(old.session.key, clock.now) is new


async def test_a_copy_is_dropped_whose_session_the_store_takes_for_over(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    old = await held_session(cached, store, clock)
    store.touches_count = False
    clock.now += 100
    cached.touch_soon(old.session)
    await wait_until(lambda: store.touches)
    await wait_until(lambda: cached.peek(old.session.key, clock.now) is None)
    await store.delete(old.session.key)
    assert await cached.get(old.session.key) is None


async def test_closing_writes_pending_touches(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now) for _ in range(100)]
    for session in sessions:
        cached.touch_soon(session)
    await cached.close()
    assert len(store.touches) == 100


async def test_closing_does_not_wait_for_ever(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    store.gate.clear()
    cached.touch_soon(a_session(now=clock.now))
    loop = asyncio.get_running_loop()
    start = loop.time()
    await cached.close(within=0.05)
    assert loop.time() - start < 1.0
    assert store.touches == []


async def test_pending_touches_are_bounded(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    store.gate.clear()
    session = a_session(now=clock.now)
    for number in range(11_000):
        cached.touch_soon(replace(session, key=SessionKey(f"{number:064}")))
    store.gate.set()
    await cached.close(within=10.0)
    assert len(store.touches) == 10_000


async def test_a_store_is_watched_only_for_a_cache(
    cached: CachedSessions, store: FakeStore, clock: Clock
) -> None:
    assert store.watcher is cached
    other = FakeStore()
    CachedSessions(other, enabled=False, lifetime=LIFETIME, wall=clock)
    assert other.watcher is None
